// A tokenizer of our own for models without a language: one token per byte, plus an end and a padding token.
#pragma once

#include <cstdint>
#include <string>

#include "fare/core/json.h"

namespace fare {

inline constexpr int64_t kByteTokenizerEnd = 0;      // "<|endoftext|>"
inline constexpr int64_t kByteTokenizerPadding = 1;  // "<|padding|>"
inline constexpr int64_t kByteTokenizerSize = 258;   // byte b is token 2 + b

// The printable character that stands for a byte in a byte-level vocabulary, as UTF-8: bytes 0x21-0x7E, 0xA1-0xAC and
// 0xAE-0xFF stand for themselves, the others for U+0100, U+0101, .. in increasing order.
std::string byte_character(unsigned char byte);

// tokenizer.json: byte-level BPE without merges; adds no token of its own.
OrderedJson byte_tokenizer_json();

// tokenizer_config.json that goes with it.
OrderedJson byte_tokenizer_config_json(int64_t max_length);

}  // namespace fare
