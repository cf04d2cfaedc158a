#include "fare/diagnosis/router_profile.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "fare/core/error.h"
#include "fare/routing/absent_expert.h"

namespace fare {
namespace {

constexpr int64_t kMostTokens = 200000;
constexpr double kUncertain = 0.9;

// Running sums of one layer; every row counts as often as it is fed.
struct Sums {
  double tokens = 0, topk_mass = 0, entropy = 0, uncertain = 0, margin = 0, margin_tokens = 0;
  double squares = 0, elements = 0;  // of logits after taking off the row's mean
  double shared_norm = 0, routed_norm = 0;
  bool has_shared = false;
  std::vector<double> selected, gate, norm, largest;
};

void add_decision(Sums& sums, const at::Tensor& logits_TE, const Decision& decision,
                  const std::vector<int32_t>& times) {
  const int64_t num_rows = logits_TE.size(0), num_experts = logits_TE.size(1), k = decision.before.ids_TK.size(1);
  const float* logits = logits_TE.const_data_ptr<float>();
  const int32_t* ids = decision.before.ids_TK.const_data_ptr<int32_t>();
  const float* weights = decision.before.weights_TK.const_data_ptr<float>();
  sums.selected.resize(static_cast<size_t>(num_experts));
  sums.gate.resize(static_cast<size_t>(num_experts));
  sums.norm.resize(static_cast<size_t>(num_experts));
  sums.largest.resize(static_cast<size_t>(num_experts));
  std::vector<double> p(static_cast<size_t>(num_experts));
  std::vector<float> sorted(static_cast<size_t>(num_experts));
  for (int64_t t = 0; t < num_rows; ++t) {
    const double n = times[static_cast<size_t>(t)];
    const float* z = logits + t * num_experts;
    const double largest = *std::max_element(z, z + num_experts);
    double total = 0, mean = 0, present = 0;
    for (int64_t e = 0; e < num_experts; ++e) {
      p[static_cast<size_t>(e)] = std::exp(z[e] - largest);
      total += p[static_cast<size_t>(e)];
      if (z[e] <= kAbsentLogit) continue;
      mean += z[e];
      ++present;
    }
    mean /= present;
    double entropy = 0, squares = 0;
    for (int64_t e = 0; e < num_experts; ++e) {
      const double share = p[static_cast<size_t>(e)] / total;
      if (share > 0) entropy -= share * std::log(share);
      if (z[e] > kAbsentLogit) squares += (z[e] - mean) * (z[e] - mean);
    }
    entropy /= std::log(std::max(present, 2.0));
    double mass = 0;
    for (int64_t slot = 0; slot < k; ++slot) {
      const int32_t e = ids[t * k + slot];
      if (e < 0) continue;
      mass += p[static_cast<size_t>(e)] / total;
      sums.selected[static_cast<size_t>(e)] += n;
      sums.gate[static_cast<size_t>(e)] += n * weights[t * k + slot];
    }
    sums.tokens += n;
    sums.topk_mass += n * mass;
    sums.entropy += n * entropy;
    sums.uncertain += n * (entropy > kUncertain);
    sums.squares += n * squares;
    sums.elements += n * present;
    if (static_cast<double>(k) < present) {
      std::copy(z, z + num_experts, sorted.begin());
      std::nth_element(sorted.begin(), sorted.begin() + k, sorted.end(), std::greater<>());
      const float below = sorted[static_cast<size_t>(k)];
      const float above = *std::min_element(sorted.begin(), sorted.begin() + k);
      sums.margin += n * (above - below);
      sums.margin_tokens += n;
    }
  }
}

double gini(std::vector<double> load) {
  std::sort(load.begin(), load.end());
  double total = 0, weighted = 0;
  for (size_t i = 0; i < load.size(); ++i) {
    total += load[i];
    weighted += static_cast<double>(i + 1) * load[i];
  }
  const double n = static_cast<double>(load.size());
  return total > 0 ? 2 * weighted / (n * total) - (n + 1) / n : 0;
}

}  // namespace

const LayerProfile& RouterProfile::at(int64_t layer) const {
  for (const LayerProfile& profile : layers)
    if (profile.layer == layer) return profile;
  FARE_CHECK(false, "no router profile of layer " + std::to_string(layer));
}

RouterProfile profile_router(Measurer& measurer) {
  const Model& model = measurer.scorer().model();
  std::vector<Request> requests;
  int64_t tokens = 0;
  for (const Request& request : measurer.study().neutral) {
    if (tokens >= kMostTokens) break;
    requests.push_back(request);
    tokens += static_cast<int64_t>(request.context.size() + request.continuation.size()) - 1;
  }
  RouterProfile profile;
  profile.tokens = tokens;
  std::map<int64_t, Sums> sums;
  std::vector<int32_t> times;  // how often each row of the current unit is fed
  at::Tensor router_input_TD;
  UnitObserver observer;
  observer.begin = [&](const UnitRun& run) { times = run.packed->pack.multiplicity; };
  observer.tap = [&](Site site, int64_t layer, const at::Tensor& value) {
    if (site == Site::kRouterInput) router_input_TD = value;
    if (site != Site::kRoutedOutput && site != Site::kSharedOutput) return;
    const at::Tensor norms = value.to(at::kFloat).norm(2, 1).contiguous();
    const float* norm = norms.const_data_ptr<float>();
    double total = 0;
    for (size_t t = 0; t < times.size(); ++t) total += times[t] * static_cast<double>(norm[t]);
    (site == Site::kRoutedOutput ? sums[layer].routed_norm : sums[layer].shared_norm) += total;
    if (site == Site::kSharedOutput) sums[layer].has_shared = true;
  };
  observer.on_decision = [&](int64_t layer, const at::Tensor& logits_TE, const Decision& decision) {
    Sums& layer_sums = sums[layer];
    add_decision(layer_sums, logits_TE, decision, times);
    // weight * ||E_e(x)|| over the rows that chose e.
    const at::NoGradGuard no_grad;
    const int64_t k = decision.before.ids_TK.size(1);
    const int32_t* ids = decision.before.ids_TK.const_data_ptr<int32_t>();
    const float* weights = decision.before.weights_TK.const_data_ptr<float>();
    std::vector<std::vector<int64_t>> rows_of(layer_sums.norm.size());
    std::vector<std::vector<double>> weight_of(layer_sums.norm.size());
    for (size_t t = 0; t < times.size(); ++t)
      for (int64_t slot = 0; slot < k; ++slot) {
        const int64_t at_slot = static_cast<int64_t>(t) * k + slot;
        if (ids[at_slot] < 0) continue;
        rows_of[static_cast<size_t>(ids[at_slot])].push_back(static_cast<int64_t>(t));
        weight_of[static_cast<size_t>(ids[at_slot])].push_back(times[t] * static_cast<double>(weights[at_slot]));
      }
    for (size_t e = 0; e < rows_of.size(); ++e) {
      if (rows_of[e].empty()) continue;
      const at::Tensor x = router_input_TD.index_select(0, at::tensor(at::ArrayRef<int64_t>(rows_of[e])));
      const at::Tensor output =
          expert_output(x, model.family().expert(layer, static_cast<int64_t>(e)), model.execution().backend)
              .to(at::kFloat);
      layer_sums.largest[e] = std::max(layer_sums.largest[e], output.abs().max().item<double>());
      const at::Tensor norms = output.norm(2, 1).contiguous();
      const float* norm = norms.const_data_ptr<float>();
      for (size_t i = 0; i < rows_of[e].size(); ++i)
        layer_sums.norm[e] += weight_of[e][i] * static_cast<double>(norm[i]);
    }
  };
  measurer.observe(requests, observer);

  for (const auto& [layer, s] : sums) {
    LayerProfile row;
    row.layer = layer;
    row.tokens = static_cast<int64_t>(s.tokens);
    double selected = 0, entropy = 0;
    for (const double count : s.selected) selected += count;
    for (const double count : s.selected)
      if (count > 0) entropy -= count / selected * std::log(count / selected);
    row.load_entropy = entropy / std::log(static_cast<double>(std::max<size_t>(s.selected.size(), 2)));
    row.load_gini = gini(s.selected);
    row.topk_mass = s.topk_mass / s.tokens;
    row.router_entropy = s.entropy / s.tokens;
    row.uncertain_share = s.uncertain / s.tokens;
    row.boundary_margin = s.margin_tokens > 0 ? s.margin / s.margin_tokens : 0;
    row.logit_sd = std::sqrt(s.squares / s.elements);
    if (s.has_shared && s.shared_norm + s.routed_norm > 0)
      row.shared_share = s.shared_norm / (s.shared_norm + s.routed_norm);
    for (size_t e = 0; e < s.selected.size(); ++e) {
      row.usage_E.push_back(s.selected[e] / s.tokens);
      row.mean_gate_E.push_back(s.gate[e] / s.tokens);
      row.mean_norm_E.push_back(s.norm[e] / s.tokens);
      row.largest_output_E.push_back(s.largest[e]);
    }
    profile.layers.push_back(std::move(row));
  }
  return profile;
}

OrderedJson router_profile_json(const RouterProfile& profile) {
  OrderedJson json;
  json["tokens"] = profile.tokens;
  json["layers"] = OrderedJson::array();
  for (const LayerProfile& layer : profile.layers) {
    OrderedJson row = {{"layer", layer.layer},
                       {"tokens", layer.tokens},
                       {"load_entropy", layer.load_entropy},
                       {"load_gini", layer.load_gini},
                       {"topk_mass", layer.topk_mass},
                       {"router_entropy", layer.router_entropy},
                       {"uncertain_share", layer.uncertain_share},
                       {"boundary_margin", layer.boundary_margin},
                       {"logit_sd", layer.logit_sd}};
    if (layer.shared_share) {
      row["shared_share"] = *layer.shared_share;
    } else {
      row["shared_share"] = nullptr;
      row["shared_share_reason"] = "the model has no shared expert";
    }
    json["layers"].push_back(std::move(row));
  }
  return json;
}

}  // namespace fare
