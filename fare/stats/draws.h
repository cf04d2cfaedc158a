// Many draws of one random stream at once: the same numbers as RandomStream's, a block at a time.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace fare::stats {

// The address of a stream without its replicate: what an analysis fixes once.
struct StreamAddress {
  uint32_t key_low = 0;
  uint32_t key_high = 0;
  uint32_t label_hash = 0;

  StreamAddress(uint64_t seed, std::string_view label);
};

// out[d] = RandomStream(..).index(d, n) for d = 0, 1, ..; n in [1, 2^32].
void draw_indices(const StreamAddress& address, uint32_t replicate, uint32_t substream, uint64_t n,
                  std::span<uint32_t> out);

// out[j] = RandomStream(..).u32(j).
void draw_words(const StreamAddress& address, uint32_t replicate, uint32_t substream, std::span<uint32_t> out);

}  // namespace fare::stats
