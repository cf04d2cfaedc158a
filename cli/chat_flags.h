// The chat template that a command was asked to use.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "fare/tokenizer/chat/chat_template.h"

namespace fare::cli {

// The template in `file`; where that is empty, of the checkpoint folder. Throws UsageError naming `flag` when the
// folder has none, and what ChatTemplate::parse throws.
std::unique_ptr<ChatTemplate> open_chat_template(const std::filesystem::path& folder, const std::filesystem::path& file,
                                                 const std::string& flag);

}  // namespace fare::cli
