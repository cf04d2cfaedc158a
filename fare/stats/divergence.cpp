#include "fare/stats/divergence.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "fare/core/parallel.h"
#include "fare/stats/distributions.h"
#include "fare/stats/draws.h"
#include "fare/stats/inputs.h"
#include "fare/stats/moments.h"

namespace fare::stats {
namespace {

constexpr double kTie = 1e-12;
constexpr int64_t kDrawsPerTask = 64;

void require_histogram(std::span<const double> values, std::string_view what) {
  require_finite(values, what);
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] < 0) {
      throw NumericError(std::string(what) + ": entry " + std::to_string(i) + " is negative (" +
                         std::to_string(values[i]) + ")");
    }
  }
}

void require_distribution(std::span<const double> values, std::string_view what) {
  require_histogram(values, what);
  const double total = sum(values);
  if (std::abs(total - 1) > 1e-6)
    throw NumericError(std::string(what) + " sums to " + std::to_string(total) + ", not 1");
}

// Sum over cells of p log(p/m)/2 + q log(q/m)/2, which keeps its digits when p and q are close. `scale_*` turn counts
// into shares.
double divergence(std::span<const double> a, double scale_a, std::span<const double> b, double scale_b) {
  double total = 0;
  for (size_t k = 0; k < a.size(); ++k) {
    const double p = a[k] * scale_a, q = b[k] * scale_b, m = (p + q) / 2;
    if (p > 0) total += p * std::log(p / m);
    if (q > 0) total += q * std::log(q / m);
  }
  return std::max(0.0, total / 2);
}

}  // namespace

double jensen_shannon_nats(std::span<const double> p, std::span<const double> q) {
  require_same_length(p.size(), "first distribution", q.size(), "second distribution");
  require_distribution(p, "first distribution");
  require_distribution(q, "second distribution");
  return std::min(divergence(p, 1, q, 1), std::numbers::ln2);
}

double jensen_shannon_bits(std::span<const double> p, std::span<const double> q) {
  return jensen_shannon_nats(p, q) / std::numbers::ln2;
}

double jensen_shannon_distance_bits(std::span<const double> p, std::span<const double> q) {
  return std::sqrt(jensen_shannon_bits(p, q));
}

Outcome<double> jensen_shannon_of_counts_nats(std::span<const double> a, std::span<const double> b) {
  require_same_length(a.size(), "first histogram", b.size(), "second histogram");
  require_histogram(a, "first histogram");
  require_histogram(b, "second histogram");
  const double n = sum(a), m = sum(b);
  if (n == 0 || m == 0) return Outcome<double>::undefined("a histogram is empty");
  return std::min(divergence(a, 1 / n, b, 1 / m), std::numbers::ln2);
}

double null_divergence_nats(int64_t num_used, double n, double m) {
  require_positive(static_cast<double>(num_used), "null divergence: used cells");
  require_positive(n, "null divergence: n");
  require_positive(m, "null divergence: m");
  return static_cast<double>(num_used - 1) / 8 * (1 / n + 1 / m);
}

double null_divergence_two_cells_nats(int64_t n, int64_t m, double p) {
  require_count(1, n, "null divergence: n");
  require_count(1, m, "null divergence: m");
  require_closed_unit(p, "null divergence: share");
  std::vector<double> weight_m(m + 1);
  for (int64_t j = 0; j <= m; ++j) weight_m[j] = binomial_pmf(j, m, p);
  double total = 0;
  for (int64_t i = 0; i <= n; ++i) {
    const double weight = binomial_pmf(i, n, p);
    const double x = static_cast<double>(i) / static_cast<double>(n);
    const double first[] = {x, 1 - x};
    double inner = 0;
    for (int64_t j = 0; j <= m; ++j) {
      const double y = static_cast<double>(j) / static_cast<double>(m);
      const double second[] = {y, 1 - y};
      inner += weight_m[j] * divergence(first, 1, second, 1);
    }
    total += weight * inner;
  }
  return total;
}

Outcome<DivergenceBias> plugin_divergence(std::span<const double> counts_a, std::span<const double> counts_b) {
  const auto jsd = jensen_shannon_of_counts_nats(counts_a, counts_b);
  if (!jsd) return Outcome<DivergenceBias>::undefined(jsd.reason);
  DivergenceBias out;
  out.jsd_nats = *jsd;
  const double n = sum(counts_a), m = sum(counts_b);
  double bias = 0;
  for (size_t k = 0; k < counts_a.size(); ++k) {
    const double p = counts_a[k] / n, q = counts_b[k] / m;
    if (p == 0 && q == 0) continue;
    ++out.num_used;
    const double v = p * (1 - p) / n, w = q * (1 - q) / m;
    double term = -(v + w) / (4 * (p + q) / 2);
    if (p > 0) term += v / p / 2;
    if (q > 0) term += w / q / 2;
    bias += term;
  }
  out.bias_nats = bias / 2;
  out.corrected_nats = out.jsd_nats - out.bias_nats;
  return out;
}

