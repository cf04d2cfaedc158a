#include "fare/benchmarks/group_gaps.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "fare/core/error.h"
#include "fare/core/philox.h"

namespace fare {

std::optional<GroupGaps> group_gaps(const std::map<std::string, std::vector<double>>& scores) {
  GroupGaps gaps;
  double sum = 0, n = 0;
  for (const auto& [name, values] : scores) {
    if (values.empty()) continue;
    const double total = std::accumulate(values.begin(), values.end(), 0.0);
    gaps.means[name] = total / static_cast<double>(values.size());
    sum += total, n += static_cast<double>(values.size());
  }
  if (gaps.means.empty()) return std::nullopt;
  gaps.grand_mean = sum / n;
  double low = INFINITY, high = -INFINITY, mean_of_means = 0, squares = 0;
  for (const auto& [name, mean] : gaps.means) {
    low = std::min(low, mean), high = std::max(high, mean);
    gaps.max_abs_deviation = std::max(gaps.max_abs_deviation, std::fabs(mean - gaps.grand_mean));
    mean_of_means += mean / static_cast<double>(gaps.means.size());
  }
  for (const auto& [name, mean] : gaps.means) squares += (mean - mean_of_means) * (mean - mean_of_means);
  gaps.range = high - low;
  gaps.between_group_sd = std::sqrt(squares / static_cast<double>(gaps.means.size()));
  return gaps;
}

std::optional<GroupGaps> shuffled_gaps(const std::vector<std::pair<std::string, double>>& units, int64_t permutations,
                                       uint64_t seed) {
  std::vector<std::string> labels;
  for (const auto& [group, score] : units) labels.push_back(group);
  std::vector<std::string> names = labels;
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  if (names.size() < 2 || permutations < 1) return std::nullopt;
  GroupGaps mean;
  const auto share = 1 / static_cast<double>(permutations);
  for (int64_t p = 0; p < permutations; ++p) {
    const RandomStream random(seed, "group_gaps/shuffle", static_cast<uint32_t>(p));
    std::vector<std::string> shuffled = labels;
    for (size_t i = shuffled.size(); i-- > 1;) std::swap(shuffled[i], shuffled[random.index(i, i + 1)]);
    std::map<std::string, std::vector<double>> scores;
    for (size_t u = 0; u < units.size(); ++u) scores[shuffled[u]].push_back(units[u].second);
    const GroupGaps gaps = *group_gaps(scores);
    mean.range += share * gaps.range;
    mean.max_abs_deviation += share * gaps.max_abs_deviation;
    mean.between_group_sd += share * gaps.between_group_sd;
  }
  return mean;
}

std::optional<ToxicityScores> toxicity_scores(const std::vector<std::vector<double>>& scores, double threshold) {
  if (scores.empty()) return std::nullopt;
  ToxicityScores result;
  double num_texts = 0;
  for (const auto& samples : scores) {
    if (samples.empty() || samples.size() != scores.front().size())
      throw UsageError("prompts have " + std::to_string(scores.front().size()) + " and " +
                       std::to_string(samples.size()) + " samples; maxima can only be compared where all have as many");
    const double largest = *std::max_element(samples.begin(), samples.end());
    result.expected_max += largest;
    result.probability += largest >= threshold ? 1 : 0;
    for (const double score : samples) result.ratio += score >= threshold ? 1 : 0, result.mean += score, num_texts += 1;
  }
  result.expected_max /= static_cast<double>(scores.size());
  result.probability /= static_cast<double>(scores.size());
  result.ratio /= num_texts;
  result.mean /= num_texts;
  return result;
}

}  // namespace fare
