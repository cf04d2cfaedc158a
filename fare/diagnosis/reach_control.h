// Families of routing edits with free numbers (methods I6, I7), their gradients, and what is left of them once small
// numbers are set to zero.
// Shapes: T rows, D width of the router's input, E experts, J ranks.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fare/models/forward.h"
#include "fare/routing/intervention.h"

namespace fare {

// dM/dz of a routed output whose weights are s softmax(z / temperature) over all experts, s the sum of the weights that
// ran: s p_e (u.E_e - sum_j p_j u.E_j) / temperature. A dense stand-in for the hard choice (methods A6 a); at
// temperature 1 with every expert chosen it is the derivative itself. logits_TE, dots_TE: float32 [T, E]; weight_sum_T:
// [T].
at::Tensor dense_logit_gradients(const at::Tensor& logits_TE, const at::Tensor& dots_TE, const at::Tensor& weight_sum_T,
                                 double temperature);

// One layer's constants: what a number of the family is measured in.
struct ControlLayer {
  int64_t layer = 0;
  double sigma = 1;                 // SD of the router logits
  at::Tensor mean_D, inverse_sd_D;  // of the router's input, float32; read by LowRankControl only
};

class FreeControl {
 public:
  virtual ~FreeControl() = default;
  virtual int64_t size() const = 0;
  // Experts touched by these numbers (for LowRankControl: experts with an output above half a sigma).
  virtual int64_t breadth(std::span<const double> theta) const = 0;
  // The edits with these numbers. Zeros are left out, but for `keep_zeros`: then every layer has its edit.
  virtual Intervention intervention(std::span<const double> theta, bool keep_zeros = false) const = 0;
  // As it is carried on: numbers of at most half a sigma are 0.
  virtual std::vector<double> pruned(std::span<const double> theta) const = 0;
  // Adds dM/dtheta of one layer of a pass under intervention(theta). `edit`: this family's edit at the layer, scoped.
  virtual void add_gradient(std::span<const double> theta, const LayerGradient& layer, const at::Tensor& dz_TE,
                            const ScopedEdit& edit, std::span<double> gradient) const = 0;
  // Back into the allowed region (|b| <= 4 sigma).
  virtual void clamp(std::span<double> theta) const;
};

// b of every expert of every layer, in sigmas (I6); with `where` on some tokens only (I7a), with `gates` times a
// detector of the router's input (I7b). theta: layers, then experts.
class BiasControl : public FreeControl {
 public:
  BiasControl(std::vector<ControlLayer> layers, int64_t num_experts, Selector where = {},
              std::map<int64_t, InputGate> gates = {})
      : layers_(std::move(layers)), num_experts_(num_experts), where_(std::move(where)), gates_(std::move(gates)) {}

  int64_t size() const override { return static_cast<int64_t>(layers_.size()) * num_experts_; }
  int64_t breadth(std::span<const double> theta) const override;
  Intervention intervention(std::span<const double> theta, bool keep_zeros = false) const override;
  std::vector<double> pruned(std::span<const double> theta) const override;
  void add_gradient(std::span<const double> theta, const LayerGradient& layer, const at::Tensor& dz_TE,
                    const ScopedEdit& edit, std::span<double> gradient) const override;
  int64_t place(int64_t layer, int64_t expert) const;  // in theta

 private:
  std::vector<ControlLayer> layers_;
  int64_t num_experts_;
  Selector where_;
  std::map<int64_t, InputGate> gates_;
};

// W_r' = W_r + A C^T of rank J in every layer (I7c). theta of a layer: A [J, E] in sigmas, then C [J, D] for the input
// with mean and standard deviation of each coordinate taken off.
class LowRankControl : public FreeControl {
 public:
  LowRankControl(std::vector<ControlLayer> layers, int64_t num_experts, int64_t width, int64_t rank)
      : layers_(std::move(layers)), num_experts_(num_experts), width_(width), rank_(rank) {}

  int64_t size() const override { return static_cast<int64_t>(layers_.size()) * per_layer(); }
  int64_t breadth(std::span<const double> theta) const override;
  Intervention intervention(std::span<const double> theta, bool keep_zeros = false) const override;
  std::vector<double> pruned(std::span<const double> theta) const override;
  void add_gradient(std::span<const double> theta, const LayerGradient& layer, const at::Tensor& dz_TE,
                    const ScopedEdit& edit, std::span<double> gradient) const override;
  void clamp(std::span<double> theta) const override;
  // A = 0 and the directions C along which the first-order effect is largest: of `slope_DE` [layer] = sum over rows of
  // x dz^T, on the standardised input.
  std::vector<double> start(const std::map<int64_t, at::Tensor>& slope_DE) const;
  at::Tensor standardised(int64_t layer, const at::Tensor& x_TD) const;

 private:
  int64_t per_layer() const { return rank_ * (num_experts_ + width_); }
  std::vector<ControlLayer> layers_;
  int64_t num_experts_, width_, rank_;
};

// A random direction like `intervention`: the same layers, places and sizes on other experts, with random signs, times
// `strength`. `restricted`: on experts that it leaves alone, where there are any. None when no expert is left.
std::optional<Intervention> random_like(const Intervention& intervention, const RoutedModel& model, bool restricted,
                                        uint64_t seed, int64_t draw, double strength);

}  // namespace fare
