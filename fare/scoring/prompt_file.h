// Reads a file of prompts (docs/generate.md), whole and with line numbers, before any model is opened.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace fare {

// One line of the file, in text or in token ids.
struct PromptLine {
  size_t line = 0;
  std::string id;
  bool has_ids = false;
  std::string prompt;
  std::vector<int32_t> prompt_ids;
};

// Throws FormatError with the line: broken JSON, a missing or duplicate id, neither or both of 'prompt' and 'prompt_ids',
// something that is no token id; and for a file without prompts. Other fields are left to their owners.
std::vector<PromptLine> read_prompts(const std::filesystem::path& path);

}  // namespace fare
