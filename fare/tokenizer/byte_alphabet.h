// The 256 printable characters that byte-level tokenizers write bytes with (model-families: "byte alphabet"): bytes
// 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF stand for themselves, the other 68 in rising order for U+0100, U+0101, ...
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace fare {

class ByteAlphabet {
 public:
  constexpr ByteAlphabet() {
    byte_of_.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool itself = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      const char32_t letter = itself ? static_cast<char32_t>(byte) : next++;
      byte_of_[letter] = static_cast<int16_t>(byte);
      letter_[byte] = letter;
      if (letter < 0x80) {
        utf8_[byte] = {static_cast<char>(letter), 0, 1};
      } else {
        utf8_[byte] = {static_cast<char>(0xC0 | letter >> 6), static_cast<char>(0x80 | (letter & 0x3F)), 2};
      }
    }
  }
  constexpr std::string_view spelled(unsigned char byte) const {
    return {utf8_[byte].data(), static_cast<size_t>(utf8_[byte][2])};
  }
  constexpr char32_t letter(unsigned char byte) const { return letter_[byte]; }
  // The byte a letter stands for; -1 for any other character.
  constexpr int byte_of(char32_t letter) const { return letter < byte_of_.size() ? byte_of_[letter] : -1; }

 private:
  std::array<char32_t, 256> letter_{};
  std::array<std::array<char, 3>, 256> utf8_{};  // two bytes and the length
  std::array<int16_t, 0x100 + 68> byte_of_{};
};

inline constexpr ByteAlphabet kByteAlphabet;

}  // namespace fare
