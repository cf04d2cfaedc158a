#include "fare/scoring/head.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "fare/core/error.h"

namespace fare {
namespace {

// Rows of logits held at once: about 32 MB.
int64_t block_rows(int64_t vocab_size) { return std::clamp<int64_t>((int64_t{8} << 20) / vocab_size, 16, 1024); }

struct RowStatistics {
  float largest = 0;
  int32_t argmax = 0;
  double log_sum = 0;  // log of the sum of exp(logit - largest)
};

#if defined(__x86_64__)
#define FARE_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FARE_CLONES
#endif

FARE_CLONES float largest_of(const float* __restrict values, int64_t n) {
  float largest = values[0];
  for (int64_t i = 1; i < n; ++i) largest = values[i] > largest ? values[i] : largest;
  return largest;
}

RowStatistics statistics_of(const float* logits, int64_t vocab_size, std::vector<float>& scratch) {
  RowStatistics row;
  row.largest = largest_of(logits, vocab_size);
  row.argmax = static_cast<int32_t>(std::find(logits, logits + vocab_size, row.largest) - logits);
  scratch.resize(static_cast<size_t>(vocab_size));
  double sum = 0;
  for (int64_t i = 0; i < vocab_size; ++i) scratch[static_cast<size_t>(i)] = std::exp(logits[i] - row.largest);
  for (int64_t i = 0; i < vocab_size; ++i) sum += scratch[static_cast<size_t>(i)];
  row.log_sum = std::log(sum);
  if (!(row.log_sum >= 0)) throw NumericError("the output head gave a NaN; the hidden state is out of range");
  return row;
}

}  // namespace

std::vector<TargetResult> read_targets(const Model& model, const at::Tensor& h_TD, std::span<const Target> targets) {
  const at::NoGradGuard no_grad;
  const int64_t vocab_size = model.spec().vocab_size;
  std::vector<int64_t> order(targets.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return targets[static_cast<size_t>(a)].row < targets[static_cast<size_t>(b)].row;
  });
  std::vector<int32_t> rows;           // distinct rows that are read
  std::vector<size_t> first_target;    // into order, one per row, plus the end
  for (size_t i = 0; i < order.size(); ++i) {
    const int32_t row = targets[static_cast<size_t>(order[i])].row;
    if (rows.empty() || rows.back() != row) {
      rows.push_back(row);
      first_target.push_back(i);
    }
  }
  first_target.push_back(order.size());

  std::vector<TargetResult> results(targets.size());
  const int64_t block = block_rows(vocab_size);
  for (int64_t begin = 0; begin < static_cast<int64_t>(rows.size()); begin += block) {
    const int64_t count = std::min<int64_t>(block, static_cast<int64_t>(rows.size()) - begin);
    const at::Tensor index = at::tensor(at::ArrayRef<int32_t>(rows.data() + begin, static_cast<size_t>(count)), at::kInt);
    const at::Tensor logits = model.head(h_TD.index_select(0, index)).contiguous();
    const float* data = logits.const_data_ptr<float>();
    at::parallel_for(0, count, 1, [&](int64_t from, int64_t to) {
      std::vector<float> scratch;
      for (int64_t r = from; r < to; ++r) {
        const float* row = data + r * vocab_size;
        const RowStatistics statistics = statistics_of(row, vocab_size, scratch);
        for (size_t i = first_target[static_cast<size_t>(begin + r)]; i < first_target[static_cast<size_t>(begin + r) + 1]; ++i) {
          const size_t target = static_cast<size_t>(order[i]);
          const int32_t token = targets[target].token;
          results[target] = {static_cast<double>(row[token]) - static_cast<double>(statistics.largest) - statistics.log_sum,
                             token == statistics.argmax};
        }
      }
    });
  }
  return results;
}

at::Tensor log_probabilities(const Model& model, const at::Tensor& h_TD, std::span<const int32_t> rows) {
  const at::NoGradGuard no_grad;
  const at::Tensor index = at::tensor(at::ArrayRef<int32_t>(rows.data(), rows.size()), at::kInt);
  return model.head(h_TD.index_select(0, index)).log_softmax(-1);
}

}  // namespace fare
