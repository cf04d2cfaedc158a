// Neutral text in one pack, without edits: experts' outputs on it, and how far another pass moves the model's
// predictions.
#pragma once

#include <map>

#include "fare/diagnosis/mask_groups.h"
#include "fare/diagnosis/measure.h"
#include "fare/diagnosis/replay_pass.h"
#include "fare/diagnosis/text_pack.h"

namespace fare {

class NeutralText {
 public:
  // The first `max_tokens` fed tokens (whole texts). Throws NumericError when the study has none.
  NeutralText(const Measurer& measurer, int64_t max_tokens);

  const Pack& pack() const { return text_.packed.pack; }
  // Outputs of experts on every row, at the base run's inputs: [N, D] float32. With `mean` averaged to one row; else
  // at most 256 rows, evenly spaced.
  StandIns stand_ins(std::span<const RoutedExpert> experts, bool mean, uint64_t seed) const;
  // Mean over scored tokens of KL(p || q), nats; h of two passes of this pack.
  double kl_nats(const at::Tensor& p_TD, const at::Tensor& q_TD) const;
  at::Tensor base_TD() const { return base_TD_; }

 private:
  const Model& model_;
  TextPack text_;
  at::Tensor base_TD_;
  std::map<int64_t, at::Tensor> router_input_TD_;
};

}  // namespace fare
