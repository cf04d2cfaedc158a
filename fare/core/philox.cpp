#include "fare/core/philox.h"

namespace fare {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{0xD2511F53u} * c[0];
    const uint64_t second = uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<uint32_t>(second >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(second),
         static_cast<uint32_t>(first >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(first)};
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  return c;
}

uint32_t fnv1a32(std::string_view text) {
  uint32_t hash = 0x811C9DC5u;
  for (const char byte : text) {
    hash ^= static_cast<unsigned char>(byte);
    hash *= 0x01000193u;
  }
  return hash;
}

RandomStream::RandomStream(uint64_t seed, std::string_view label, uint32_t replicate, uint32_t substream)
    : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
      replicate_(replicate),
      substream_(substream),
      label_hash_(fnv1a32(label)) {}

uint32_t RandomStream::u32(uint64_t j) const {
  return philox4x32({static_cast<uint32_t>(j / 4), replicate_, substream_, label_hash_}, key_)[j % 4];
}

uint64_t RandomStream::u64(uint64_t d) const {
  const auto block = philox4x32({static_cast<uint32_t>(d / 2), replicate_, substream_, label_hash_}, key_);
  const size_t first = 2 * (d % 2);
  return block[first] | (uint64_t{block[first + 1]} << 32);
}

uint64_t RandomStream::index(uint64_t d, uint64_t n) const {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(u64(d)) * n) >> 64);
}

double RandomStream::uniform(uint64_t d) const { return static_cast<double>(u64(d) >> 11) * 0x1p-53; }

double RandomStream::open_uniform(uint64_t d) const { return uniform(d) + 0x1p-54; }

bool RandomStream::bit(uint64_t i) const { return (u32(i / 32) >> (i % 32)) & 1u; }

}  // namespace fare
