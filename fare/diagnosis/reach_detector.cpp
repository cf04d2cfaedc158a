#include "fare/diagnosis/reach_detector.h"

#include <algorithm>
#include <cmath>

#include "fare/scoring/scope.h"
#include "fare/stats/ranks.h"

namespace fare {
namespace {

constexpr int kSteps = 200;
constexpr double kRate = 0.1, kRidge = 1e-3;

std::vector<double> numbers(const at::Tensor& values) {
  const at::Tensor flat = values.to(at::kFloat).contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

}  // namespace

LabelledInputs labelled_inputs(const ReachBatches& batches, const ReachBatch& batch, const Selector& where) {
  LabelledInputs inputs;
  ForwardOptions options;
  options.tap = [&](Site site, int64_t layer, const at::Tensor& value) {
    if (site == Site::kRouterInput) inputs.x_TD[layer] = value.to(at::kFloat);
  };
  forward(batches.model(), batch.packed.pack, options);
  batches.count_rows(batch.packed.pack.num_rows() * batches.model().spec().num_layers);
  Intervention marker;
  marker.edits.push_back({Temperature{}, {}, where});
  const LayerEdits edits = batches.edits_of(batch, marker);
  inputs.inside_T = edits.begin()->second.front().scope_T;
  return inputs;
}

std::vector<ControlLayer> control_layers(const LabelledInputs& inputs, const std::map<int64_t, double>& sigma) {
  std::vector<ControlLayer> layers;
  for (const auto& [layer, x_TD] : inputs.x_TD) {
    ControlLayer own;
    own.layer = layer;
    own.sigma = sigma.at(layer);
    own.mean_D = x_TD.mean(0);
    const at::Tensor sd_D = x_TD.std(0, false);
    own.inverse_sd_D = at::where(sd_D > 1e-6 * sd_D.max(), 1 / sd_D, at::zeros_like(sd_D));
    layers.push_back(std::move(own));
  }
  return layers;
}

std::optional<double> area_under_curve(std::span<const double> scores, std::span<const uint8_t> positive) {
  const std::vector<double> ranks = stats::average_ranks(scores);
  double sum = 0, count = 0;
  for (size_t i = 0; i < ranks.size(); ++i)
    if (positive[i]) sum += ranks[i], ++count;
  const double others = static_cast<double>(ranks.size()) - count;
  if (count == 0 || others == 0) return std::nullopt;
  return (sum - count * (count + 1) / 2) / (count * others);
}

std::vector<Detector> fit_detectors(const std::vector<ControlLayer>& layers, const LabelledInputs& fit,
                                    const LabelledInputs& held_out) {
  const at::NoGradGuard no_grad;
  const auto inside = std::count(fit.inside_T.begin(), fit.inside_T.end(), uint8_t{1});
  const auto outside = static_cast<int64_t>(fit.inside_T.size()) - inside;
  std::vector<Detector> detectors;
  if (inside == 0 || outside == 0) return detectors;
  // Both kinds weigh the same.
  at::Tensor label_T = at::empty({inside + outside}, at::kFloat), weight_T = at::empty_like(label_T);
  for (size_t t = 0; t < fit.inside_T.size(); ++t) {
    label_T.mutable_data_ptr<float>()[t] = fit.inside_T[t];
    weight_T.mutable_data_ptr<float>()[t] = 0.5f / static_cast<float>(fit.inside_T[t] ? inside : outside);
  }
  for (const ControlLayer& layer : layers) {
    const at::Tensor x_TD = (fit.x_TD.at(layer.layer) - layer.mean_D) * layer.inverse_sd_D;
    const at::Tensor wide = at::cat({x_TD, at::ones({x_TD.size(0), 1})}, 1);
    at::Tensor v = at::zeros({wide.size(1)}), mean = at::zeros_like(v), square = at::zeros_like(v);
    for (int step = 1; step <= kSteps; ++step) {
      const at::Tensor slope = at::mv(wide.t(), weight_T * (at::mv(wide, v).sigmoid() - label_T)) + kRidge * v;
      mean = 0.9 * mean + 0.1 * slope;
      square = 0.999 * square + 0.001 * slope * slope;
      v = v - kRate * (mean / (1 - std::pow(0.9, step))) / ((square / (1 - std::pow(0.999, step))).sqrt() + 1e-12);
    }
    Detector detector;
    detector.layer = layer.layer;
    const at::Tensor along_D = v.narrow(0, 0, x_TD.size(1)) * layer.inverse_sd_D;
    detector.gate.vector = numbers(along_D);
    detector.gate.offset = (v[-1] - at::dot(along_D, layer.mean_D)).item<double>();
    detector.auc = area_under_curve(numbers(at::mv(held_out.x_TD.at(layer.layer), along_D)), held_out.inside_T);
    detectors.push_back(std::move(detector));
  }
  return detectors;
}

}  // namespace fare
