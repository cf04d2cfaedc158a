#include "fare/diagnosis/reach_search.h"

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "fare/core/error.h"
#include "fare/core/philox.h"

namespace fare {
namespace {

// Adam (Kingma and Ba 2015) with its usual decay rates.
class Adam {
 public:
  Adam(size_t size, double rate) : rate_(rate), moments_(size, {0, 0}) {}
  void step(std::span<const double> gradient, std::span<double> theta) {
    ++count_;
    const double mean_scale = 1 - std::pow(0.9, count_), square_scale = 1 - std::pow(0.999, count_);
    for (size_t i = 0; i < theta.size(); ++i) {
      auto& [mean, square] = moments_[i];
      mean = 0.9 * mean + 0.1 * gradient[i];
      square = 0.999 * square + 0.001 * gradient[i] * gradient[i];
      if (square > 0) theta[i] -= rate_ * (mean / mean_scale) / (std::sqrt(square / square_scale) + 1e-12);
    }
  }

 private:
  double rate_;
  int64_t count_ = 0;
  std::vector<std::pair<double, double>> moments_;  // of the slope and of its square
};

// Weights of the axes and the price of the drop, moved as methods A5.3 says.
class Duals {
 public:
  Duals(const ReachTask& task, const ReachSteps& steps)
      : task_(task), eta_mu_(steps.eta_mu), weights_(task.signs->size(), 1.0) {
    const double groups = static_cast<double>(weights_.size());
    eta_w_ = std::sqrt(std::log(std::max(groups, 2.0)) / static_cast<double>(2 * steps.steps));
    for (double& w : weights_) w /= groups;
  }
  std::span<const double> axis_weights() const { return weights_; }
  double mu() const { return mu_; }
  void move(const ReachBatch& batch, const ReachPass& pass, const BiasTerm& term, bool constrained) {
    double total = 0;
    for (size_t g = 0; g < weights_.size(); ++g) total += weights_[g] *= std::exp(eta_w_ * term.remaining[g]);
    for (double& w : weights_) w /= total;
    if (!constrained || batch.utility.empty()) return;
    double drop = 0;
    for (size_t u = 0; u < batch.utility.size(); ++u) drop += batch.utility[u].base_correct - pass.correct[u];
    mu_ = std::max(0.0, mu_ + eta_mu_ * (drop / static_cast<double>(batch.utility.size()) - task_.tau_drop));
  }

