// CPython's `random.Random`: MT19937 seeded with an integer, and the draws built on it. Used wherever a published score
// depends on Python's choices (few-shot examples, bootstrap errors of the evaluation harness); FARE's own numbers come
// from philox.h. Source: Matsumoto and Nishimura 1998; CPython's documented algorithms of `random`.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace fare {

class PythonRandom {
 public:
  // As `random.seed(seed)`; a negative Python seed is its absolute value.
  explicit PythonRandom(uint64_t seed);

  double random();                     // [0, 1), 53 bits
  uint64_t getrandbits(int num_bits);  // [0, 2^num_bits); num_bits in 1..64, else UsageError
  uint64_t below(uint64_t n);          // [0, n) as `randrange(n)`; n >= 1, else UsageError
  uint64_t floor_index(uint64_t n);    // floor(random() * n), as `choices` draws its indices; n >= 1, else UsageError

  // `sample(range(n), k)`: k distinct indices in selection order. Throws UsageError when k > n.
  std::vector<uint64_t> sample(uint64_t n, uint64_t k);

  // `shuffle`, in place.
  template <typename T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i-- > 1;) {
      using std::swap;
      swap(items[i], items[below(i + 1)]);
    }
  }

 private:
  static constexpr int kStateWords = 624;

  uint32_t u32();
  void refill();

  std::array<uint32_t, kStateWords> state_;
  int next_ = kStateWords;
};

}  // namespace fare
