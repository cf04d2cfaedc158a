#include "fare/stats/draws.h"

#include <array>

#include "fare/core/clones.h"
#include "fare/core/philox.h"

namespace fare::stats {
namespace {

// Blocks side by side, so that the compiler can fill vector lanes and hide the multiplications' latency.
constexpr int kLanes = 8;

struct Blocks {
  uint32_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
};

FARE_CLONES void philox_blocks(uint32_t first_block, uint32_t replicate, uint32_t substream,
                               const StreamAddress& address, Blocks& b) {
  for (int i = 0; i < kLanes; ++i) {
    b.c0[i] = first_block + static_cast<uint32_t>(i);
    b.c1[i] = replicate;
    b.c2[i] = substream;
    b.c3[i] = address.label_hash;
  }
  uint32_t k0 = address.key_low;
  uint32_t k1 = address.key_high;
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < kLanes; ++i) {
      const uint64_t first = uint64_t{0xD2511F53u} * b.c0[i];
      const uint64_t second = uint64_t{0xCD9E8D57u} * b.c2[i];
      b.c0[i] = static_cast<uint32_t>(second >> 32) ^ b.c1[i] ^ k0;
      b.c1[i] = static_cast<uint32_t>(second);
      b.c2[i] = static_cast<uint32_t>(first >> 32) ^ b.c3[i] ^ k1;
      b.c3[i] = static_cast<uint32_t>(first);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

uint32_t scale(uint32_t low, uint32_t high, uint64_t n) {
  const uint64_t u64 = low | (uint64_t{high} << 32);
  return static_cast<uint32_t>((static_cast<unsigned __int128>(u64) * n) >> 64);
}

}  // namespace

StreamAddress::StreamAddress(uint64_t seed, std::string_view label)
    : key_low(static_cast<uint32_t>(seed)), key_high(static_cast<uint32_t>(seed >> 32)), label_hash(fnv1a32(label)) {}

void draw_indices(const StreamAddress& address, uint32_t replicate, uint32_t substream, uint64_t n,
                  std::span<uint32_t> out) {
  Blocks b;
  size_t done = 0;
  for (uint32_t block = 0; done < out.size(); block += kLanes) {
    philox_blocks(block, replicate, substream, address, b);
    for (int i = 0; i < kLanes && done < out.size(); ++i) {
      out[done++] = scale(b.c0[i], b.c1[i], n);
      if (done < out.size()) out[done++] = scale(b.c2[i], b.c3[i], n);
    }
  }
}

void draw_words(const StreamAddress& address, uint32_t replicate, uint32_t substream, std::span<uint32_t> out) {
  Blocks b;
  size_t done = 0;
  for (uint32_t block = 0; done < out.size(); block += kLanes) {
    philox_blocks(block, replicate, substream, address, b);
    for (int i = 0; i < kLanes && done < out.size(); ++i) {
      for (const uint32_t word : {b.c0[i], b.c1[i], b.c2[i], b.c3[i]}) {
        if (done < out.size()) out[done++] = word;
      }
    }
  }
}

}  // namespace fare::stats