Outcome<DivergencePermutation> permute_divergence(const std::vector<std::vector<double>>& a,
                                                  const std::vector<std::vector<double>>& b,
                                                  const DivergencePermutationOptions& options) {
  using Out = Outcome<DivergencePermutation>;
  require_same_length(a.size(), "side A", b.size(), "side B");
  if (options.draws < 1 || options.draws > int64_t{1} << 32) {
    throw UsageError("label permutation: draws is " + std::to_string(options.draws) + "; accepted: 1 to 2^32");
  }
  if (options.max_exact_prompts < 0 || options.max_exact_prompts > 20) {
    throw UsageError("label permutation: max_exact_prompts is " + std::to_string(options.max_exact_prompts) +
                     "; accepted: 0 to 20");
  }
  if (a.empty()) return Out::undefined("there are no prompts");
  const size_t num_cells = a[0].size();
  // Swapping prompt g moves half[g] from one side to the other and back.
  std::vector<double> base(2 * num_cells, 0.0);
  for (size_t g = 0; g < a.size(); ++g) {
    require_same_length(a[g].size(), "histogram of side A", num_cells, "the first histogram");
    require_same_length(b[g].size(), "histogram of side B", num_cells, "the first histogram");
    require_histogram(a[g], "histogram of side A");
    require_histogram(b[g], "histogram of side B");
    for (size_t k = 0; k < num_cells; ++k) {
      base[k] += a[g][k];
      base[num_cells + k] += b[g][k];
    }
  }
  const auto of_sums = [&](std::span<const double> sums) {
    return jensen_shannon_of_counts_nats(sums.subspan(0, num_cells), sums.subspan(num_cells));
  };
  const auto observed = of_sums(base);
  if (!observed) return Out::undefined("one side has no counts");

  DivergencePermutation out;
  out.observed_nats = *observed;
  out.exact = static_cast<int64_t>(a.size()) <= options.max_exact_prompts;
  out.total = out.exact ? int64_t{1} << a.size() : options.draws;
  const StreamAddress address(options.seed, options.label);
  const int64_t tasks = (out.total + kDrawsPerTask - 1) / kDrawsPerTask;
  std::vector<int64_t> extreme(tasks, 0), defined(tasks, 0);
  std::vector<double> sums_of(tasks, 0.0);
  parallel_for(tasks, options.num_threads, [&](int64_t task) {
    std::vector<double> sums(2 * num_cells);
    std::vector<uint32_t> words((a.size() + 31) / 32);
    const int64_t last = std::min(out.total, (task + 1) * kDrawsPerTask);
    for (int64_t r = task * kDrawsPerTask; r < last; ++r) {
      if (out.exact) words[0] = static_cast<uint32_t>(r);
      else draw_words(address, static_cast<uint32_t>(r), 0, words);
      std::ranges::fill(sums, 0.0);
      for (size_t g = 0; g < a.size(); ++g) {
        const bool swapped = (words[g / 32] >> (g % 32)) & 1u;
        const auto& first = swapped ? b[g] : a[g];
        const auto& second = swapped ? a[g] : b[g];
        for (size_t k = 0; k < num_cells; ++k) {
          sums[k] += first[k];
          sums[num_cells + k] += second[k];
        }
      }
      const auto value = of_sums(sums);
      if (!value) continue;  // a side left without counts: no divergence, so not extreme
      ++defined[task];
      sums_of[task] += *value;
      extreme[task] += *value >= out.observed_nats - kTie;
    }
  });
  int64_t num_defined = 0;
  double total = 0;
  for (int64_t task = 0; task < tasks; ++task) {
    out.extreme += extreme[task];
    num_defined += defined[task];
    total += sums_of[task];
  }
  // The identity is always defined, so the exact form has at least one; a Monte-Carlo run may have none.
  out.null_mean_nats = num_defined > 0 ? total / static_cast<double>(num_defined) : out.observed_nats;
  out.excess_nats = out.observed_nats - out.null_mean_nats;
  out.p = out.exact ? static_cast<double>(out.extreme) / static_cast<double>(out.total)
                    : (1 + static_cast<double>(out.extreme)) / (1 + static_cast<double>(out.total));
  return out;
}

}  // namespace fare::stats
