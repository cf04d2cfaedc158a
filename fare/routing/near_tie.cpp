#include "fare/routing/near_tie.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "fare/routing/route.h"

namespace fare {
namespace {

// Gap between the last value kept and the first left out. Values are reordered.
double boundary_gap(std::vector<float>& values, int64_t kept) {
  if (kept <= 0 || kept >= static_cast<int64_t>(values.size())) return std::numeric_limits<double>::infinity();
  std::nth_element(values.begin(), values.begin() + kept, values.end(), std::greater<>());
  const double below = values[static_cast<size_t>(kept)];
  return *std::min_element(values.begin(), values.begin() + kept) - below;
}

double row_gap(std::vector<float>& select, const RouterSpec& router) {
  for (size_t e = 0; e < router.selection_bias.size(); ++e) select[e] += router.selection_bias[e];
  double gap = std::numeric_limits<double>::infinity();
  if (router.num_groups > 0) {
    const size_t size = select.size() / static_cast<size_t>(router.num_groups);
    std::vector<float> best;
    for (size_t g = 0; g < static_cast<size_t>(router.num_groups); ++g)
      best.push_back(*std::max_element(select.begin() + static_cast<int64_t>(g * size),
                                       select.begin() + static_cast<int64_t>((g + 1) * size)));
    std::vector<float> sorted = best;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    const float least = sorted[static_cast<size_t>(router.top_groups) - 1];
    gap = boundary_gap(sorted, router.top_groups);
    for (size_t e = 0; e < select.size(); ++e)
      if (best[e / size] < least) select[e] = 0;
  }
  return std::min(gap, boundary_gap(select, router.top_k));
}

}  // namespace

std::vector<double> selection_gaps(const at::Tensor& logits_TE, const RouterSpec& router) {
  const at::Tensor deciding_TE =
      (router.select_by_logit ? logits_TE.to(at::kFloat) : router_scores(logits_TE)).contiguous();
  const float* deciding = deciding_TE.const_data_ptr<float>();
  const int64_t num_experts = deciding_TE.size(1);
  std::vector<double> gaps;
  std::vector<float> row;
  for (int64_t t = 0; t < deciding_TE.size(0); ++t) {
    row.assign(deciding + t * num_experts, deciding + (t + 1) * num_experts);
    gaps.push_back(row_gap(row, router));
  }
  return gaps;
}

}  // namespace fare
