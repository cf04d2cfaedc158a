// Tokens that stand for one byte, written <0x00> to <0xFF> (byte fallback of BPE, Unigram and SentencePiece).
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "fare/tokenizer/vocabulary.h"

namespace fare {

inline std::string byte_piece(int byte) {
  char name[8];
  std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte & 0xFF));
  return name;
}

// The byte that a token names (hexadecimal digits of either case); nothing for any other token.
inline std::optional<char> named_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return std::nullopt;
    value = value * 16 + digit;
  }
  return static_cast<char>(value);
}

// Their ids in a vocabulary; -1 where it has no such token.
class ByteIds {
 public:
  explicit ByteIds(const Vocabulary& vocabulary) {
    for (int byte = 0; byte < 256; ++byte)
      ids_[static_cast<size_t>(byte)] = vocabulary.find(byte_piece(byte)).value_or(-1);
  }
  int32_t of(char byte) const { return ids_[static_cast<unsigned char>(byte)]; }
  // Whether every byte of `text` has one.
  bool cover(std::string_view text) const {
    for (const char byte : text)
      if (of(byte) < 0) return false;
    return true;
  }

 private:
  std::array<int32_t, 256> ids_{};
};

}  // namespace fare
