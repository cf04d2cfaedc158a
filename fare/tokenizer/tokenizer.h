// Text to token ids and back, as tokenizer.json describes it and the `tokenizers` library does it, or as a
// SentencePiece tokenizer.model does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fare {

// One entry a token in each list.
struct Encoding {
  std::vector<int32_t> ids;
  std::vector<std::string> pieces;                 // the vocabulary's strings ("Ġthe", "▁the", "<0xE2>")
  std::vector<std::pair<size_t, size_t>> offsets;  // bytes [begin, end) of the text; a character split over tokens
                                                   // gives its whole range to each; (0, 0) for tokens put around it
};

// Read-only after open(); all methods may be called from many threads at once.
class Tokenizer {
 public:
  // `path` is a tokenizer.json (or tokenizer.json.gz; its post-processor alone decides about special tokens), a
  // SentencePiece .model (adds no special token and finds none in a text), or a checkpoint folder that holds one of
  // them; tokenizer.json is preferred. Of a folder tokenizer_config.json is read too: for tokenizers of the Llama class
  // add_bos_token and add_eos_token replace the post-processor; with a SentencePiece model its special tokens are cut
  // out of the text first; and no id may reach the vocab_size of config.json. "truncation" and "padding" of the file
  // are not applied. Throws IoError (not there), FormatError (broken, or it uses something unknown; names the place in
  // the file), ModelMismatch (ids beyond the model's vocab_size).
  static std::unique_ptr<Tokenizer> open(const std::filesystem::path& path);
  // From the JSON text itself; `name` stands for the path in errors.
  static std::unique_ptr<Tokenizer> from_json(std::string_view json, const std::string& name);

  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // `text` must be UTF-8 of at most 512 MiB; UsageError naming the byte otherwise.
  // FormatError when a text cannot be spelled with this vocabulary (Unigram without unk_id).
  Encoding encode(std::string_view text, bool add_special_tokens = true) const;
  // The ids alone; faster.
  std::vector<int32_t> ids(std::string_view text, bool add_special_tokens = true) const;

  // Ids that no token has give nothing. `skip_special_tokens` leaves out added tokens marked special, and of a
  // SentencePiece model control and unknown pieces.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = false) const;

  int64_t vocab_size() const;  // largest id + 1
  std::optional<int32_t> token_to_id(std::string_view token) const;
  std::optional<std::string> id_to_token(int32_t id) const;
  bool is_special(int32_t id) const;

  // Of tokenizer_config.json; nothing for a bare file, or where the text is no token. unk_id() falls back to the
  // model's.
  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  std::optional<int32_t> unk_id() const;
  std::optional<int32_t> pad_id() const;
  std::optional<std::string> bos_text() const;
  std::optional<std::string> eos_text() const;

  // Whether encoding with special tokens puts ids around the text, e.g. a BOS.
  const std::vector<int32_t>& ids_before_text() const;
  const std::vector<int32_t>& ids_after_text() const;

  // Harmless oddities met while reading, one sentence each.
  const std::vector<std::string>& notes() const;

 private:
  struct Parts;
  class Pass;
  explicit Tokenizer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace fare
