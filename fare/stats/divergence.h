// Jensen-Shannon divergence of routing distributions, its finite-sample bias, and a test that respects prompts.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fare/stats/outcome.h"

namespace fare::stats {

// JSD = H((P+Q)/2) - H(P)/2 - H(Q)/2 in nats, in [0, ln 2]; 0 log 0 counts as 0, tiny negatives as 0.
// `p`, `q`: non-negative, each with sum 1 within 1e-6 (else NumericError), of equal length (else UsageError).
double jensen_shannon_nats(std::span<const double> p, std::span<const double> q);
double jensen_shannon_bits(std::span<const double> p, std::span<const double> q);           // in [0, 1]
double jensen_shannon_distance_bits(std::span<const double> p, std::span<const double> q);  // sqrt of the bits

// Of histograms (non-negative, scaled to sum 1 here). Undefined when one is empty.
Outcome<double> jensen_shannon_of_counts_nats(std::span<const double> a, std::span<const double> b);

// E[JSD] of two samples from one distribution over K used cells, first order: (K-1)/8 (1/n + 1/m). Throws UsageError
// unless K, n, m >= 1. Independent entries only: top-k entries of a token and tokens of a prompt are not.
double null_divergence_nats(int64_t num_used, double n, double m);
// Exactly, for two cells: X ~ Bin(n, p), Y ~ Bin(m, p). n, m >= 1.
double null_divergence_two_cells_nats(int64_t n, int64_t m, double p);

struct DivergenceBias {
  double jsd_nats = 0;
  double bias_nats = 0;       // First order, for P and Q as observed; cells with 0 on both sides skipped.
  double corrected_nats = 0;  // jsd - bias; may be negative: do not clamp before averaging.
  int64_t num_used = 0;       // Cells used by either side.
};
// Undefined when a histogram is empty.
Outcome<DivergenceBias> plugin_divergence(std::span<const double> counts_a, std::span<const double> counts_b);

struct DivergencePermutationOptions {
  uint64_t seed = 0;
  std::string label = "permutation/labels";  // A second analysis appends "/" and its metric.
  int64_t draws = 10000;
  int max_exact_prompts = 16;  // At most 20.
  int num_threads = 1;
};
struct DivergencePermutation {
  double observed_nats = 0;
  double null_mean_nats = 0;  // Mean over the label swaps: what JSD is when the sides do not differ.
  double excess_nats = 0;     // observed - null mean
  double p = 1;               // Exact: extreme / total; Monte Carlo: (1 + extreme) / (1 + total).
  bool exact = false;
  int64_t extreme = 0;  // Swaps with a divergence at least as large (tolerance 1e-12).
  int64_t total = 0;
};
// `a`, `b`: per prompt the histogram over K experts of side A and of side B; labels are swapped per prompt, histograms
// summed. Monte-Carlo draw r swaps prompt g when bit g of its stream is 1. Undefined without prompts or with an empty
// side. Throws UsageError on ragged input.
Outcome<DivergencePermutation> permute_divergence(const std::vector<std::vector<double>>& a,
                                                  const std::vector<std::vector<double>>& b,
                                                  const DivergencePermutationOptions& options);

}  // namespace fare::stats
