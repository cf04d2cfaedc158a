#include "fare/stats/self_check.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <utility>

#include "fare/core/error.h"
#include "fare/core/parallel.h"
#include "fare/core/philox.h"
#include "fare/stats/bootstrap.h"
#include "fare/stats/clusters.h"
#include "fare/stats/distributions.h"
#include "fare/stats/divergence.h"
#include "fare/stats/equivalence.h"
#include "fare/stats/mcnemar.h"
#include "fare/stats/multiplicity.h"
#include "fare/stats/paired_t.h"
#include "fare/stats/permutation.h"
#include "fare/stats/proportions.h"

namespace fare::stats {
namespace {

constexpr double kAlpha = 0.05;

SelfCheck check_generator() {
  struct Answer {
    std::array<uint32_t, 4> counter;
    std::array<uint32_t, 2> key;
    std::array<uint32_t, 4> block;
  };
  // Published with the generator (Random123).
  const Answer answers[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  int met = 0;
  for (const auto& answer : answers) met += philox4x32(answer.counter, answer.key) == answer.block;
  SelfCheck out;
  out.name = "philox known answers";
  out.value = met / 3.0;
  out.expected = out.low = out.high = 1;
  out.passed = met == 3;
  return out;
}

std::vector<double> normals(const RandomStream& stream, int n, double mean = 0) {
  std::vector<double> out(n);
  for (int i = 0; i < n; ++i) out[i] = mean + normal_draw(stream, i);
  return out;
}

// Clusters of 3 items that share the cluster's effect.
struct ClusteredNull {
  std::vector<double> d;
  Clusters clusters;
};
ClusteredNull clustered_null(const RandomStream& stream, int num_clusters) {
  ClusteredNull out;
  out.clusters.num_clusters = num_clusters;
  for (int c = 0; c < num_clusters; ++c) {
    const double shared = normal_draw(stream, 4 * c);
    for (int i = 1; i <= 3; ++i) {
      out.d.push_back(shared + normal_draw(stream, 4 * c + i));
      out.clusters.of_item.push_back(c);
    }
  }
  return out;
}

// Items that changed one way and the other, of n with chance p for each.
std::pair<int64_t, int64_t> discordant(const RandomStream& stream, int n, double p) {
  int64_t b = 0, c = 0;
  for (int i = 0; i < n; ++i) {
    const double u = stream.uniform(i);
    b += u < p;
    c += u >= p && u < 2 * p;
  }
  return {b, c};
}

std::vector<double> random_histogram(const RandomStream& stream, int first_draw, int num_draws) {
  std::vector<double> out(4, 0.0);
  for (int i = 0; i < num_draws; ++i) {
    const double u = stream.uniform(first_draw + i);
    out[u < 0.4 ? 0 : u < 0.7 ? 1 : u < 0.9 ? 2 : 3] += 1;
  }
  return out;
}

bool any_at_most(const PValues& p, double level) {
  return std::ranges::any_of(p, [&](const auto& q) { return q && *q <= level; });
}

PValues uniform_p(const RandomStream& stream) {
  PValues p;
  for (int i = 0; i < 10; ++i) p.push_back(stream.uniform(i));
  return p;
}

struct NullTest {
  std::string name;
  double expected;  // Rejection rate under the null.
  // Whether simulation `sim`, whose data come from `stream`, rejects; `seed` feeds draws of the test itself.
  std::function<bool(const RandomStream& stream, uint64_t seed)> rejects;
  int64_t divide = 1;  // Costly tests run simulations / divide.
  double slack = 0;
};

std::vector<NullTest> null_tests() {
  std::vector<NullTest> tests;
  // 12 units: p is a multiple of 2 / 2^12.
  tests.push_back({"sign flip, exact", std::floor(kAlpha * 2048) / 2048,
                   [](const RandomStream& s, uint64_t) { return sign_flip(normals(s, 12), {})->p <= kAlpha; }});
  tests.push_back({"sign flip, Monte Carlo, one-sided", kAlpha, [](const RandomStream& s, uint64_t seed) {
                     SignFlipOptions options;
                     options.seed = seed;
                     options.draws = 199;
                     options.alternative = Alternative::kGreater;
                     return sign_flip(normals(s, 40), options)->p <= kAlpha;
                   }});
  tests.push_back({"sign flip of clusters", kAlpha, [](const RandomStream& s, uint64_t seed) {
                     const auto data = clustered_null(s, 30);
                     SignFlipOptions options;
                     options.seed = seed;
                     options.draws = 199;
                     return sign_flip_clusters(data.d, data.clusters, options)->p <= kAlpha;
                   }});
  for (const auto variant : {McNemarVariant::kExact, McNemarVariant::kMidP}) {
    const bool exact = variant == McNemarVariant::kExact;
    tests.push_back({exact ? "exact McNemar" : "mid-p McNemar", mcnemar_power(80, 0.15, 0.15, kAlpha, variant),
                     [exact](const RandomStream& s, uint64_t) {
                       const auto [b, c] = discordant(s, 80, 0.15);
                       const auto test = mcnemar(b, c);
                       return (exact ? test.exact_p : test.mid_p) <= kAlpha;
                     }});
  }
  double binomial_size = 0;
  for (int k = 0; k <= 60; ++k) {
    if (binomial_test(k, 60, 0.3)->exact_p <= kAlpha) binomial_size += binomial_pmf(k, 60, 0.3);
  }
  tests.push_back({"exact binomial", binomial_size, [](const RandomStream& s, uint64_t) {
                     int64_t k = 0;
                     for (int i = 0; i < 60; ++i) k += s.uniform(i) < 0.3;
                     return binomial_test(k, 60, 0.3)->exact_p <= kAlpha;
                   }});
  tests.push_back({"paired t", kAlpha,
                   [](const RandomStream& s, uint64_t) { return paired_t(normals(s, 15), 0.95)->p <= kAlpha; }});
  tests.push_back({"t with clustered errors", kAlpha, [](const RandomStream& s, uint64_t) {
                     const auto data = clustered_null(s, 20);
                     const auto error = *clustered_error(data.d, data.clusters);
                     return student_t_two_sided_p(error.mean / error.se_cr1, static_cast<double>(error.df)) <= kAlpha;
                   }});
  tests.push_back({"equivalence at the margin", kAlpha, [](const RandomStream& s, uint64_t) {
                     return tost_paired(normals(s, 20, 3), 3, kAlpha)->equivalent;
                   }});
  tests.push_back({"cluster bootstrap interval", kAlpha,
                   [](const RandomStream& s, uint64_t seed) {
                     const auto data = clustered_null(s, 60);
                     ResampleOptions options;
                     options.seed = seed;
                     options.replicates = 999;
                     const auto interval =
                         *bootstrap_cluster_mean(data.d, data.clusters, options).percentile(1 - kAlpha);
                     return interval.low > 0 || interval.high < 0;
                   },
                   4, 0.02});
  // 8 prompts: swapping all leaves the divergence as it is, so p is a multiple of 2 / 2^8.
  tests.push_back({"label swaps of divergence", std::floor(kAlpha * 128) / 128,
                   [](const RandomStream& s, uint64_t) {
                     std::vector<std::vector<double>> a, b;
                     for (int g = 0; g < 8; ++g) {
                       a.push_back(random_histogram(s, 80 * g, 40));
                       b.push_back(random_histogram(s, 80 * g + 40, 40));
                     }
                     return permute_divergence(a, b, {})->p <= kAlpha;
                   },
                   2});
  double harmonic = 0;
  for (int i = 1; i <= 10; ++i) harmonic += 1.0 / i;
  tests.push_back({"Benjamini-Hochberg, any of 10", kAlpha, [](const RandomStream& s, uint64_t) {
                     return any_at_most(benjamini_hochberg(uniform_p(s)), kAlpha);
                   }});
  tests.push_back({"Benjamini-Yekutieli, any of 10", kAlpha / harmonic, [](const RandomStream& s, uint64_t) {
                     return any_at_most(benjamini_yekutieli(uniform_p(s)), kAlpha);
                   }});
  tests.push_back({"Holm, any of 10", 1 - std::pow(1 - kAlpha / 10, 10),
                   [](const RandomStream& s, uint64_t) { return any_at_most(holm(uniform_p(s)), kAlpha); }});
  return tests;
}

}  // namespace

std::vector<SelfCheck> run_self_checks(const SelfCheckOptions& options) {
  if (options.simulations < 100) {
    throw UsageError("self-check: simulations is " + std::to_string(options.simulations) + "; accepted: 100 or more");
  }
  std::vector<SelfCheck> checks = {check_generator()};
  for (const auto& test : null_tests()) {
    const int64_t simulations = std::max<int64_t>(100, options.simulations / test.divide);
    std::vector<char> rejected(simulations, 0);
    parallel_for(simulations, options.num_threads, [&](int64_t sim) {
      const RandomStream stream(options.seed, "self-check/" + test.name, static_cast<uint32_t>(sim));
      rejected[sim] = test.rejects(stream, options.seed + static_cast<uint64_t>(sim));
    });
    const int64_t count = std::ranges::count(rejected, 1);
    const auto interval = *wilson_interval(count, simulations, options.confidence);
    SelfCheck check;
    check.name = "false positives: " + test.name;
    check.value = static_cast<double>(count) / static_cast<double>(simulations);
    check.expected = test.expected;
    check.low = interval.low;
    check.high = interval.high;
    check.slack = test.slack;
    check.passed = check.low - check.slack <= check.expected && check.expected <= check.high + check.slack;
    checks.push_back(check);
  }
  return checks;
}

bool all_passed(const std::vector<SelfCheck>& checks) {
  return std::ranges::all_of(checks, [](const SelfCheck& check) { return check.passed; });
}

}  // namespace fare::stats
