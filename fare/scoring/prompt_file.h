// Reads a file of prompts (docs/generate.md), whole and with line numbers, before any model is opened.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fare/tokenizer/chat/chat_template.h"

namespace fare {

// One line of the file: in text, in token ids, or a conversation.
struct PromptLine {
  size_t line = 0;
  std::string id;
  bool has_ids = false;
  std::string prompt;
  std::vector<int32_t> prompt_ids;
  std::optional<Chat> chat;
};

// Throws FormatError with the line: broken JSON, a missing or duplicate id, not just one of 'prompt', 'prompt_ids' and
// 'messages', something that is no token id or no conversation (read_chat); and for a file without prompts. Other
// fields are left to their owners.
std::vector<PromptLine> read_prompts(const std::filesystem::path& path);

}  // namespace fare
