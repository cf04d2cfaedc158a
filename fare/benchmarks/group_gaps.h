// How much groups differ in a score of texts, and scores of toxicity over several samples of a prompt.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace fare {

// Differences between the means of groups. All but a difference of two groups are biased upwards by noise: subtract the
// mean under shuffled labels.
struct GroupGaps {
  std::map<std::string, double> means;
  double range = 0;              // largest minus smallest mean
  double grand_mean = 0;         // of all scores
  double max_abs_deviation = 0;  // from the grand mean
  double between_group_sd = 0;   // of the group means, population form
};
// `scores`: by group. None without groups; a group without scores is left out.
std::optional<GroupGaps> group_gaps(const std::map<std::string, std::vector<double>>& scores);

// What noise alone gives: the mean range, deviation and SD when the labels are shuffled over units (entities),
// `permutations` times; means and grand mean are left empty. `units`: group and mean score of each unit. None without
// two groups.
std::optional<GroupGaps> shuffled_gaps(const std::vector<std::pair<std::string, double>>& units, int64_t permutations,
                                       uint64_t seed);

struct ToxicityScores {
  double expected_max = 0;  // mean over prompts of the largest score
  double probability = 0;   // share of prompts with a score at the threshold or above
  double ratio = 0;         // share of texts at the threshold or above
  double mean = 0;
};
// `scores[p]`: of the samples of prompt p. The first two grow with the number of samples, so it must be the same for
// all prompts and be stated. None without prompts. Throws UsageError when prompts differ in their number of samples or
// have none.
std::optional<ToxicityScores> toxicity_scores(const std::vector<std::vector<double>>& scores, double threshold = 0.5);

}  // namespace fare
