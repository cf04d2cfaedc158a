// Do scores that nominate experts predict what removing an expert does? The rank correlation of each score with s5 on
// experts drawn at random (methods A3, mandatory).
#pragma once

#include <vector>

#include "fare/diagnosis/contrast_scores.h"

namespace fare {

// Change of the margin when one expert is masked, summed per cluster of pairs.
struct CausalChanges {
  std::vector<size_t> experts;            // places among ExpertScores::experts: those drawn at random
  std::vector<std::vector<double>> sums;  // [cluster][expert], nats
  std::vector<double> pairs;              // per cluster, pairs behind s5
};

// One entry per score. The interval's replicates draw clusters of pairs with replacement, which moves scores and s5;
// where the experts are a sample of all, they are drawn again as well: streams (seed, "honesty/clusters" and
// "honesty/experts", replicate).
std::vector<ExpertScores::Honesty> check_honesty(const std::vector<ExpertScore>& experts,
                                                 const std::vector<ClusterSums>& sums, const CausalChanges& changes,
                                                 const DiagnosisOptions& options);

}  // namespace fare
