// Which examples stand before a question, drawn as the harness draws them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fare/core/python_random.h"

namespace fare {

inline constexpr uint64_t kFewshotSeed = 1234;

// The harness's default sampler over another split than the one evaluated: one generator per task, asked once for each
// evaluated document in order.
class FewshotSampler {
 public:
  explicit FewshotSampler(size_t pool_size, uint64_t seed = kFewshotSeed) : pool_size_(pool_size), random_(seed) {}

  // Indices of `num_shots` examples for the next document. Throws UsageError when the pool is smaller.
  std::vector<size_t> draw(size_t num_shots);

 private:
  size_t pool_size_;
  PythonRandom random_;
};

}  // namespace fare
