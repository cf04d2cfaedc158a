#include "fare/stats/permutation.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "fare/core/parallel.h"
#include "fare/stats/draws.h"
#include "fare/stats/inputs.h"
#include "fare/stats/moments.h"

namespace fare::stats {
namespace {

constexpr int kMostExactUnits = 24;
constexpr int64_t kDrawsPerTask = 64;

// Decides whether a flipped sum is at least as extreme as the observed one.
struct Extreme {
  double observed;
  double tolerance;
  Alternative alternative;

  bool operator()(double flipped) const {
    switch (alternative) {
      case Alternative::kGreater: return flipped >= observed - tolerance;
      case Alternative::kLess: return flipped <= observed + tolerance;
      case Alternative::kTwoSided: break;
    }
    return std::abs(flipped) >= std::abs(observed) - tolerance;
  }
};

// Sums of all 2^n sign vectors of `d`; bit i of the position flips d[i].
std::vector<double> all_signed_sums(std::span<const double> d) {
  std::vector<double> sums = {0.0};
  for (const double value : d) {
    const size_t half = sums.size();
    sums.resize(2 * half);
    for (size_t s = 0; s < half; ++s) {
      sums[half + s] = sums[s] - value;
      sums[s] += value;
    }
  }
  return sums;
}

int64_t count_exact(std::span<const double> d, const Extreme& extreme) {
  // Two halves: every sum of the whole is a sum of the first plus a sum of the second.
  const size_t half = d.size() / 2;
  const auto first = all_signed_sums(d.subspan(0, half));
  const auto second = all_signed_sums(d.subspan(half));
  int64_t count = 0;
  for (const double a : first) {
    for (const double b : second) count += extreme(a + b);
  }
  return count;
}

int64_t count_monte_carlo(std::span<const double> d, const Extreme& extreme, const SignFlipOptions& options) {
  // Per group of 8 units the sums of all 256 sign patterns, so that a draw adds one number per byte of random bits.
  const size_t groups = (d.size() + 7) / 8;
  std::vector<double> sums(groups * 256, 0.0);
  for (size_t g = 0; g < groups; ++g) {
    const size_t length = std::min<size_t>(8, d.size() - 8 * g);
    const auto part = all_signed_sums(d.subspan(8 * g, length));
    for (size_t pattern = 0; pattern < 256; ++pattern) sums[g * 256 + pattern] = part[pattern % part.size()];
  }
  const StreamAddress address(options.seed, options.label);
  const int64_t tasks = (options.draws + kDrawsPerTask - 1) / kDrawsPerTask;
  std::vector<int64_t> counts(tasks, 0);
  parallel_for(tasks, options.num_threads, [&](int64_t task) {
    std::vector<uint32_t> words((groups + 3) / 4);
    const int64_t last = std::min(options.draws, (task + 1) * kDrawsPerTask);
    for (int64_t r = task * kDrawsPerTask; r < last; ++r) {
      draw_words(address, static_cast<uint32_t>(r), 0, words);
      double total = 0;
      for (size_t g = 0; g < groups; ++g) total += sums[g * 256 + ((words[g / 4] >> (8 * (g % 4))) & 255u)];
      counts[task] += extreme(total);
    }
  });
  int64_t count = 0;
  for (const int64_t c : counts) count += c;
  return count;
}

}  // namespace

Outcome<SignFlip> sign_flip(std::span<const double> d, const SignFlipOptions& options) {
  require_finite(d, "sign flip: differences");
  if (options.draws < 1 || options.draws > int64_t{1} << 32) {
    throw UsageError("sign flip: draws is " + std::to_string(options.draws) + "; accepted: 1 to 2^32");
  }
  if (options.max_exact_units < 0 || options.max_exact_units > kMostExactUnits) {
    throw UsageError("sign flip: max_exact_units is " + std::to_string(options.max_exact_units) + "; accepted: 0 to " +
                     std::to_string(kMostExactUnits));
  }
  if (d.empty()) return Outcome<SignFlip>::undefined("there are no differences to test");

  SignFlip out;
  out.num_units = static_cast<int64_t>(d.size());
  std::vector<double> nonzero;
  double size = 0;
  for (const double value : d) {
    if (value != 0) nonzero.push_back(value);
    size += std::abs(value);
  }
  out.num_nonzero = static_cast<int64_t>(nonzero.size());
  out.statistic = sum(d);
  const Extreme extreme{out.statistic, 1e-12 * std::max(1.0, size), options.alternative};
  const bool one_sided = options.alternative != Alternative::kTwoSided;

  const std::span<const double> units = options.drop_zeros ? std::span<const double>(nonzero) : d;
  out.exact = static_cast<int64_t>(units.size()) <= options.max_exact_units;
  if (out.exact) {
    out.total = int64_t{1} << units.size();
    out.extreme = count_exact(units, extreme);
    out.p = static_cast<double>(out.extreme) / static_cast<double>(out.total);
    const auto least = std::ldexp(one_sided ? 1.0 : 2.0, -static_cast<int>(out.num_nonzero));
    out.smallest_p = std::min(1.0, least);
  } else {
    out.total = options.draws;
    out.extreme = count_monte_carlo(d, extreme, options);
    out.p = (1 + static_cast<double>(out.extreme)) / (1 + static_cast<double>(out.total));
    out.smallest_p = 1 / (1 + static_cast<double>(out.total));
  }
  return out;
}

Outcome<SignFlip> sign_flip_clusters(std::span<const double> d, const Clusters& clusters,
                                     const SignFlipOptions& options) {
  require_finite(d, "sign flip: differences");
  return sign_flip(cluster_sums(d, clusters), options);
}

}  // namespace fare::stats
