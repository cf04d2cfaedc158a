#include "fare/models/attribution.h"

#include <algorithm>
#include <vector>

#include "fare/routing/parallel_rows.h"

namespace fare {

at::Tensor logit_gradients(const at::Tensor& logits_TE, const Route& route, const at::Tensor& dots_TE,
                           const RouterSpec& spec) {
  const int64_t num_rows = logits_TE.size(0), num_experts = logits_TE.size(1), k = route.ids_TK.size(1);
  const at::Tensor scores_TE = router_scores(logits_TE);
  at::Tensor dz_TE = at::zeros_like(logits_TE);
  const float* scores = scores_TE.const_data_ptr<float>();
  const float* dots = dots_TE.const_data_ptr<float>();
  const int32_t* ids = route.ids_TK.const_data_ptr<int32_t>();
  const float* weights = route.weights_TK.const_data_ptr<float>();
  float* dz = dz_TE.mutable_data_ptr<float>();
  const double gamma = spec.scaling_factor;
  const auto divisor = [&](double sum) { return std::max(sum, spec.sum_minimum) + spec.sum_epsilon; };
  parallel_rows(0, num_rows, 64, [&](int64_t begin, int64_t end) {
    std::vector<uint8_t> chosen(static_cast<size_t>(num_experts));
    for (int64_t t = begin; t < end; ++t) {
      const float* p = scores + t * num_experts;
      const float* a = dots + t * num_experts;
      std::fill(chosen.begin(), chosen.end(), 0);
      double along = 0;  // u . y_r
      int64_t last = -1;
      for (int64_t slot = 0; slot < k; ++slot) {
        const int32_t e = ids[t * k + slot];
        if (e < 0) continue;
        if (last < 0 || weights[t * k + slot] < weights[t * k + last]) last = slot;
        if (weights[t * k + slot] == 0) continue;  // only fills up after group-limited selection
        chosen[static_cast<size_t>(e)] = 1;
        along += static_cast<double>(weights[t * k + slot]) * a[e];
      }
      double kept = 0;  // sum of the chosen scores
      for (int64_t slot = 0; slot < k; ++slot)
        if (weights[t * k + slot] != 0) kept += p[ids[t * k + slot]];
      const bool renormalised = spec.weight_mode == WeightMode::kRenormalised;
      if (!renormalised || kept < spec.sum_minimum) {
        // Raw weights, or a sum below the floor, where the divisor is a constant.
        const double factor = renormalised ? gamma / divisor(kept) : gamma;
        for (int64_t e = 0; e < num_experts; ++e)
          dz[t * num_experts + e] =
              static_cast<float>(p[e] * ((chosen[static_cast<size_t>(e)] ? factor * a[e] : 0.0) - along));
        if (!renormalised) continue;
      } else {
        for (int64_t slot = 0; slot < k; ++slot) {
          const int32_t e = ids[t * k + slot];
          if (weights[t * k + slot] != 0)
            dz[t * num_experts + e] = static_cast<float>(weights[t * k + slot] * (a[e] - along / gamma));
        }
      }
      if (last < 0) continue;
      const int32_t leaving = ids[t * k + last];
      for (int64_t e = 0; e < num_experts; ++e) {
        if (chosen[static_cast<size_t>(e)]) continue;
        double sum = p[e], along_after = static_cast<double>(p[e]) * a[e];
        for (int64_t slot = 0; slot < k; ++slot) {
          const int32_t other = ids[t * k + slot];
          if (weights[t * k + slot] == 0 || other == leaving) continue;
          sum += p[other];
          along_after += static_cast<double>(p[other]) * a[other];
        }
        dz[t * num_experts + e] = static_cast<float>(gamma * along_after / divisor(sum) - along);
      }
    }
  });
  return dz_TE;
}

}  // namespace fare
