#include "fare/scoring/prompt_file.h"

#include <set>

#include "fare/core/file.h"
#include "fare/core/json.h"
#include "fare/scoring/token_ids.h"

namespace fare {

std::vector<PromptLine> read_prompts(const std::filesystem::path& path) {
  std::vector<PromptLine> prompts;
  std::set<std::string> ids;
  const std::string file = path.string();
  for_each_line(read_file(path), [&](std::string_view bytes, size_t number) {
    const std::string where = "line " + std::to_string(number);
    if (bytes.find_first_not_of(" \t\r") == std::string_view::npos) return;
    const Json object = parse_json(bytes, file, where);
    if (!object.is_object()) throw FormatError(file, where, "expected an object");
    PromptLine prompt;
    prompt.line = number;
    prompt.id = require<std::string>(object, "id", file, where);
    if (!ids.insert(prompt.id).second) throw FormatError(file, where, "the id '" + prompt.id + "' stands twice");
    prompt.has_ids = object.contains("prompt_ids");
    if (object.contains("prompt") + prompt.has_ids + object.contains("messages") != 1)
      throw FormatError(file, where,
                        "give either 'prompt' (text) or 'prompt_ids' (token ids) or 'messages' (a conversation)");
    // The order of a conversation's keys counts: tools are written out as they came.
    if (object.contains("messages")) prompt.chat = read_chat(OrderedJson::parse(bytes), file, where);
    else if (prompt.has_ids) prompt.prompt_ids = read_token_ids(object, "prompt_ids", file, where);
    else prompt.prompt = require<std::string>(object, "prompt", file, where);
    prompts.push_back(std::move(prompt));
  });
  if (prompts.empty()) throw FormatError(file, "", "holds no prompts");
  return prompts;
}

}  // namespace fare
