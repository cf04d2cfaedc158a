#include "fare/diagnosis/reach_control.h"

#include <algorithm>
#include <cmath>

#include "fare/core/error.h"
#include "fare/core/philox.h"
#include "fare/routing/driven_edit.h"

namespace fare {
namespace {

constexpr double kLargestSigmas = 4, kSmallSigmas = 0.5;

size_t index_of(const std::vector<ControlLayer>& layers, int64_t layer) {
  for (size_t i = 0; i < layers.size(); ++i)
    if (layers[i].layer == layer) return i;
  FARE_CHECK(false, "a layer that the control does not touch");
  return 0;
}

// 1 in scope, times the gate where there is one: float32 [T, 1]; undefined = 1 everywhere.
at::Tensor row_factor(const ScopedEdit& edit, const at::Tensor& x_TD) {
  at::Tensor factor;
  if (!edit.scope_T.empty()) {
    factor = at::empty({static_cast<int64_t>(edit.scope_T.size()), 1}, at::kFloat);
    std::copy(edit.scope_T.begin(), edit.scope_T.end(), factor.mutable_data_ptr<float>());
  }
  std::vector<ScopedEdit> storage;
  if (const auto* add = std::get_if<AddLogit>(&edit.edit->op); add != nullptr && add->gate) {
    const at::Tensor gate = with_drive({&edit, 1}, x_TD, storage).front().drive.unsqueeze(1);
    factor = factor.defined() ? factor * gate : gate;
  }
  return factor;
}

at::Tensor matrix(std::span<const double> values, int64_t rows, int64_t columns) {
  at::Tensor result = at::empty({rows, columns}, at::kFloat);
  std::transform(values.begin(), values.begin() + rows * columns, result.mutable_data_ptr<float>(),
                 [](double v) { return static_cast<float>(v); });
  return result;
}

std::vector<double> numbers(const at::Tensor& values_N) {
  const at::Tensor flat = values_N.to(at::kFloat).contiguous();
  const float* data = flat.const_data_ptr<float>();
  return {data, data + flat.numel()};
}

void add_to(std::span<double> target, const at::Tensor& values) {
  const std::vector<double> from = numbers(values);
  for (size_t i = 0; i < from.size(); ++i) target[i] += from[i];
}

}  // namespace

at::Tensor dense_logit_gradients(const at::Tensor& logits_TE, const at::Tensor& dots_TE, const at::Tensor& weight_sum_T,
                                 double temperature) {
  const at::NoGradGuard no_grad;
  const at::Tensor p_TE = (logits_TE / temperature).softmax(-1);
  return weight_sum_T.unsqueeze(1) * p_TE * (dots_TE - (p_TE * dots_TE).sum(-1, true)) / temperature;
}

void FreeControl::clamp(std::span<double> theta) const {
  for (double& value : theta) value = std::clamp(value, -kLargestSigmas, kLargestSigmas);
}

int64_t BiasControl::place(int64_t layer, int64_t expert) const {
  return static_cast<int64_t>(index_of(layers_, layer)) * num_experts_ + expert;
}

int64_t BiasControl::breadth(std::span<const double> theta) const {
  return std::count_if(theta.begin(), theta.end(), [](double b) { return std::abs(b) > kSmallSigmas; });
}

Intervention BiasControl::intervention(std::span<const double> theta, bool keep_zeros) const {
  Intervention result;
  for (size_t l = 0; l < layers_.size(); ++l) {
    AddLogit add;
    add.keep_sum = true;
    if (const auto gate = gates_.find(layers_[l].layer); gate != gates_.end()) add.gate = gate->second;
    for (int64_t e = 0; e < num_experts_; ++e) {
      const double b = theta[l * static_cast<size_t>(num_experts_) + static_cast<size_t>(e)];
      if (b == 0 && !keep_zeros) continue;
      add.experts.push_back(static_cast<int32_t>(e));
      add.values.push_back(b * layers_[l].sigma);
    }
    if (!add.experts.empty()) result.edits.push_back({std::move(add), {layers_[l].layer}, where_});
  }
  return result;
}

std::vector<double> BiasControl::pruned(std::span<const double> theta) const {
  std::vector<double> kept(theta.begin(), theta.end());
  for (double& b : kept)
    if (std::abs(b) <= kSmallSigmas) b = 0;
  return kept;
}

void BiasControl::add_gradient(std::span<const double>, const LayerGradient& layer, const at::Tensor& dz_TE,
                               const ScopedEdit& edit, std::span<double> gradient) const {
  const size_t l = index_of(layers_, layer.layer);
  const at::Tensor factor = row_factor(edit, layer.router_input_TD);
  const at::Tensor slope_E = (factor.defined() ? dz_TE * factor : dz_TE).sum(0) * layers_[l].sigma;
  add_to(gradient.subspan(l * static_cast<size_t>(num_experts_), static_cast<size_t>(num_experts_)), slope_E);
}

at::Tensor LowRankControl::standardised(int64_t layer, const at::Tensor& x_TD) const {
  const ControlLayer& own = layers_[index_of(layers_, layer)];
  return (x_TD.to(at::kFloat) - own.mean_D) * own.inverse_sd_D;
}

int64_t LowRankControl::breadth(std::span<const double> theta) const {
  int64_t count = 0;
  for (size_t l = 0; l < layers_.size(); ++l)
    for (int64_t e = 0; e < num_experts_; ++e) {
      double largest = 0;
      for (int64_t j = 0; j < rank_; ++j)
        largest = std::max(
            largest, std::abs(theta[l * static_cast<size_t>(per_layer()) + static_cast<size_t>(j * num_experts_ + e)]));
      count += largest > kSmallSigmas;
    }
  return count;
}

Intervention LowRankControl::intervention(std::span<const double> theta, bool keep_zeros) const {
  Intervention result;
  for (size_t l = 0; l < layers_.size(); ++l) {
    const auto own = theta.subspan(l * static_cast<size_t>(per_layer()), static_cast<size_t>(per_layer()));
    const auto along = own.subspan(static_cast<size_t>(rank_ * num_experts_));
    RouterDelta delta;
    delta.keep_sum = true;
    const at::Tensor inputs_JD = matrix(along, rank_, width_) * layers_[l].inverse_sd_D;
    const std::vector<double> offsets = numbers(-at::mv(inputs_JD, layers_[l].mean_D));
    for (int64_t j = 0; j < rank_; ++j) {
      delta.inputs.push_back(numbers(inputs_JD[j]));
      delta.offsets.push_back(offsets[static_cast<size_t>(j)]);
      std::vector<double> outputs;
      for (int64_t e = 0; e < num_experts_; ++e)
        outputs.push_back(own[static_cast<size_t>(j * num_experts_ + e)] * layers_[l].sigma);
      delta.outputs.push_back(std::move(outputs));
    }
    Edit edit{std::move(delta), {layers_[l].layer}, {}};
    if (keep_zeros || !edit.is_identity()) result.edits.push_back(std::move(edit));
  }
  return result;
}

std::vector<double> LowRankControl::pruned(std::span<const double> theta) const { return {theta.begin(), theta.end()}; }

void LowRankControl::add_gradient(std::span<const double> theta, const LayerGradient& layer, const at::Tensor& dz_TE,
                                  const ScopedEdit&, std::span<double> gradient) const {
  const size_t l = index_of(layers_, layer.layer);
  const size_t first = l * static_cast<size_t>(per_layer()), outputs = static_cast<size_t>(rank_ * num_experts_);
  const at::Tensor a_JE = matrix(theta.subspan(first), rank_, num_experts_) * layers_[l].sigma;
  const at::Tensor c_JD = matrix(theta.subspan(first + outputs), rank_, width_);
  const at::Tensor x_TD = standardised(layer.layer, layer.router_input_TD);
  add_to(gradient.subspan(first, outputs), at::mm(at::mm(c_JD, x_TD.t()), dz_TE) * layers_[l].sigma);
  add_to(gradient.subspan(first + outputs, static_cast<size_t>(rank_ * width_)), at::mm(at::mm(a_JE, dz_TE.t()), x_TD));
}

void LowRankControl::clamp(std::span<double> theta) const {
  // Only the outputs are bounded: the directions have no unit of their own.
  for (size_t l = 0; l < layers_.size(); ++l)
    FreeControl::clamp(theta.subspan(l * static_cast<size_t>(per_layer()), static_cast<size_t>(rank_ * num_experts_)));
}

std::vector<double> LowRankControl::start(const std::map<int64_t, at::Tensor>& slope_DE) const {
  std::vector<double> theta(static_cast<size_t>(size()), 0.0);
  for (size_t l = 0; l < layers_.size(); ++l) {
    // Left singular vectors of the slope: unit directions of the standardised input. A matrix without slope has none.
    const auto [u_DK, s_K, v_KE] = at::linalg_svd(slope_DE.at(layers_[l].layer), false);
    const std::vector<double> along = numbers(u_DK.narrow(1, 0, std::min<int64_t>(rank_, u_DK.size(1))).t());
    std::copy(along.begin(), along.end(), theta.begin() + static_cast<int64_t>(l) * per_layer() + rank_ * num_experts_);
  }
  return theta;
}

std::optional<Intervention> random_like(const Intervention& intervention, const RoutedModel& model, bool restricted,
                                        uint64_t seed, int64_t draw, double strength) {
  Intervention result = intervention;
  bool any = false;
  for (size_t i = 0; i < result.edits.size(); ++i) {
    const RandomStream order(seed, restricted ? "reach/outside" : "reach/anywhere", static_cast<uint32_t>(draw),
                             static_cast<uint32_t>(2 * i));
    const RandomStream side(seed, restricted ? "reach/outside" : "reach/anywhere", static_cast<uint32_t>(draw),
                            static_cast<uint32_t>(2 * i + 1));
    std::vector<int32_t> experts(static_cast<size_t>(model.router.num_experts));
    for (size_t e = 0; e < experts.size(); ++e) experts[e] = static_cast<int32_t>(e);
    std::sort(experts.begin(), experts.end(), [&](int32_t a, int32_t b) {
      return std::pair(order.u64(static_cast<uint64_t>(a)), a) < std::pair(order.u64(static_cast<uint64_t>(b)), b);
    });
    if (auto* add = std::get_if<AddLogit>(&result.edits[i].op)) {
      if (restricted)
        std::erase_if(experts, [&](int32_t e) {
          return std::find(add->experts.begin(), add->experts.end(), e) != add->experts.end();
        });
      experts.resize(std::min(experts.size(), add->values.size()));
      std::vector<double> values;
      for (size_t e = 0; e < experts.size(); ++e)
        values.push_back(std::abs(add->values[e]) * strength * (side.bit(e) ? 1 : -1));
      add->experts = experts;
      add->values = values;
      any = any || !experts.empty();
    } else if (auto* delta = std::get_if<RouterDelta>(&result.edits[i].op)) {
      // Every expert has its part: the directions go to others, each with a side of its own.
      for (std::vector<double>& outputs : delta->outputs) {
        const std::vector<double> own = outputs;
        for (size_t e = 0; e < own.size(); ++e)
          outputs[static_cast<size_t>(experts[e])] = own[e] * strength * (side.bit(e) ? 1 : -1);
      }
      any = true;
    }
  }
  if (!any) return std::nullopt;
  return result;
}

}  // namespace fare
