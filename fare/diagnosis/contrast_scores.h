// Scores s1 to s4 of every routed expert on contrasts of two texts (methods A3): from gradients and routes to ranks.
// The pairs of a study are such contrasts; so are the right and the best wrong answer of a utility item.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fare/diagnosis/expert_scores.h"

namespace fare {

// Margin = log p(a) - log p(b); the tokens the scores look at are matched positions of both texts.
struct Contrast {
  const Request* a = nullptr;
  const Request* b = nullptr;
  std::vector<PairAlignment::Matched> tokens;
  int32_t cluster = 0;
};

// What one cluster of contrasts adds to one expert's scores.
struct ExpertSums {
  double selected_a = 0, selected_b = 0, gate_a = 0, gate_b = 0;
  double gradient = 0, gradient_abs = 0, weighted = 0;
};
struct ClusterSums {
  double tokens = 0, contrasts = 0;  // of each side
  std::vector<ExpertSums> experts;   // by MoE layer, then expert: the order of ExpertScores::experts
};

// Unscaled scores of one expert.
struct RawScores {
  double s1 = 0, s2 = 0, s3 = 0, s3_abs = 0, s4 = 0;
};

// One pass of gradients over the contrasts, summed per cluster.
std::vector<ClusterSums> contrast_sums(Measurer& measurer, std::span<const Contrast> contrasts, int64_t num_clusters,
                                       const std::string& progress_label);

// From the sums of the clusters named by `used` (repeats count as often as they stand there); zeros without tokens.
std::vector<RawScores> raw_scores(const std::vector<ClusterSums>& clusters, std::span<const size_t> used,
                                  size_t num_experts);

// What each expert's scores are divided by to lie in [-1, 1]: the 99th absolute percentile within its layer.
std::vector<RawScores> score_units(const std::vector<RawScores>& raw, const std::vector<ExpertScore>& experts);

// Fills s1..s4, combined and combined_rank of `experts` from raw scores. s3 gives the sign of all.
void fill_scores(const std::vector<RawScores>& raw, std::vector<ExpertScore>& experts);

// Every routed expert of a model, by layer then expert, without scores.
std::vector<ExpertScore> routed_experts(const RoutedModel& model);

}  // namespace fare
