#include "cli/chat_flags.h"

#include "fare/core/error.h"
#include "fare/core/file.h"

namespace fare::cli {

std::unique_ptr<ChatTemplate> open_chat_template(const std::filesystem::path& folder, const std::filesystem::path& file,
                                                 const std::string& flag) {
  if (!file.empty()) return ChatTemplate::parse(read_file(file), file.string());
  auto found = ChatTemplate::of_folder(folder);
  if (found == nullptr)
    throw UsageError(flag + ": " + folder.string() +
                     " has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json); " +
                     (flag == "--chat" ? "name one with --chat-template FILE" : "put one into the folder"));
  return found;
}

}  // namespace fare::cli
