// Helpers of the routing tests.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "fare/routing/route.h"

namespace fare::testing {

inline RouterSpec spec_of(int64_t num_experts, int64_t top_k, WeightMode mode) {
  RouterSpec spec;
  spec.num_experts = num_experts;
  spec.top_k = top_k;
  spec.weight_mode = mode;
  return spec;
}

// Logits of one row per inner list, given as odds: softmax(log odds) is the odds over their sum.
inline at::Tensor logits_of_odds(const std::vector<std::vector<double>>& odds_TE) {
  at::Tensor logits = at::empty({static_cast<int64_t>(odds_TE.size()), static_cast<int64_t>(odds_TE[0].size())});
  for (size_t t = 0; t < odds_TE.size(); ++t)
    for (size_t e = 0; e < odds_TE[t].size(); ++e)
      logits.mutable_data_ptr<float>()[t * odds_TE[t].size() + e] = static_cast<float>(std::log(odds_TE[t][e]));
  return logits;
}

inline Edit edit_of(EditOp op) { return Edit{std::move(op), {}, {}}; }

// Edits of every row, in file order.
inline std::vector<ScopedEdit> scoped(const std::vector<Edit>& edits) {
  std::vector<ScopedEdit> all;
  for (const Edit& edit : edits) all.push_back(ScopedEdit{&edit, {}, {}});
  return all;
}

struct Slot {
  int32_t expert;
  double weight;
};

// The present slots of a row, in order; `note` names the case in failures.
inline void expect_row(const Route& route, int64_t row, const std::vector<Slot>& expected, const std::string& note = "",
                       double tolerance = 1e-6) {
  const int64_t num_slots = route.ids_TK.size(1);
  ASSERT_GE(num_slots, static_cast<int64_t>(expected.size())) << note;
  const int32_t* ids_K = route.ids_TK.const_data_ptr<int32_t>() + row * num_slots;
  const float* weights_K = route.weights_TK.const_data_ptr<float>() + row * num_slots;
  for (int64_t i = 0; i < num_slots; ++i) {
    const bool present = i < static_cast<int64_t>(expected.size());
    EXPECT_EQ(ids_K[i], present ? expected[i].expert : -1) << note << ": slot " << i;
    EXPECT_NEAR(weights_K[i], present ? expected[i].weight : 0, present ? tolerance : 0) << note << ": slot " << i;
  }
}

inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() &&
         (a.numel() == 0 || std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0);
}
inline bool same_bits(const Route& a, const Route& b) {
  return same_bits(a.ids_TK, b.ids_TK) && same_bits(a.weights_TK, b.weights_TK);
}

inline constexpr WeightMode kModes[] = {WeightMode::kRaw, WeightMode::kRenormalised};
inline std::string name_of(WeightMode mode) { return mode == WeightMode::kRaw ? "mode U" : "mode R"; }

}  // namespace fare::testing
