// The content of a SentencePiece `tokenizer.model` (protobuf ModelProto; Kudo and Richardson 2018; model-families 8.3).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fare {

struct SentencePieceFile {
  // The numbers are those of the file.
  enum class Kind { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
  struct Piece {  // its id is its place in the list
    std::string text;
    float score = 0;
    Kind kind = Kind::kNormal;
  };

  std::vector<Piece> pieces;
  bool is_unigram = true;         // else BPE
  bool space_as_suffix = false;   // the mark ▁ stands behind a word
  bool byte_fallback = false;     // a character without a piece becomes the 256 byte pieces <0x00> .. <0xFF>
  int32_t unk_id = 0;             // of the one piece of kind unknown
  std::optional<int32_t> bos_id;  // each only where such a control piece exists
  std::optional<int32_t> eos_id;
  std::optional<int32_t> pad_id;
  std::string normalizer;           // name, e.g. "identity", "nmt_nfkc"
  std::string character_map;        // compiled replacements of the normaliser, or empty
  bool add_dummy_prefix = true;     // a space in front of every text
  bool remove_extra_spaces = true;  // at the edges, and all but one of a run
  bool escape_spaces = true;        // space -> ▁
  std::vector<std::string> notes;   // harmless oddities
};

// A protobuf of that kind begins with its first piece; no JSON or text file does.
bool looks_like_sentencepiece(std::string_view bytes);

// Reads and checks the whole file. `path` is for errors only.
// Throws FormatError: cut short or not protobuf (with the byte); no or several unknown pieces; a piece that is empty,
// not UTF-8 or there twice; byte pieces missing or misspelled; a model type other than unigram and BPE.
SentencePieceFile parse_sentencepiece(std::string_view bytes, const std::string& path);

}  // namespace fare
