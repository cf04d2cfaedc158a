#include "fare/lab/exact_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "fare/core/error.h"
#include "fare/lab/geometry.h"

namespace fare {
namespace {

constexpr double kNormEpsilon = 1e-5;

// y_r = sum_c matrix[r, c] x_c, skipping columns where x is 0.
std::vector<double> multiply(const std::vector<float>& matrix, int64_t num_rows, std::span<const double> x) {
  std::vector<double> y(static_cast<size_t>(num_rows), 0.0);
  std::vector<size_t> used;
  for (size_t c = 0; c < x.size(); ++c)
    if (x[c] != 0) used.push_back(c);
  for (size_t r = 0; r < y.size(); ++r) {
    const float* row = matrix.data() + r * x.size();
    double sum = 0;
    for (const size_t c : used) sum += double{row[c]} * x[c];
    y[r] = sum;
  }
  return y;
}

double silu(double x) { return x < -100 ? 0 : x / (1 + std::exp(-x)); }

ExactRoute choose(std::vector<double> logits, const ModelShape& shape) {
  ExactRoute route;
  std::vector<int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  const double top = logits[static_cast<size_t>(order[0])];
  double all = 0, kept = 0;
  for (const double z : logits) all += std::exp(z - top);
  for (int64_t k = 0; k < shape.top_k; ++k)
    kept += std::exp(logits[static_cast<size_t>(order[static_cast<size_t>(k)])] - top);
  for (int64_t k = 0; k < shape.top_k; ++k) {
    const int64_t e = order[static_cast<size_t>(k)];
    route.ids_K.push_back(e);
    route.weights_K.push_back(std::exp(logits[static_cast<size_t>(e)] - top) / (shape.renormalise ? kept : all));
    route.weight_sum += route.weights_K.back();
  }
  route.logits_E = std::move(logits);
  return route;
}

ExactRoute choose_masked(const std::vector<double>& logits, const ExpertMask& mask, const ModelShape& shape) {
  std::vector<double> left = logits;
  for (const int64_t e : mask.experts) left[static_cast<size_t>(e)] = -std::numeric_limits<double>::infinity();
  ExactRoute route = choose(left, shape);
  if (mask.keep_sum) {
    const double factor = choose(logits, shape).weight_sum / route.weight_sum;
    for (double& weight : route.weights_K) weight *= factor;
  }
  route.logits_E = logits;
  return route;
}

}  // namespace

ExactModel::ExactModel(const ControlWeights& weights) : weights_(weights) {}

ExactResult ExactModel::at_last(std::span<const int64_t> ids, const ExpertMask& mask) const {
  FARE_CHECK(!ids.empty(), "no tokens");
  const ModelShape& shape = weights_.shape;
  const auto hidden = static_cast<size_t>(shape.hidden);
  std::vector<ExactRoute> replayed;
  if (mask.replay_later) replayed = at_last(ids).routes;
  ExactResult result;
  const auto normed = [&](std::span<const double> h, bool record) {
    double squares = 0;
    for (const double v : h) squares += v * v;
    if (record) result.norm_error = std::max(result.norm_error, (squares - h[0] * h[0]) / (2 * h[0] * h[0]));
    const double factor = double{weights_.norm} / std::sqrt(squares / static_cast<double>(hidden) + kNormEpsilon);
    std::vector<double> x(h.begin(), h.end());
    for (double& v : x) v *= factor;
    return x;
  };
  const auto embedding = [&](int64_t id) {
    const float* row = weights_.embedding_VH.data() + static_cast<size_t>(id) * hidden;
    return std::vector<double>(row, row + hidden);
  };

  std::vector<double> mean(hidden, 0.0);
  for (const int64_t id : ids) {
    const std::vector<double> x = normed(embedding(id), true);
    for (size_t c = 0; c < hidden; ++c) mean[c] += x[c] / static_cast<double>(ids.size());
  }
  std::vector<double> h = embedding(ids.back());
  for (int64_t l = 0; l < shape.layers; ++l) {
    const LayerWeights& layer = weights_.layers[static_cast<size_t>(l)];
    if (l == 0) {
      const std::vector<double> out =
          multiply(layer.out_HH, shape.hidden, multiply(layer.value_HH, shape.hidden, mean));
      for (size_t c = 0; c < hidden; ++c) h[c] += out[c];
    }
    const std::vector<double> x = normed(h, true);
    const bool masked = std::ranges::count(mask.layers, l) > 0;
    const std::vector<double> logits = multiply(layer.router_EH, shape.experts, x);
    ExactRoute route = masked                                        ? choose_masked(logits, mask, shape)
                       : replayed.empty() || l < mask.layers.front() ? choose(logits, shape)
                                                                     : replayed[static_cast<size_t>(l)];
    const auto add_output = [&](const ControlExpertWeights& expert, int64_t width, double weight) {
      const std::vector<double> gate = multiply(expert.gate_IH, width, x);
      const std::vector<double> up = multiply(expert.up_IH, width, x);
      std::vector<double> inner(gate.size());
      for (size_t i = 0; i < gate.size(); ++i) inner[i] = silu(gate[i]) * up[i];
      const std::vector<double> y = multiply(expert.down_HI, shape.hidden, inner);
      for (size_t c = 0; c < hidden; ++c) h[c] += weight * y[c];
    };
    for (size_t k = 0; k < route.ids_K.size(); ++k)
      add_output(layer.experts[static_cast<size_t>(route.ids_K[k])], shape.expert_width, route.weights_K[k]);
    if (shape.shared_width > 0) {
      const double z = multiply(layer.shared_switch_H, 1, x)[0];
      add_output(layer.shared, shape.shared_width, 1 / (1 + std::exp(-z)));
    }
    result.routes.push_back(std::move(route));
  }
  result.logits_V = multiply(weights_.unembedding_VH, shape.vocab, normed(h, true));
  return result;
}

double log_softmax_at(std::span<const double> logits, int64_t index) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double z : logits) sum += std::exp(z - top);
  return logits[static_cast<size_t>(index)] - top - std::log(sum);
}

}  // namespace fare
