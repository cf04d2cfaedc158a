#include "fare/scoring/head.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "fare/core/error.h"
#include "fare/models/row_kernels.h"
#include "fare/routing/parallel_rows.h"

namespace fare {
namespace {

// Rows and tokens of a block of logits (32 MB in float32): enough of both to run at the rate of a large product.
constexpr int64_t kBlockRows = 4096, kBlockTokens = 2048;

// What one row's logits have been so far.
struct RowSoftmax {
  float largest = -std::numeric_limits<float>::infinity();
  int64_t argmax = 0;
  double sum = 0;  // of exp(logit - largest)
};

template <typename Value>
void take(const Value* logits, int64_t first, int64_t count, RowSoftmax& row) {
  const float largest = kernels::largest(logits, count);
  if (largest > row.largest) {
    row.sum *= std::exp(static_cast<double>(row.largest) - static_cast<double>(largest));
    row.largest = largest;
    const auto is_largest = [&](Value logit) { return kernels::widen(logit) == largest; };
    row.argmax = first + (std::find_if(logits, logits + count, is_largest) - logits);
  }
  row.sum += kernels::sum_exp(logits, row.largest, count);
}

// Targets sorted by row.
struct ByRow {
  std::vector<size_t> order;  // of the targets
  std::vector<int32_t> rows;  // distinct rows that are read
  std::vector<size_t> first;  // into order, one per row, plus the end
};

ByRow by_row(std::span<const Target> targets) {
  ByRow sorted;
  sorted.order.resize(targets.size());
  std::iota(sorted.order.begin(), sorted.order.end(), size_t{0});
  std::stable_sort(sorted.order.begin(), sorted.order.end(),
                   [&](size_t a, size_t b) { return targets[a].row < targets[b].row; });
  for (size_t i = 0; i < sorted.order.size(); ++i) {
    const int32_t row = targets[sorted.order[i]].row;
    if (!sorted.rows.empty() && sorted.rows.back() == row) continue;
    sorted.rows.push_back(row);
    sorted.first.push_back(i);
  }
  sorted.first.push_back(sorted.order.size());
  return sorted;
}

at::Tensor rows_of(const at::Tensor& h_TD, std::span<const int32_t> rows) {
  return h_TD.index_select(0, at::tensor(at::ArrayRef<int32_t>(rows.data(), rows.size()), at::kInt));
}

}  // namespace

std::vector<TargetResult> read_targets(const Model& model, const at::Tensor& h_TD, std::span<const Target> targets) {
  const at::NoGradGuard no_grad;
  const int64_t vocab_size = model.spec().vocab_size;
  const ByRow sorted = by_row(targets);
  std::vector<TargetResult> results(targets.size());
  for (size_t begin = 0; begin < sorted.rows.size(); begin += kBlockRows) {
    const size_t num_rows = std::min<size_t>(kBlockRows, sorted.rows.size() - begin);
    const at::Tensor normed_RD = model.final_norm(rows_of(h_TD, std::span(sorted.rows).subspan(begin, num_rows)));
    std::vector<RowSoftmax> softmax(num_rows);
    for (int64_t first = 0; first < vocab_size; first += kBlockTokens) {
      const int64_t count = std::min(kBlockTokens, vocab_size - first);
      const at::Tensor logits = model.head_part(normed_RD, first, count).cpu().contiguous();
      const auto read = [&](const auto* data) {
        parallel_rows(0, static_cast<int64_t>(num_rows), 1, [&](int64_t from, int64_t to) {
          for (size_t r = static_cast<size_t>(from); r < static_cast<size_t>(to); ++r) {
            const auto* row = data + static_cast<int64_t>(r) * count;
            take(row, first, count, softmax[r]);
            for (size_t i = sorted.first[begin + r]; i < sorted.first[begin + r + 1]; ++i)
              if (const int64_t token = targets[sorted.order[i]].token - first; token >= 0 && token < count)
                results[sorted.order[i]].logprob_nats = static_cast<double>(kernels::widen(row[token]));
          }
        });
      };
      if (logits.scalar_type() == at::kFloat) read(logits.const_data_ptr<float>());
      else read(static_cast<const kernels::Bf16*>(logits.const_data_ptr()));
    }
    for (size_t r = 0; r < num_rows; ++r) {
      const RowSoftmax& row = softmax[r];
      if (!std::isfinite(row.sum)) throw NumericError("the output head gave a NaN; the hidden state is out of range");
      for (size_t i = sorted.first[begin + r]; i < sorted.first[begin + r + 1]; ++i) {
        TargetResult& result = results[sorted.order[i]];
        result.logprob_nats -= static_cast<double>(row.largest) + std::log(row.sum);
        result.is_argmax = targets[sorted.order[i]].token == row.argmax;
      }
    }
  }
  return results;
}

at::Tensor log_probabilities(const Model& model, const at::Tensor& h_TD, std::span<const int32_t> rows) {
  const at::NoGradGuard no_grad;
  return model.head(rows_of(h_TD, rows)).log_softmax(-1);
}

}  // namespace fare
