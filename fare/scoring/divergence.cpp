#include "fare/scoring/divergence.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "fare/core/error.h"
#include "fare/models/row_kernels.h"
#include "fare/routing/parallel_rows.h"

namespace fare {
namespace {

// As in head.cpp: enough rows and tokens for the rate of a large product.
constexpr int64_t kPairRows = 2048, kPairTokens = 2048;

// What two rows of logits a and b have been so far.
struct RowSums {
  float largest_a = -std::numeric_limits<float>::infinity(), largest_b = largest_a;
  kernels::PairSums sums;
  double token_a = 0, token_b = 0;  // logits of the token
};

double shrink(float& largest, float now) {
  const double by = now > largest ? std::exp(static_cast<double>(largest) - static_cast<double>(now)) : 1;
  largest = std::max(largest, now);
  return by;
}

template <typename Value>
void take(const Value* a, const Value* b, int64_t count, RowSums& row) {
  const double by = shrink(row.largest_a, kernels::largest(a, count));
  row.sums.exp_a *= by, row.sums.exp_a_gap *= by;
  row.sums.exp_b *= shrink(row.largest_b, kernels::largest(b, count));
  kernels::add_pair_sums(a, row.largest_a, b, row.largest_b, count, row.sums);
}

Divergence divergence_of(const RowSums& row, bool has_token) {
  const double log_a = static_cast<double>(row.largest_a) + std::log(row.sums.exp_a),
               log_b = static_cast<double>(row.largest_b) + std::log(row.sums.exp_b);
  const Divergence result{row.sums.exp_a_gap / row.sums.exp_a - log_a + log_b,
                          has_token ? (row.token_a - log_a) - (row.token_b - log_b) : 0};
  if (!std::isfinite(result.kl_nats) || !std::isfinite(result.logprob_change))
    throw NumericError("the output head gave a NaN; the hidden state is out of range");
  return result;
}

template <typename Id>
at::Tensor some_rows(const at::Tensor& all, std::span<const Id> rows) {
  return all.index_select(0, at::tensor(at::ArrayRef<Id>(rows.data(), rows.size())));
}

}  // namespace

ReferenceRows reference_rows(const Model& model, const at::Tensor& h_TD, std::span<const int32_t> rows,
                             int64_t most_bytes) {
  const at::NoGradGuard no_grad;
  ReferenceRows reference{some_rows(h_TD, rows), {}};
  const int64_t value_bytes = static_cast<int64_t>(c10::elementSize(model.execution().dtype));
  if (!rows.empty() && static_cast<int64_t>(rows.size()) * model.spec().vocab_size * value_bytes <= most_bytes)
    reference.logits_NV =
        model.head_part(model.final_norm(reference.h_ND), 0, model.spec().vocab_size).cpu().contiguous();
  return reference;
}

std::vector<Divergence> divergences(const Model& model, const ReferenceRows& reference, std::span<const int64_t> which,
                                    const at::Tensor& h_TD, std::span<const int32_t> rows,
                                    std::span<const int32_t> tokens) {
  FARE_CHECK(which.size() == rows.size() && (tokens.empty() || rows.size() == tokens.size()),
             "one row of each run, and one token or none");
  const at::NoGradGuard no_grad;
  const int64_t vocab_size = model.spec().vocab_size;
  std::vector<Divergence> results;
  results.reserve(rows.size());
  for (size_t begin = 0; begin < rows.size(); begin += kPairRows) {
    const size_t num_rows = std::min<size_t>(kPairRows, rows.size() - begin);
    const auto own = which.subspan(begin, num_rows);
    at::Tensor a_RD;  // only where logits are not kept
    if (!reference.logits_NV.defined()) a_RD = model.final_norm(some_rows(reference.h_ND, own));
    const at::Tensor b_RD = model.final_norm(some_rows(h_TD, rows.subspan(begin, num_rows)));
    std::vector<RowSums> sums(num_rows);
    for (int64_t first = 0; first < vocab_size; first += kPairTokens) {
      const int64_t count = std::min(kPairTokens, vocab_size - first);
      const bool kept = !a_RD.defined();
      const at::Tensor a = kept ? reference.logits_NV : model.head_part(a_RD, first, count).cpu().contiguous(),
                       b = model.head_part(b_RD, first, count).cpu().contiguous();
      const auto read = [&](const auto* from_a, const auto* from_b) {
        parallel_rows(0, static_cast<int64_t>(num_rows), 1, [&](int64_t from, int64_t to) {
          for (int64_t r = from; r < to; ++r) {
            const auto at = static_cast<size_t>(r);
            const auto* row_a = kept ? from_a + own[at] * vocab_size + first : from_a + r * count;
            const auto* row_b = from_b + r * count;
            take(row_a, row_b, count, sums[at]);
            if (tokens.empty()) continue;
            if (const int64_t token = tokens[begin + at] - first; token >= 0 && token < count) {
              sums[at].token_a = static_cast<double>(kernels::widen(row_a[token]));
              sums[at].token_b = static_cast<double>(kernels::widen(row_b[token]));
            }
          }
        });
      };
      if (b.scalar_type() == at::kFloat) read(a.const_data_ptr<float>(), b.const_data_ptr<float>());
      else
        read(static_cast<const kernels::Bf16*>(a.const_data_ptr()),
             static_cast<const kernels::Bf16*>(b.const_data_ptr()));
    }
    for (const RowSums& row : sums) results.push_back(divergence_of(row, !tokens.empty()));
  }
  return results;
}

double mean_kl_nats(const Model& model, const at::Tensor& p_TD, std::span<const int32_t> p_rows, const at::Tensor& q_TD,
                    std::span<const int32_t> q_rows) {
  std::vector<int64_t> all(p_rows.size());
  std::iota(all.begin(), all.end(), int64_t{0});
  double sum = 0;
  for (const Divergence& row : divergences(model, reference_rows(model, p_TD, p_rows, 0), all, q_TD, q_rows))
    sum += row.kl_nats;
  return all.empty() ? 0 : std::max(0.0, sum / static_cast<double>(all.size()));
}

}  // namespace fare
