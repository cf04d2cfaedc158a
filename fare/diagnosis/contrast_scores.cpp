#include "fare/diagnosis/contrast_scores.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "fare/diagnosis/text_pack.h"
#include "fare/stats/moments.h"
#include "fare/stats/ranks.h"

namespace fare {
namespace {

constexpr int64_t kBatchTokens = 4096;  // fed tokens of one backward pass
constexpr double kScalePercentile = 0.99;

// Scaled by the layer's unit and cut at 1; a unit of 0 leaves zeros.
std::vector<double> scaled(const std::vector<RawScores>& raw, const std::vector<RawScores>& unit,
                           double RawScores::*score) {
  std::vector<double> result(raw.size());
  for (size_t e = 0; e < raw.size(); ++e)
    result[e] = unit[e].*score > 0 ? std::clamp(raw[e].*score / unit[e].*score, -1.0, 1.0) : 0;
  return result;
}

// Adds one batch: routes, gates and gradients of every token of its contrasts.
void add_batch(Measurer& measurer, std::span<const Contrast> batch, const std::map<int64_t, size_t>& first_place,
               std::vector<ClusterSums>& clusters) {
  const Model& model = measurer.scorer().model();
  std::vector<const Request*> requests;
  for (const Contrast& contrast : batch) requests.insert(requests.end(), {contrast.a, contrast.b});
  // No sharing: every token's gradient belongs to one text.
  const TextPack text = pack_texts(measurer.scorer(), requests, false);
  const PackedSequences& packed = text.packed;
  std::vector<ScoredToken> scored;
  size_t next = 0;
  for (size_t i = 0; i < requests.size(); ++i)
    for (size_t j = 0; j < requests[i]->continuation.size(); ++j, ++next)
      scored.push_back({text.targets[next].row, text.targets[next].token, i % 2 == 0 ? 1.0 : -1.0});
  for (const Contrast& contrast : batch) {
    ClusterSums& sums = clusters[static_cast<size_t>(contrast.cluster)];
    sums.tokens += static_cast<double>(contrast.tokens.size());
    sums.contrasts += 1;
  }
  router_gradients(model, packed.pack, scored, [&](const LayerGradient& layer) {
    const int64_t num_experts = layer.logits_TE.size(1), k = layer.route.ids_TK.size(1);
    const float* dz = layer.dz_TE.const_data_ptr<float>();
    const float* z = layer.logits_TE.const_data_ptr<float>();
    const int32_t* ids = layer.route.ids_TK.const_data_ptr<int32_t>();
    const float* weights = layer.route.weights_TK.const_data_ptr<float>();
    const size_t first = first_place.at(layer.layer);
    for (size_t p = 0; p < batch.size(); ++p) {
      std::vector<ExpertSums>& experts = clusters[static_cast<size_t>(batch[p].cluster)].experts;
      for (const auto& position : batch[p].tokens) {
        const int64_t a = packed.rows[2 * p][static_cast<size_t>(position.stereo)];
        const int64_t b = packed.rows[2 * p + 1][static_cast<size_t>(position.anti)];
        for (int64_t slot = 0; slot < k; ++slot) {
          if (const int32_t e = ids[a * k + slot]; e >= 0) {
            experts[first + static_cast<size_t>(e)].selected_a += 1;
            experts[first + static_cast<size_t>(e)].gate_a += weights[a * k + slot];
          }
          if (const int32_t e = ids[b * k + slot]; e >= 0) {
            experts[first + static_cast<size_t>(e)].selected_b += 1;
            experts[first + static_cast<size_t>(e)].gate_b += weights[b * k + slot];
          }
        }
        for (int64_t e = 0; e < num_experts; ++e) {
          ExpertSums& cell = experts[first + static_cast<size_t>(e)];
          const double on_a = dz[a * num_experts + e], on_b = dz[b * num_experts + e];
          cell.gradient += on_a + on_b;
          cell.gradient_abs += std::abs(on_a) + std::abs(on_b);
          // dm/dz on side B is minus the gradient of that text's log-likelihood; the midpoint of both texts' gradients
          // times the difference of their logits is what the routing difference adds to the margin, to first order.
          cell.weighted += (on_a - on_b) / 2 * (static_cast<double>(z[a * num_experts + e]) - z[b * num_experts + e]);
        }
      }
    }
  });
}

}  // namespace

std::vector<ExpertScore> routed_experts(const RoutedModel& model) {
  std::vector<ExpertScore> experts;
  for (const int64_t layer : model.moe_layers)
    for (int32_t e = 0; e < model.router.num_experts; ++e) experts.push_back({.layer = layer, .expert = e});
  return experts;
}

std::vector<ClusterSums> contrast_sums(Measurer& measurer, std::span<const Contrast> contrasts, int64_t num_clusters,
                                       const std::string& progress_label) {
  const RoutedModel& model = measurer.model();
  std::map<int64_t, size_t> first_place;
  for (size_t i = 0; i < model.moe_layers.size(); ++i)
    first_place[model.moe_layers[i]] = i * static_cast<size_t>(model.router.num_experts);
  std::vector<ClusterSums> clusters(static_cast<size_t>(num_clusters));
  for (ClusterSums& one : clusters)
    one.experts.resize(model.moe_layers.size() * static_cast<size_t>(model.router.num_experts));
  for (size_t begin = 0; begin < contrasts.size();) {
    measurer.progress().check();
    size_t end = begin;
    int64_t tokens = 0;
    while (end < contrasts.size() && (end == begin || tokens < kBatchTokens)) {
      for (const Request* request : {contrasts[end].a, contrasts[end].b})
        tokens += static_cast<int64_t>(request->context.size() + request->continuation.size()) - 1;
      ++end;
    }
    add_batch(measurer, contrasts.subspan(begin, end - begin), first_place, clusters);
    begin = end;
    measurer.progress()(progress_label, static_cast<int64_t>(end), static_cast<int64_t>(contrasts.size()));
  }
  return clusters;
}

std::vector<RawScores> raw_scores(const std::vector<ClusterSums>& clusters, std::span<const size_t> used,
                                  size_t num_experts) {
  std::vector<RawScores> raw(num_experts);
  double tokens = 0, contrasts = 0;
  for (const size_t c : used) {
    tokens += clusters[c].tokens;
    contrasts += clusters[c].contrasts;
  }
  if (tokens == 0) return raw;
  for (size_t e = 0; e < num_experts; ++e) {
    ExpertSums total;
    for (const size_t c : used) {
      const ExpertSums& one = clusters[c].experts[e];
      total.selected_a += one.selected_a;
      total.selected_b += one.selected_b;
      total.gate_a += one.gate_a;
      total.gate_b += one.gate_b;
      total.gradient += one.gradient;
      total.gradient_abs += one.gradient_abs;
      total.weighted += one.weighted;
    }
    raw[e] = {(total.selected_a - total.selected_b) / tokens, (total.gate_a - total.gate_b) / tokens,
              total.gradient / (2 * tokens), total.gradient_abs / (2 * tokens), total.weighted / contrasts};
  }
  return raw;
}

std::vector<RawScores> score_units(const std::vector<RawScores>& raw, const std::vector<ExpertScore>& experts) {
  std::vector<RawScores> units(raw.size());
  for (const auto score : {&RawScores::s1, &RawScores::s2, &RawScores::s3, &RawScores::s4}) {
    std::map<int64_t, std::vector<double>> magnitudes;
    for (size_t e = 0; e < raw.size(); ++e) magnitudes[experts[e].layer].push_back(std::abs(raw[e].*score));
    for (auto& [layer, values] : magnitudes) std::sort(values.begin(), values.end());
    for (size_t e = 0; e < raw.size(); ++e)
      units[e].*score = stats::quantile_sorted(magnitudes[experts[e].layer], kScalePercentile);
  }
  return units;
}

void fill_scores(const std::vector<RawScores>& raw, std::vector<ExpertScore>& experts) {
  const std::vector<RawScores> unit = score_units(raw, experts);
  const std::vector<double> s1 = scaled(raw, unit, &RawScores::s1), s2 = scaled(raw, unit, &RawScores::s2),
                            s3 = scaled(raw, unit, &RawScores::s3), s4 = scaled(raw, unit, &RawScores::s4);
  std::vector<double> mean_rank(experts.size(), 0);
  for (const std::vector<double>* score : {&s1, &s2, &s3, &s4}) {
    std::vector<double> magnitude(score->size());
    for (size_t e = 0; e < score->size(); ++e) magnitude[e] = -std::abs((*score)[e]);
    const std::vector<double> ranks = stats::average_ranks(magnitude);
    for (size_t e = 0; e < ranks.size(); ++e) mean_rank[e] += ranks[e] / 4;
  }
  std::vector<size_t> order(experts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return mean_rank[a] < mean_rank[b]; });
  const double last = static_cast<double>(std::max<size_t>(order.size(), 2) - 1);
  for (size_t place = 0; place < order.size(); ++place) {
    ExpertScore& expert = experts[order[place]];
    const size_t e = order[place];
    const double sign = s3[e] < 0 ? -1 : 1;
    expert.s1 = sign * std::abs(s1[e]);
    expert.s2 = sign * std::abs(s2[e]);
    expert.s3 = s3[e];
    expert.s3_abs = raw[e].s3_abs;
    expert.s4 = sign * std::abs(s4[e]);
    expert.combined_rank = static_cast<int64_t>(place) + 1;
    expert.combined = sign * (1 - static_cast<double>(place) / last);
  }
}

}  // namespace fare
