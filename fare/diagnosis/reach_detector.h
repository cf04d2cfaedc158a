// A linear detector of demographic content in a router's input (methods I7b): logistic regression on the standardised
// input, from rows at or shortly after a demographic token against all others.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fare/diagnosis/reach_batch.h"
#include "fare/diagnosis/reach_control.h"

namespace fare {

// Router inputs of a batch's rows by MoE layer, and which rows `where` takes.
struct LabelledInputs {
  std::map<int64_t, at::Tensor> x_TD;  // float32
  std::vector<uint8_t> inside_T;
};
LabelledInputs labelled_inputs(const ReachBatches& batches, const ReachBatch& batch, const Selector& where);

// Mean and inverse standard deviation of each coordinate (0 where it is constant), and sigma from `sigma`.
std::vector<ControlLayer> control_layers(const LabelledInputs& inputs, const std::map<int64_t, double>& sigma);

struct Detector {
  int64_t layer = 0;
  InputGate gate;
  std::optional<double> auc;  // on the rows of `held_out`; none when they are all of one kind
};
// One per layer; empty when the rows to fit on are all of one kind.
std::vector<Detector> fit_detectors(const std::vector<ControlLayer>& layers, const LabelledInputs& fit,
                                    const LabelledInputs& held_out);

// Share of (positive, negative) pairs that the scores order right, ties half (Mann-Whitney). None without both kinds.
std::optional<double> area_under_curve(std::span<const double> scores, std::span<const uint8_t> positive);

}  // namespace fare