 private:
  const ReachTask& task_;
  double eta_mu_, eta_w_ = 0, mu_ = 0;
  std::vector<double> weights_;
};

// Steps of a half at which a snapshot is kept.
bool keeps(int64_t step, const ReachSteps& steps) {
  const int64_t count = std::min(steps.snapshots, steps.steps);
  return (step + 1) * count / steps.steps != step * count / steps.steps;
}

using Step = std::function<std::vector<double>(const ReachBatch& batch, const std::vector<double>& theta, Duals& duals,
                                               int64_t step, int64_t done, bool constrained)>;

std::vector<std::vector<double>> two_halves(const ReachTask& task, const FreeControl& control,
                                            std::vector<double> theta, const ReachSteps& steps, const Step& step_of) {
  std::vector<std::vector<double>> snapshots;
  Duals duals(task, steps);
  for (const bool constrained : {false, true}) {
    Adam adam(theta.size(), steps.learning_rate);
    for (int64_t step = 0; step < steps.steps; ++step) {
      const int64_t done = step + (constrained ? steps.steps : 0);
      if (task.step) task.step();
      const ReachBatch& batch = (*task.train)[static_cast<size_t>(done) % task.train->size()];
      const std::vector<double> gradient = step_of(batch, theta, duals, step, done, constrained);
      adam.step(gradient, theta);
      control.clamp(theta);
      if (keeps(step, steps)) snapshots.push_back(theta);
    }
  }
  return snapshots;
}

// dM/dh of the objective at a pass's last residual stream.
at::Tensor objective_gradient(const Model& model, const ReachBatch& batch, const at::Tensor& h_TD, const BiasTerm& term,
                              double mu) {
  std::vector<ScoredToken> scored;
  for (size_t p = 0; p < batch.pairs.size(); ++p) {
    if (term.slope[p] == 0) continue;
    for (const Target& target : batch.pairs[p].stereo) scored.push_back({target.row, target.token, term.slope[p]});
    for (const Target& target : batch.pairs[p].anti) scored.push_back({target.row, target.token, -term.slope[p]});
  }
  at::Tensor gradient_TD = scored_gradient(model, h_TD, scored);
  if (mu == 0 || batch.answer_rows.empty()) return gradient_TD;
  const at::AutoGradMode with_grad(true);
  constexpr size_t kBlock = 256;
  for (size_t begin = 0; begin < batch.answer_rows.size(); begin += kBlock) {
    const auto rows = std::span(batch.answer_rows).subspan(begin, std::min(kBlock, batch.answer_rows.size() - begin));
    const at::Tensor index = at::tensor(at::ArrayRef<int32_t>(rows.data(), rows.size()), at::kInt).to(at::kLong);
    const at::Tensor leaf = h_TD.index_select(0, index).requires_grad_(true);
    const at::Tensor base_p = batch.base_log_p_RV.narrow(0, static_cast<int64_t>(begin), index.size(0)).exp();
    const at::Tensor cost =
        -(base_p * model.head(leaf).log_softmax(-1)).sum() * (mu / static_cast<double>(batch.answer_rows.size()));
    gradient_TD.index_add_(0, index, torch::autograd::grad({cost}, {leaf})[0]);
  }
  return gradient_TD;
}

}  // namespace

BiasTerm bias_term(const ReachBatch& batch, std::span<const double> margins, const std::vector<int>& signs,
                   std::span<const double> axis_weights, double tau_nats) {
  BiasTerm term;
  const size_t axes = signs.size();
  std::vector<double> sum(axes, 0), base(axes, 0), count(axes, 0);
  for (size_t p = 0; p < batch.pairs.size(); ++p) {
    const size_t axis = static_cast<size_t>(batch.pairs[p].axis);
    sum[axis] += std::tanh(margins[p] / tau_nats);
    base[axis] += std::tanh(batch.pairs[p].base_margin / tau_nats);
    ++count[axis];
  }
  term.remaining.assign(axes, 1.0);
  for (size_t g = 0; g < axes; ++g) {
    const double own = signs[g] * sum[g], before = signs[g] * base[g];
    if (count[g] > 0) term.value += axis_weights[g] * std::max(0.0, own / count[g]);
    if (before > 0) term.remaining[g] = std::clamp(std::abs(own / before), 0.0, 2.0);
  }
  for (size_t p = 0; p < batch.pairs.size(); ++p) {
    const size_t g = static_cast<size_t>(batch.pairs[p].axis);
    const double t = std::tanh(margins[p] / tau_nats);
    term.slope.push_back(signs[g] * sum[g] > 0 ? axis_weights[g] * signs[g] * (1 - t * t) / tau_nats / count[g] : 0.0);
  }
  return term;
}

std::vector<std::vector<double>> descend_by_gradient(const ReachTask& task, const FreeControl& control,
                                                     std::vector<double> theta, const ReachSteps& steps) {
  const ReachBatches& batches = *task.batches;
  const Model& model = batches.model();
  return two_halves(
      task, control, std::move(theta), steps,
      [&](const ReachBatch& batch, const std::vector<double>& now, Duals& duals, int64_t step, int64_t,
          bool constrained) {
        const Intervention intervention = control.intervention(now, true);
        const LayerEdits edits = batches.edits_of(batch, intervention);
        const double share = steps.steps > 1 ? static_cast<double>(step) / static_cast<double>(steps.steps - 1) : 1;
        const double temperature =
            steps.temperature_from * std::pow(steps.temperature_to / steps.temperature_from, share);
        std::vector<double> gradient(now.size(), 0.0);
        GradientOptions how;
        how.edits = &edits;
        how.every_expert = true;
        how.lowest_layer = edits.begin()->first;
        const HeadGradient head = [&](const at::Tensor& h_TD) {
          const ReachPass pass = batches.read(batch, h_TD);
          const BiasTerm term = bias_term(batch, pass.margins, *task.signs, duals.axis_weights(), task.tau_nats);
          const at::Tensor slope_TD = objective_gradient(model, batch, h_TD, term, constrained ? duals.mu() : 0);
          duals.move(batch, pass, term, constrained);
          return slope_TD;
        };
        router_gradients(model, batch.packed.pack, head, how, [&](const LayerGradient& layer) {
          const auto found = edits.find(layer.layer);
          if (found == edits.end()) return;
          const at::Tensor dz_TE =
              dense_logit_gradients(layer.logits_TE, layer.dots_TE, layer.route.weights_TK.sum(1), temperature);
          control.add_gradient(now, layer, dz_TE, found->second.front(), gradient);
        });
        batches.count_rows(3 * batch.packed.pack.num_rows() * model.spec().num_layers);
        return gradient;
      });
}

std::vector<std::vector<double>> descend_by_perturbation(const ReachTask& task, const FreeControl& control,
                                                         std::vector<double> theta, const ReachSteps& steps,
                                                         uint64_t seed) {
  const ReachBatches& batches = *task.batches;
  return two_halves(task, control, std::move(theta), steps,
                    [&](const ReachBatch& batch, const std::vector<double>& now, Duals& duals, int64_t, int64_t done,
                        bool constrained) {
                      const RandomStream stream(seed, "reach/spsa", static_cast<uint32_t>(done));
                      std::vector<double> side(now.size());
                      for (size_t i = 0; i < side.size(); ++i) side[i] = stream.bit(i) ? 1 : -1;
                      const double mu = constrained ? duals.mu() : 0;
                      double values[2] = {0, 0};
                      for (const int direction : {0, 1}) {
                        std::vector<double> there = now;
                        for (size_t i = 0; i < there.size(); ++i)
                          there[i] += (direction == 0 ? 1 : -1) * steps.perturbation * side[i];
                        control.clamp(there);
                        const ReachPass pass = batches.run(batch, control.intervention(there));
                        const BiasTerm term =
                            bias_term(batch, pass.margins, *task.signs, duals.axis_weights(), task.tau_nats);
                        values[direction] = term.value + mu * pass.kl_nats;
                        if (direction == 1) duals.move(batch, pass, term, constrained);
                      }
                      // d theta_i is +-perturbation, so dividing by it is multiplying by its sign.
                      std::vector<double> gradient(now.size());
                      for (size_t i = 0; i < side.size(); ++i)
                        gradient[i] = (values[0] - values[1]) / (2 * steps.perturbation) * side[i];
                      return gradient;
                    });
}

}  // namespace fare
