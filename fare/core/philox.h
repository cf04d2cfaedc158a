// Random numbers that are addressed, not consumed: draw d of a stream is the same number whoever asks for it, in
// whatever order, on however many threads. Philox4x32-10 (Salmon et al. 2011); addressing as in docs/random-numbers.md.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace fare {

// One Philox4x32-10 block. Known answers of the generator's authors are in the tests.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// 32-bit FNV-1a of the bytes of `text`.
uint32_t fnv1a32(std::string_view text);

// The stream (seed, label, replicate, substream). `label` says what the numbers are for, e.g. "bootstrap/paired".
class RandomStream {
 public:
  RandomStream(uint64_t seed, std::string_view label, uint32_t replicate = 0, uint32_t substream = 0);

  uint32_t u32(uint64_t j) const;                // 32-bit number j
  uint64_t u64(uint64_t d) const;                // 64-bit draw d
  uint64_t index(uint64_t d, uint64_t n) const;  // draw d mapped to [0, n); bias below n / 2^64
  double uniform(uint64_t d) const;              // draw d in [0, 1), 53 bits
  double open_uniform(uint64_t d) const;         // draw d in (0, 1): uniform + 2^-54
  bool bit(uint64_t i) const;                    // bit i

 private:
  std::array<uint32_t, 2> key_;
  uint32_t replicate_;
  uint32_t substream_;
  uint32_t label_hash_;
};

}  // namespace fare
