#include "fare/scoring/prompt_file.h"

#include <set>

#include "fare/core/json.h"
#include "fare/scoring/token_ids.h"

namespace fare {

std::vector<PromptLine> read_prompts(const std::filesystem::path& path) {
  std::vector<PromptLine> prompts;
  std::set<std::string> ids;
  const std::string file = path.string();
  for_each_json_line(path, [&](const Json& object, size_t number) {
    const std::string where = "line " + std::to_string(number);
    PromptLine prompt;
    prompt.line = number;
    prompt.id = require<std::string>(object, "id", file, where);
    if (!ids.insert(prompt.id).second) throw FormatError(file, where, "the id '" + prompt.id + "' stands twice");
    prompt.has_ids = object.contains("prompt_ids");
    if (object.contains("prompt") == prompt.has_ids)
      throw FormatError(file, where, "give either 'prompt' (text) or 'prompt_ids' (token ids)");
    if (prompt.has_ids) prompt.prompt_ids = read_token_ids(object, "prompt_ids", file, where);
    else prompt.prompt = require<std::string>(object, "prompt", file, where);
    prompts.push_back(std::move(prompt));
  });
  if (prompts.empty()) throw FormatError(file, "", "holds no prompts");
  return prompts;
}

}  // namespace fare
