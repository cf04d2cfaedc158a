#include "fare/core/python_random.h"

#include <bit>
#include <string>
#include <unordered_set>

#include "fare/core/error.h"

namespace fare {

PythonRandom::PythonRandom(uint64_t seed) {
  // The seed's 32-bit words, low word first; zero is one word.
  std::vector<uint32_t> key = {static_cast<uint32_t>(seed)};
  if (seed >> 32) key.push_back(static_cast<uint32_t>(seed >> 32));

  auto& s = state_;
  s[0] = 19650218u;
  for (uint32_t i = 1; i < kStateWords; ++i) s[i] = 1812433253u * (s[i - 1] ^ (s[i - 1] >> 30)) + i;

  int i = 1;
  size_t j = 0;
  const auto advance = [&] {
    if (++i == kStateWords) {
      s[0] = s[kStateWords - 1];
      i = 1;
    }
  };
  for (int step = 0; step < kStateWords; ++step) {
    s[i] = (s[i] ^ ((s[i - 1] ^ (s[i - 1] >> 30)) * 1664525u)) + key[j] + static_cast<uint32_t>(j);
    advance();
    j = (j + 1) % key.size();
  }
  for (int step = 0; step < kStateWords - 1; ++step) {
    s[i] = (s[i] ^ ((s[i - 1] ^ (s[i - 1] >> 30)) * 1566083941u)) - static_cast<uint32_t>(i);
    advance();
  }
  s[0] = 0x80000000u;
}

void PythonRandom::refill() {
  constexpr int kShift = 397;
  for (int k = 0; k < kStateWords; ++k) {
    const uint32_t y = (state_[k] & 0x80000000u) | (state_[(k + 1) % kStateWords] & 0x7fffffffu);
    state_[k] = state_[(k + kShift) % kStateWords] ^ (y >> 1) ^ ((y & 1u) ? 0x9908b0dfu : 0u);
  }
  next_ = 0;
}

uint32_t PythonRandom::u32() {
  if (next_ == kStateWords) refill();
  uint32_t y = state_[next_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

double PythonRandom::random() {
  const uint32_t a = u32() >> 5;
  const uint32_t b = u32() >> 6;
  return (a * 67108864.0 + b) * 0x1p-53;
}

uint64_t PythonRandom::getrandbits(int num_bits) {
  if (num_bits < 1 || num_bits > 64) {
    throw UsageError("getrandbits: num_bits is " + std::to_string(num_bits) + "; accepted: 1 to 64");
  }
  if (num_bits <= 32) return u32() >> (32 - num_bits);
  const uint64_t low = u32();
  return low | (uint64_t{u32() >> (64 - num_bits)} << 32);
}

uint64_t PythonRandom::below(uint64_t n) {
  if (n == 0) throw UsageError("random index: there is nothing to choose from (n is 0)");
  const int num_bits = 64 - std::countl_zero(n);
  uint64_t value = getrandbits(num_bits);
  while (value >= n) value = getrandbits(num_bits);
  return value;
}

uint64_t PythonRandom::floor_index(uint64_t n) {
  if (n == 0) throw UsageError("random index: there is nothing to choose from (n is 0)");
  return static_cast<uint64_t>(random() * static_cast<double>(n));
}

std::vector<uint64_t> PythonRandom::sample(uint64_t n, uint64_t k) {
  if (k > n) {
    throw UsageError("sample: " + std::to_string(k) + " of " + std::to_string(n) +
                     " items asked for; ask for at most " + std::to_string(n));
  }
  // Above this size Python remembers what it chose instead of copying the pool.
  uint64_t limit = 21;
  if (k > 5) {
    uint64_t table = 1;
    while (table < 3 * k) table *= 4;
    limit += table;
  }
  std::vector<uint64_t> chosen(k);
  if (n <= limit) {
    std::vector<uint64_t> pool(n);
    for (uint64_t i = 0; i < n; ++i) pool[i] = i;
    for (uint64_t i = 0; i < k; ++i) {
      const uint64_t j = below(n - i);
      chosen[i] = pool[j];
      pool[j] = pool[n - i - 1];
    }
  } else {
    std::unordered_set<uint64_t> taken;
    for (auto& out : chosen) {
      do out = below(n);
      while (!taken.insert(out).second);
    }
  }
  return chosen;
}

}  // namespace fare
