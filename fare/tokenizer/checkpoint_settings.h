// What a checkpoint folder says about its tokenizer beside tokenizer.json (model-families 8.4).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace fare {

struct CheckpointSettings {
  // Absent from the file, the Llama class has <s>, </s> and <unk>; null means none.
  std::optional<std::string> bos_token, eos_token, unk_token, pad_token;
  // Tokenizers of the Llama class put these around the text, whatever the post-processor says: [bos] text [eos].
  bool llama_class = false;
  bool add_bos_token = true;
  bool add_eos_token = false;
  std::optional<int64_t> vocab_size;  // of config.json
  std::string path;                   // of tokenizer_config.json, for errors
};

// Reads tokenizer_config.json and the vocab_size of config.json; either may be absent.
// Throws FormatError on broken JSON or a field of the wrong type.
CheckpointSettings read_checkpoint_settings(const std::filesystem::path& folder);

}  // namespace fare
