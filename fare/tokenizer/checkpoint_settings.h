// What a checkpoint folder says about its tokenizer beside tokenizer.json (model-families 8.4).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/tokenizer/vocabulary.h"

namespace fare {

// Texts of the tokens with a part to play.
struct SpecialTokens {
  std::optional<std::string> bos, eos, unk, pad;
};

struct CheckpointSettings {
  // Of tokenizer_config.json, else special_tokens_map.json; null means none. Where both are silent the Llama class has
  // <s>, </s> and <unk>, any other what the caller's file says.
  SpecialTokens tokens;
  // Tokenizers of the Llama class put these around the text, whatever the post-processor says: [bos] text [eos].
  bool llama_class = false;
  std::optional<bool> add_bos_token;  // absent: the Llama class does
  std::optional<bool> add_eos_token;  // absent: no
  std::optional<int64_t> vocab_size;  // of config.json
  std::string path;                   // of tokenizer_config.json, for errors
};

// Reads tokenizer_config.json, special_tokens_map.json and the vocab_size of config.json; each may be absent. `absent`:
// tokens that the tokenizer's own file names.
// Throws FormatError on broken JSON or a field of the wrong type.
CheckpointSettings read_checkpoint_settings(const std::filesystem::path& folder, const SpecialTokens& absent = {});

// The added tokens of a folder without tokenizer.json, in the layout of that file: added_tokens_decoder of
// tokenizer_config.json, added_tokens.json, and the special tokens that those two and special_tokens_map.json name,
// where `vocabulary` or the lists before give them an id. Throws FormatError as above.
Json added_tokens_of_folder(const std::filesystem::path& folder, const Vocabulary& vocabulary);

}  // namespace fare
