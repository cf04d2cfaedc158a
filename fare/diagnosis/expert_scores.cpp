#include "fare/diagnosis/expert_scores.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "fare/core/philox.h"
#include "fare/models/forward.h"
#include "fare/scoring/prefix_tree.h"
#include "fare/stats/moments.h"
#include "fare/stats/ranks.h"

namespace fare {
namespace {

constexpr int64_t kBatchTokens = 4096;       // fed tokens of one backward pass
constexpr int64_t kNominated = 50;           // best of each score that get s5
constexpr int64_t kRandomExperts = 100;
constexpr double kScalePercentile = 0.99;
constexpr const char* kScores[] = {"s1", "s2", "s3", "s4"};

// What one cluster of pairs adds to one expert's scores.
struct Cell {
  double selected_a = 0, selected_b = 0, gate_a = 0, gate_b = 0;
  double gradient = 0, gradient_abs = 0, weighted = 0;
};
struct ClusterSums {
  double tokens_a = 0, tokens_b = 0, pairs = 0;
  std::vector<Cell> cells;  // per expert, in the order of ExpertScores::experts
};

struct Raw {
  double s1 = 0, s2 = 0, s3 = 0, s3_abs = 0, s4 = 0;
};

std::vector<Raw> raw_scores(const std::vector<ClusterSums>& clusters, std::span<const size_t> used, size_t num_experts) {
  std::vector<Raw> raw(num_experts);
  double tokens_a = 0, tokens_b = 0, pairs = 0;
  std::vector<Cell> total(num_experts);
  for (const size_t c : used) {
    tokens_a += clusters[c].tokens_a;
    tokens_b += clusters[c].tokens_b;
    pairs += clusters[c].pairs;
    for (size_t e = 0; e < num_experts; ++e) {
      const Cell& cell = clusters[c].cells[e];
      total[e].selected_a += cell.selected_a;
      total[e].selected_b += cell.selected_b;
      total[e].gate_a += cell.gate_a;
      total[e].gate_b += cell.gate_b;
      total[e].gradient += cell.gradient;
      total[e].gradient_abs += cell.gradient_abs;
      total[e].weighted += cell.weighted;
    }
  }
  if (tokens_a == 0 || tokens_b == 0) return raw;
  for (size_t e = 0; e < num_experts; ++e) {
    raw[e].s1 = total[e].selected_a / tokens_a - total[e].selected_b / tokens_b;
    raw[e].s2 = total[e].gate_a / tokens_a - total[e].gate_b / tokens_b;
    raw[e].s3 = total[e].gradient / (tokens_a + tokens_b);
    raw[e].s3_abs = total[e].gradient_abs / (tokens_a + tokens_b);
    raw[e].s4 = total[e].weighted / pairs;
  }
  return raw;
}

// Scales a score to [-1, 1] within each layer by its 99th absolute percentile; 0 there leaves zeros.
std::vector<double> scaled(const std::vector<Raw>& raw, double Raw::*score, const std::vector<ExpertScore>& experts) {
  std::map<int64_t, std::vector<double>> magnitudes;
  for (size_t e = 0; e < raw.size(); ++e) magnitudes[experts[e].layer].push_back(std::abs(raw[e].*score));
  std::map<int64_t, double> scale;
  for (auto& [layer, values] : magnitudes) {
    std::sort(values.begin(), values.end());
    scale[layer] = stats::quantile_sorted(values, kScalePercentile);
  }
  std::vector<double> result(raw.size());
  for (size_t e = 0; e < raw.size(); ++e) {
    const double unit = scale[experts[e].layer];
    result[e] = unit > 0 ? std::clamp(raw[e].*score / unit, -1.0, 1.0) : 0;
  }
  return result;
}

// Fills s1..s4 and the combined rank from raw sums. s3 gives the sign of all.
void fill_scores(const std::vector<Raw>& raw, std::vector<ExpertScore>& experts) {
  const std::vector<double> s1 = scaled(raw, &Raw::s1, experts), s2 = scaled(raw, &Raw::s2, experts),
                            s3 = scaled(raw, &Raw::s3, experts), s4 = scaled(raw, &Raw::s4, experts);
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

// Adds one batch of pairs: routes, gates and gradients of every P token.
void add_batch(Measurer& measurer, std::span<const int64_t> batch, const std::vector<int32_t>& cluster_of,
               std::map<std::pair<int64_t, int64_t>, size_t>& place_of, std::vector<ClusterSums>& clusters) {
  const Study& study = measurer.study();
  const Model& model = measurer.scorer().model();
  const DecoderSpec& spec = model.spec();
  std::vector<FedRequest> fed;
  std::vector<Sequence> sequences;
  for (const int64_t i : batch)
    for (const Request* request : {&study.pairs[static_cast<size_t>(i)].stereo, &study.pairs[static_cast<size_t>(i)].anti})
      fed.push_back(fed_part(*request, measurer.scorer().max_length(), spec.vocab_size));
  for (const FedRequest& one : fed) {
    const int64_t length = static_cast<int64_t>(one.ids.size());
    sequences.push_back({one.ids, {}, spec.rope.depends_on_length()
                                          ? static_cast<int32_t>(std::max(length, spec.rope.length_threshold())) : 0});
  }
  // No sharing: every token's gradient belongs to one text.
  const PackedSequences packed = pack_sequences(sequences, false);
  std::vector<ScoredToken> scored;
  for (size_t p = 0; p < batch.size(); ++p) {
    const EncodedPair& pair = study.pairs[static_cast<size_t>(batch[p])];
    for (const int side : {0, 1}) {
      const Request& request = side == 0 ? pair.stereo : pair.anti;
      const size_t text = 2 * p + static_cast<size_t>(side);
      const size_t first = static_cast<size_t>(fed[text].num_context) - 1;
      for (size_t j = 0; j < request.continuation.size(); ++j)
        scored.push_back({packed.rows[text][first + j], request.continuation[j], side == 0 ? 1.0 : -1.0});
    }
    ClusterSums& sums = clusters[static_cast<size_t>(cluster_of[p])];
    sums.tokens_a += static_cast<double>(pair.alignment.after.size());
    sums.tokens_b += static_cast<double>(pair.alignment.after.size());
    sums.pairs += 1;
  }
  router_gradients(model, packed.pack, scored, [&](const LayerGradient& layer) {
    const int64_t num_experts = layer.logits_TE.size(1), k = layer.route.ids_TK.size(1);
    const float* dz = layer.dz_TE.const_data_ptr<float>();
    const float* z = layer.logits_TE.const_data_ptr<float>();
    const int32_t* ids = layer.route.ids_TK.const_data_ptr<int32_t>();
    const float* weights = layer.route.weights_TK.const_data_ptr<float>();
    const size_t first_place = place_of.at({layer.layer, 0});
    for (size_t p = 0; p < batch.size(); ++p) {
      const PairAlignment& alignment = study.pairs[static_cast<size_t>(batch[p])].alignment;
      std::vector<Cell>& cells = clusters[static_cast<size_t>(cluster_of[p])].cells;
      for (const auto& position : alignment.after) {
        const int64_t a = packed.rows[2 * p][static_cast<size_t>(position.stereo)];
        const int64_t b = packed.rows[2 * p + 1][static_cast<size_t>(position.anti)];
        for (int64_t slot = 0; slot < k; ++slot) {
          if (const int32_t e = ids[a * k + slot]; e >= 0) {
            cells[first_place + static_cast<size_t>(e)].selected_a += 1;
            cells[first_place + static_cast<size_t>(e)].gate_a += weights[a * k + slot];
          }
          if (const int32_t e = ids[b * k + slot]; e >= 0) {
            cells[first_place + static_cast<size_t>(e)].selected_b += 1;
            cells[first_place + static_cast<size_t>(e)].gate_b += weights[b * k + slot];
          }
        }
        for (int64_t e = 0; e < num_experts; ++e) {
          Cell& cell = cells[first_place + static_cast<size_t>(e)];
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

Intervention mask_of(const ExpertScore& expert) {
  Intervention intervention;
  intervention.name = "mask " + std::to_string(expert.layer) + "/" + std::to_string(expert.expert);
  Edit edit;
  edit.op = Mask{{expert.expert}, Mask::Mode::kRefill, true};
  edit.layers = {expert.layer};
  intervention.edits.push_back(std::move(edit));
  return intervention;
}

}  // namespace

double ExpertScores::value(const ExpertScore& expert, const std::string& score) {
  if (score == "s1") return expert.s1;
  if (score == "s2") return expert.s2;
  if (score == "s3") return expert.s3;
  if (score == "s4") return expert.s4;
  if (score == "combined") return expert.combined;
  throw UsageError("unknown expert score '" + score + "'; accepted: s1, s2, s3, s4, combined");
}

ExpertScores score_experts(Measurer& measurer, const RouterProfile& profile, const DiagnosisOptions& options) {
  const Study& study = measurer.study();
  const RoutedModel& model = measurer.model();
  const int64_t num_experts = model.router.num_experts;
  ExpertScores scores;
  std::map<std::pair<int64_t, int64_t>, size_t> place_of;
  for (const int64_t layer : model.moe_layers) {
    for (int64_t e = 0; e < num_experts; ++e) {
      place_of[{layer, e}] = scores.experts.size();
      ExpertScore expert;
      expert.layer = layer;
      expert.expert = static_cast<int32_t>(e);
      if (!profile.layers.empty()) {
        const LayerProfile& on_neutral = profile.at(layer);
        expert.usage = on_neutral.usage_E[static_cast<size_t>(e)];
        expert.mean_gate = on_neutral.mean_gate_E[static_cast<size_t>(e)];
        expert.mean_norm = on_neutral.mean_norm_E[static_cast<size_t>(e)];
      }
      scores.experts.push_back(expert);
    }
  }
  const size_t total = scores.experts.size();

  // One pass of gradients over the train pairs, summed per cluster.
  const std::vector<int64_t> train = study.pairs_in(SplitPart::kTrain);
  std::vector<std::string> names;
  for (const int64_t i : train) names.push_back(study.pairs[static_cast<size_t>(i)].pair.cluster);
  const stats::Clusters train_clusters = stats::cluster_by_name(names);
  std::vector<ClusterSums> sums(static_cast<size_t>(train_clusters.num_clusters));
  for (ClusterSums& one : sums) one.cells.resize(total);
  for (size_t begin = 0; begin < train.size();) {
    measurer.progress().check();
    size_t end = begin;
    int64_t tokens = 0;
    std::vector<int32_t> cluster_of;
    while (end < train.size() && (end == begin || tokens < kBatchTokens)) {
      const EncodedPair& pair = study.pairs[static_cast<size_t>(train[end])];
      for (const Request* request : {&pair.stereo, &pair.anti})
        tokens += static_cast<int64_t>(request->context.size() + request->continuation.size()) - 1;
      cluster_of.push_back(train_clusters.of_item[end]);
      ++end;
    }
    add_batch(measurer, std::span(train).subspan(begin, end - begin), cluster_of, place_of, sums);
    begin = end;
    measurer.progress()("expert attribution", static_cast<int64_t>(end), static_cast<int64_t>(train.size()));
  }
  std::vector<size_t> every(sums.size());
  std::iota(every.begin(), every.end(), size_t{0});
  fill_scores(raw_scores(sums, every, total), scores.experts);

  // Stability: how often an expert stays in the top m when half of the clusters are left out.
  scores.top_m = std::min<int64_t>(10, std::max<int64_t>(2, static_cast<int64_t>(total) / 8));
  scores.half_samples = sums.size() >= 2 ? options.half_samples : 0;
  std::vector<ExpertScore> half = scores.experts;
  for (int64_t r = 0; r < scores.half_samples; ++r) {
    const RandomStream stream(options.seed, "stability/half", static_cast<uint32_t>(r));
    std::vector<size_t> order = every;
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return std::pair(stream.u64(a), a) < std::pair(stream.u64(b), b);
    });
    order.resize(order.size() / 2);
    std::sort(order.begin(), order.end());
    fill_scores(raw_scores(sums, order, total), half);
    for (size_t e = 0; e < total; ++e)
      if (half[e].combined_rank <= scores.top_m)
        scores.experts[e].stability += 1.0 / static_cast<double>(scores.half_samples);
  }

  // s5 by masking one expert at a time: the nominated ones and a random sample that keeps the scores honest.
  if (num_experts <= model.router.top_k) {
    for (const char* score : kScores)
      scores.honesty.push_back({score, std::nullopt, std::nullopt, 0, "every expert is always selected, so none can be refilled"});
    return scores;
  }
  std::set<size_t> random_experts, ablated;
  const RandomStream stream(options.seed, "scores/random-experts");
  std::vector<size_t> shuffled(total);
  std::iota(shuffled.begin(), shuffled.end(), size_t{0});
  std::sort(shuffled.begin(), shuffled.end(), [&](size_t a, size_t b) {
    return std::pair(stream.u64(a), a) < std::pair(stream.u64(b), b);
  });
  for (size_t i = 0; i < std::min<size_t>(total, kRandomExperts); ++i) random_experts.insert(shuffled[i]);
  ablated = random_experts;
  for (const char* score : kScores) {
    std::vector<size_t> order(total);
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return std::abs(ExpertScores::value(scores.experts[a], score)) > std::abs(ExpertScores::value(scores.experts[b], score));
    });
    for (size_t i = 0; i < std::min<size_t>(total, kNominated); ++i) ablated.insert(order[i]);
  }
  Items items;
  items.part = "s5";
  items.pairs = train;
  if (options.causal_pairs > 0 && static_cast<int64_t>(train.size()) > options.causal_pairs) {
    std::vector<int64_t> drawn = train;
    const RandomStream order(options.seed, "scores/causal-pairs");
    std::sort(drawn.begin(), drawn.end(), [&](int64_t a, int64_t b) {
      return std::pair(order.u64(static_cast<uint64_t>(a)), a) < std::pair(order.u64(static_cast<uint64_t>(b)), b);
    });
    drawn.resize(static_cast<size_t>(options.causal_pairs));
    std::sort(drawn.begin(), drawn.end());
    items.pairs = drawn;
  }
  scores.causal_pairs = static_cast<int64_t>(items.pairs.size());
  scores.causal_random_experts = static_cast<int64_t>(random_experts.size());
  std::vector<Intervention> masks;
  masks.reserve(ablated.size());
  std::vector<const Intervention*> runs = {nullptr};
  for (const size_t e : ablated) masks.push_back(mask_of(scores.experts[e]));
  for (const Intervention& mask : masks) runs.push_back(&mask);
  const std::vector<Outcomes> outcomes = measurer.evaluate(items, runs);
  size_t run = 1;
  for (const size_t e : ablated) {
    double change = 0;
    for (size_t i = 0; i < items.pairs.size(); ++i) change += outcomes[run].pairs[i].sum - outcomes[0].pairs[i].sum;
    scores.experts[e].s5 = items.pairs.empty() ? std::nullopt
                                               : std::optional(change / static_cast<double>(items.pairs.size()));
    ++run;
  }
  for (const char* score : kScores) {
    ExpertScores::Honesty honesty;
    honesty.score = score;
    std::vector<double> x, y;
    for (const size_t e : random_experts) {
      if (!scores.experts[e].s5) continue;
      x.push_back(ExpertScores::value(scores.experts[e], score));
      y.push_back(-*scores.experts[e].s5);  // masking an expert that pushes to the stereotype side lowers the margin
    }
    honesty.n = static_cast<int64_t>(x.size());
    if (const auto rho = stats::spearman(x, y)) {
      honesty.spearman = *rho;
      stats::ResampleOptions resample;
      resample.seed = options.seed;
      resample.label = std::string("bootstrap/honesty/") + score;
      resample.replicates = std::min<int64_t>(options.bootstrap_replicates, 2000);
      resample.num_threads = options.num_threads;
      const auto interval =
          stats::bootstrap_spearman(x, y, stats::one_cluster_per_item(honesty.n), resample).percentile(0.95);
      if (interval) honesty.interval = {interval->low, interval->high};
      else honesty.reason = interval.reason;
    } else {
      honesty.reason = rho.reason;
    }
    scores.honesty.push_back(std::move(honesty));
  }
  return scores;
}

OrderedJson experts_json(const ExpertScores& scores) {
  OrderedJson list = OrderedJson::array();
  for (const ExpertScore& expert : scores.experts) {
    OrderedJson row = {{"layer", expert.layer}, {"expert", expert.expert}, {"s1", expert.s1},
                       {"s2", expert.s2},       {"s3", expert.s3},         {"s3_abs", expert.s3_abs},
                       {"s4", expert.s4}};
    if (expert.s5) {
      row["s5"] = *expert.s5;
    } else {
      row["s5"] = nullptr;
      row["s5_reason"] = "not among the experts ablated one by one";
    }
    row["combined_rank"] = expert.combined_rank;
    row["stability"] = expert.stability;
    row["usage"] = expert.usage;
    row["mean_gate"] = expert.mean_gate;
    row["mean_norm"] = expert.mean_norm;
    list.push_back(std::move(row));
  }
  return list;
}

OrderedJson expert_scores_json(const ExpertScores& scores) {
  OrderedJson json;
  json["top_m"] = scores.top_m;
  json["half_samples"] = scores.half_samples;
  json["s5_pairs"] = scores.causal_pairs;
  json["s5_random_experts"] = scores.causal_random_experts;
  json["honesty"] = OrderedJson::array();
  for (const auto& honesty : scores.honesty) {
    OrderedJson row;
    row["score"] = honesty.score;
    if (honesty.spearman) row["spearman"] = *honesty.spearman;
    else row["spearman"] = nullptr, row["spearman_reason"] = honesty.reason;
    if (honesty.interval) row["interval"] = OrderedJson::array({honesty.interval->first, honesty.interval->second});
    else row["interval"] = nullptr, row["interval_reason"] = honesty.reason;
    row["n"] = honesty.n;
    json["honesty"].push_back(std::move(row));
  }
  return json;
}

}  // namespace fare
