#include "fare/benchmarks/fewshot.h"

namespace fare {

std::vector<size_t> FewshotSampler::draw(size_t num_shots) {
  const auto drawn = random_.sample(pool_size_, num_shots);
  return {drawn.begin(), drawn.end()};
}

}  // namespace fare
