#include "fare/diagnosis/honesty.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "fare/core/philox.h"
#include "fare/stats/moments.h"
#include "fare/stats/ranks.h"

namespace fare {
namespace {

constexpr int64_t kMostReplicates = 2000;
constexpr double kMostUndefined = 0.01;

double scaled(double raw, double unit, double sign) {
  return unit > 0 ? sign * std::min(1.0, std::abs(raw / unit)) : 0;
}

// Scores s1..s4 and minus s5 of the random experts on a draw of clusters; s5 is empty when the draw holds none of its
// pairs.
struct Sample {
  std::vector<double> score[4], causal;
};
Sample sample_of(const std::vector<ClusterSums>& sums, const CausalChanges& changes, std::span<const size_t> clusters,
                 const std::vector<RawScores>& units) {
  Sample sample;
  double tokens = 0, contrasts = 0, pairs = 0;
  for (const size_t c : clusters) {
    tokens += sums[c].tokens;
    contrasts += sums[c].contrasts;
    pairs += changes.pairs[c];
  }
  if (tokens == 0 || pairs == 0) return sample;
  for (size_t i = 0; i < changes.experts.size(); ++i) {
    const size_t e = changes.experts[i];
    double selected = 0, gate = 0, gradient = 0, weighted = 0, change = 0;
    for (const size_t c : clusters) {
      const ExpertSums& one = sums[c].experts[e];
      selected += one.selected_a - one.selected_b;
      gate += one.gate_a - one.gate_b;
      gradient += one.gradient;
      weighted += one.weighted;
      change += changes.sums[c][i];
    }
    const double sign = gradient < 0 ? -1 : 1;
    sample.score[0].push_back(scaled(selected / tokens, units[e].s1, sign));
    sample.score[1].push_back(scaled(gate / tokens, units[e].s2, sign));
    sample.score[2].push_back(scaled(gradient / (2 * tokens), units[e].s3, sign));
    sample.score[3].push_back(scaled(weighted / contrasts, units[e].s4, sign));
    sample.causal.push_back(-change / pairs);  // masking an expert that pushes to the stereotype side lowers the margin
  }
  return sample;
}

}  // namespace

std::vector<ExpertScores::Honesty> check_honesty(const std::vector<ExpertScore>& experts,
                                                 const std::vector<ClusterSums>& sums, const CausalChanges& changes,
                                                 const DiagnosisOptions& options) {
  std::vector<size_t> every(sums.size());
  std::iota(every.begin(), every.end(), size_t{0});
  const std::vector<RawScores> units = score_units(raw_scores(sums, every, experts.size()), experts);
  const Sample whole = sample_of(sums, changes, every, units);
  const int64_t replicates = std::min(options.bootstrap_replicates, kMostReplicates);
  const bool sampled = changes.experts.size() < experts.size();
  std::vector<std::vector<double>> drawn(4);
  for (int64_t r = 0; r < replicates && !whole.causal.empty(); ++r) {
    const RandomStream cluster_stream(options.seed, "honesty/clusters", static_cast<uint32_t>(r));
    const RandomStream expert_stream(options.seed, "honesty/experts", static_cast<uint32_t>(r));
    std::vector<size_t> clusters(sums.size());
    for (size_t i = 0; i < clusters.size(); ++i) clusters[i] = cluster_stream.index(i, clusters.size());
    const Sample all = sample_of(sums, changes, clusters, units);
    if (all.causal.empty()) continue;
    std::vector<double> causal;
    std::vector<size_t> which(changes.experts.size());
    for (size_t i = 0; i < which.size(); ++i) {
      which[i] = sampled ? expert_stream.index(i, which.size()) : i;
      causal.push_back(all.causal[which[i]]);
    }
    for (size_t s = 0; s < 4; ++s) {
      std::vector<double> score;
      for (const size_t i : which) score.push_back(all.score[s][i]);
      if (const auto rho = stats::spearman(score, causal)) drawn[s].push_back(*rho);
    }
  }
  std::vector<ExpertScores::Honesty> checks;
  for (size_t s = 0; s < 4; ++s) {
    ExpertScores::Honesty& honesty = checks.emplace_back();
    honesty.score = kScoreNames[s];
    honesty.n = static_cast<int64_t>(whole.causal.size());
    if (whole.causal.empty()) {
      honesty.reason = "no pair has a token after the change, or none was ablated";
      continue;
    }
    const auto rho = stats::spearman(whole.score[s], whole.causal);
    if (!rho) {
      honesty.reason = rho.reason;
      continue;
    }
    honesty.spearman = *rho;
    std::sort(drawn[s].begin(), drawn[s].end());
    if (static_cast<double>(drawn[s].size()) < (1 - kMostUndefined) * static_cast<double>(replicates))
      honesty.reason = "more than 1% of the resamples have a constant side";
    else honesty.interval = {stats::quantile_sorted(drawn[s], 0.025), stats::quantile_sorted(drawn[s], 0.975)};
  }
  return checks;
}

}  // namespace fare
