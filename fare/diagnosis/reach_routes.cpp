#include "fare/diagnosis/reach_routes.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "fare/core/error.h"
#include "fare/core/philox.h"

namespace fare {
namespace {

constexpr int64_t kPairsPerBatch = 128;

at::Tensor index_of(const std::vector<int64_t>& rows) { return at::tensor(at::ArrayRef<int64_t>(rows), at::kLong); }

at::Tensor some_rows(const at::Tensor& all, std::span<const int64_t> which) {
  return which.empty() ? all
                       : all.index_select(0, at::tensor(at::ArrayRef<int64_t>(which.data(), which.size()), at::kLong));
}

// Weights of routes by the rule of the model, scaled to a sum. Of the chosen experts' logits alone: a route may consist
// of experts whose probabilities are all 0 in float32.
at::Tensor route_weights(const at::Tensor& logits_NE, const at::Tensor& sum_N, const at::Tensor& ids_NGK) {
  return logits_NE.unsqueeze(1).expand({-1, ids_NGK.size(1), -1}).gather(2, ids_NGK).softmax(-1) *
         sum_N.view({-1, 1, 1});
}

// Position in the pair's texts: rows of the pack and what is read there.
struct Place {
  std::vector<std::pair<int32_t, std::vector<std::pair<int32_t, double>>>> rows;
  double weight = -1;
};

}  // namespace

CriticalRowsResult critical_rows(const ReachBatches& batches, std::span<const int64_t> pairs) {
  const Model& model = batches.model();
  const DecoderSpec& spec = model.spec();
  const Study& study = batches.study();
  const int64_t last = spec.num_layers - 1, num_experts = spec.router.num_experts;
  if (!spec.is_moe[static_cast<size_t>(last)]) return {std::nullopt, "the last layer has no router"};
  if (pairs.empty()) return {std::nullopt, "no pair"};
  CriticalRows result;
  std::vector<at::Tensor> rest, inputs, logits, outputs, ids, sums;
  for (size_t begin = 0; begin < pairs.size(); begin += kPairsPerBatch) {
    const auto some = pairs.subspan(begin, std::min<size_t>(kPairsPerBatch, pairs.size() - begin));
    const ReachBatch batch = batches.make(some, {});
    at::Tensor routed_TD, input_TD, logits_TE;
    Route route;
    ForwardOptions options;
    options.tap = [&](Site site, int64_t layer, const at::Tensor& value) {
      if (layer != last) return;
      if (site == Site::kRoutedOutput) routed_TD = value.to(at::kFloat).clone();
      if (site == Site::kRouterInput) input_TD = value;
    };
    options.on_decision = [&](int64_t layer, const at::Tensor& z_TE, const Decision& decision) {
      if (layer == last) logits_TE = z_TE, route = decision.after;
    };
    const at::Tensor h_TD = forward(model, batch.packed.pack, options);
    batches.count_rows(batch.packed.pack.num_rows() * spec.num_layers);

    std::vector<int64_t> rows;
    for (size_t p = 0; p < batch.pairs.size(); ++p) {
      const ReachBatch::PairRows& own = batch.pairs[p];
      const EncodedPair& pair = study.pairs[static_cast<size_t>(own.pair)];
      // log p of every scored token, by fed position.
      const auto read = [&](const std::vector<Target>& targets) {
        std::vector<double> values;
        for (const TargetResult& one : read_targets(model, h_TD, targets)) values.push_back(one.logprob_nats);
        return values;
      };
      const std::vector<double> on_stereo = read(own.stereo), on_anti = read(own.anti);
      const int64_t first_stereo = static_cast<int64_t>(pair.stereo.context.size()) - 1,
                    first_anti = static_cast<int64_t>(pair.anti.context.size()) - 1;
      const PairAlignment::Matched* best = nullptr;
      double largest = 0;
      for (const auto* list : {&pair.alignment.before, &pair.alignment.after})
        for (const auto& place : *list) {
          const int64_t a = place.stereo - first_stereo, b = place.anti - first_anti;
          if (a < 0 || b < 0 || a >= static_cast<int64_t>(on_stereo.size()) ||
              b >= static_cast<int64_t>(on_anti.size()))
            continue;
          const double difference = std::abs(on_stereo[static_cast<size_t>(a)] - on_anti[static_cast<size_t>(b)]);
          if (difference > largest) largest = difference, best = &place;
        }
      const size_t index = result.pairs.size();
      result.pairs.push_back(own.pair);
      result.margin.push_back(own.base_margin);
      if (best == nullptr) continue;
      const Target& a = own.stereo[static_cast<size_t>(best->stereo - first_stereo)];
      const Target& b = own.anti[static_cast<size_t>(best->anti - first_anti)];
      if (a.row == b.row) {
        rows.push_back(a.row);
        result.rows.push_back({index, {{a.token, 1.0}, {b.token, -1.0}}});
      } else {
        rows.push_back(a.row);
        result.rows.push_back({index, {{a.token, 1.0}}});
        rows.push_back(b.row);
        result.rows.push_back({index, {{b.token, -1.0}}});
      }
    }
    if (rows.empty()) continue;
    const at::Tensor where = index_of(rows);
    rest.push_back((h_TD - routed_TD).index_select(0, where));
    inputs.push_back(input_TD.index_select(0, where));
    logits.push_back(logits_TE.index_select(0, where));
    ids.push_back(route.ids_TK.index_select(0, where).to(at::kLong));
    sums.push_back(route.weights_TK.index_select(0, where).sum(1));
    std::vector<at::Tensor> each;
    for (int64_t e = 0; e < num_experts; ++e)
      each.push_back(
          expert_output(inputs.back(), model.family().expert(last, e), model.execution().backend).to(at::kFloat));
    outputs.push_back(at::stack(each, 1));
  }
  if (result.rows.empty())
    return {std::nullopt, "no pair has a token that both of its texts predict from matching positions"};
  result.rest_ND = at::cat(rest);
  result.input_ND = at::cat(inputs).to(at::kFloat);
  result.logits_NE = at::cat(logits);
  result.outputs_NED = at::cat(outputs);
  result.base_ids_NK = at::cat(ids);
  result.weight_sum_N = at::cat(sums);
  return {std::move(result), ""};
}

at::Tensor margin_parts(const Model& model, const CriticalRows& critical, const at::Tensor& ids_NGK,
                        std::span<const int64_t> which) {
  const at::NoGradGuard no_grad;
  const int64_t draws = ids_NGK.size(1);
  const at::Tensor rest_ND = some_rows(critical.rest_ND, which), outputs_NED = some_rows(critical.outputs_NED, which);
  const at::Tensor weights_NGK =
      route_weights(some_rows(critical.logits_NE, which), some_rows(critical.weight_sum_N, which), ids_NGK);
  const int64_t num_rows = rest_ND.size(0);
  at::Tensor dense_NGE = at::zeros({num_rows, draws, outputs_NED.size(1)}, at::kFloat);
  dense_NGE.scatter_add_(2, ids_NGK, weights_NGK);
  const at::Tensor h = (rest_ND.unsqueeze(1) + at::bmm(dense_NGE, outputs_NED)).flatten(0, 1).contiguous();
  std::vector<Target> targets;
  for (int64_t n = 0; n < num_rows; ++n) {
    const CriticalRow& row = critical.rows[static_cast<size_t>(which.empty() ? n : which[static_cast<size_t>(n)])];
    for (int64_t g = 0; g < draws; ++g)
      for (const auto& [token, sign] : row.targets) targets.push_back({static_cast<int32_t>(n * draws + g), token});
  }
  const std::vector<TargetResult> read = read_targets(model, h, targets);
  at::Tensor parts_NG = at::zeros({num_rows, draws}, at::kDouble);
  double* part = parts_NG.mutable_data_ptr<double>();
  size_t next = 0;
  for (int64_t n = 0; n < num_rows; ++n) {
    const CriticalRow& row = critical.rows[static_cast<size_t>(which.empty() ? n : which[static_cast<size_t>(n)])];
    for (int64_t g = 0; g < draws; ++g)
      for (const auto& [token, sign] : row.targets) part[n * draws + g] += sign * read[next++].logprob_nats;
  }
  return parts_NG;
}

at::Tensor sample_routes(const Model& model, const CriticalRows& critical, const at::Tensor& logits_NE, int64_t draws,
                         bool explore, uint64_t seed, const std::string& label, std::span<const int64_t> which) {
  const at::Tensor log_p = logits_NE.log_softmax(-1).contiguous();
  const int64_t num_rows = log_p.size(0), num_experts = log_p.size(1);
  at::Tensor keys_NGE = at::empty({num_rows, draws, num_experts}, at::kFloat);
  float* key = keys_NGE.mutable_data_ptr<float>();
  const float* score = log_p.const_data_ptr<float>();
  for (int64_t n = 0; n < num_rows; ++n) {
    const int64_t row = which.empty() ? n : which[static_cast<size_t>(n)];
    const RandomStream stream(seed, label,
                              static_cast<uint32_t>(critical.pairs[critical.rows[static_cast<size_t>(row)].pair]),
                              static_cast<uint32_t>(row));
    for (int64_t i = 0; i < draws * num_experts; ++i) {
      const bool uniform = explore && (i / num_experts) % 2 == 1;
      key[n * draws * num_experts + i] =
          (uniform ? 0 : score[n * num_experts + i % num_experts]) -
          static_cast<float>(std::log(-std::log(stream.open_uniform(static_cast<uint64_t>(i)))));
    }
  }
  return std::get<1>(keys_NGE.topk(model.spec().router.top_k, -1));
}

std::vector<std::vector<double>> oracle_margins(const Model& model, const Study& study, const CriticalRows& critical,
                                                const std::vector<int>& signs, std::span<const int64_t> draws,
                                                uint64_t seed) {
  const int64_t most = *std::max_element(draws.begin(), draws.end());
  const int64_t num_rows = static_cast<int64_t>(critical.rows.size());
  std::vector<std::vector<double>> margins(draws.size(), critical.margin);
  std::vector<std::vector<double>> gains(draws.size(),
                                         std::vector<double>(critical.pairs.size(), 0.0));  // fall of sigma m
  constexpr int64_t kRows = 128;
  for (int64_t begin = 0; begin < num_rows; begin += kRows) {
    std::vector<int64_t> which(static_cast<size_t>(std::min(kRows, num_rows - begin)));
    std::iota(which.begin(), which.end(), begin);
    const at::Tensor sampled =
        sample_routes(model, critical, some_rows(critical.logits_NE, which), most, true, seed, "reach/oracle", which);
    const at::Tensor all = at::cat({some_rows(critical.base_ids_NK, which).unsqueeze(1), sampled}, 1);
    const at::Tensor parts_NG = margin_parts(model, critical, all, which);
    const double* part = parts_NG.const_data_ptr<double>();
    for (size_t n = 0; n < which.size(); ++n) {
      const size_t pair = critical.rows[static_cast<size_t>(which[n])].pair;
      const int sign = signs[static_cast<size_t>(study.axis_of[static_cast<size_t>(critical.pairs[pair])])];
      const double* own = part + static_cast<int64_t>(n) * (most + 1);
      for (size_t d = 0; d < draws.size(); ++d) {
        double best = 0;
        for (int64_t g = 1; g <= draws[d]; ++g) best = std::max(best, sign * (own[0] - own[g]));
        gains[d][pair] += best;
      }
    }
  }
  for (size_t d = 0; d < draws.size(); ++d)
    for (size_t p = 0; p < critical.pairs.size(); ++p) {
      const int sign = signs[static_cast<size_t>(study.axis_of[static_cast<size_t>(critical.pairs[p])])];
      if (sign * critical.margin[p] > 0) margins[d][p] -= sign * gains[d][p];
    }
  return margins;
}

at::Tensor preference_slope(const at::Tensor& better_K, const at::Tensor& executed_K, double gain, double margin,
                            double beta, int64_t num_experts) {
  const double size = -gain * (1 - 1 / (1 + std::exp(-margin))) * beta;
  at::Tensor slope_E = at::zeros({num_experts}, at::kFloat);
  slope_E.index_add_(0, better_K, at::full({better_K.size(0)}, size, at::kFloat));
  return slope_E.index_add_(0, executed_K, at::full({executed_K.size(0)}, -size, at::kFloat));
}

TrainedRouter train_router(const ReachBatches& batches, const CriticalRows& critical, const std::vector<int>& signs,
                           const RouterTraining& how, const Progress& progress) {
  const at::NoGradGuard no_grad;
  const Model& model = batches.model();
  const Study& study = batches.study();
  const int64_t num_experts = critical.logits_NE.size(1), top_k = critical.base_ids_NK.size(1);
  const at::Tensor mean_D = critical.input_ND.mean(0), sd_D = critical.input_ND.std(0, false);
  const at::Tensor inverse_D = at::where(sd_D > 1e-6 * sd_D.max(), 1 / sd_D, at::zeros_like(sd_D));
  const at::Tensor x_ND = (critical.input_ND - mean_D) * inverse_D;
  std::vector<std::vector<int64_t>> rows_of(critical.pairs.size());
  for (size_t n = 0; n < critical.rows.size(); ++n) rows_of[critical.rows[n].pair].push_back(static_cast<int64_t>(n));

  // The change of the router on the standardised input, with a bias: [E, D + 1].
  const at::Tensor wide_ND = at::cat({x_ND, at::ones({x_ND.size(0), 1})}, 1);
  at::Tensor change = at::zeros({num_experts, wide_ND.size(1)}, at::kFloat), first = at::zeros_like(change),
             second = at::zeros_like(change);
  TrainedRouter trained;
  const int64_t per_epoch = (static_cast<int64_t>(critical.pairs.size()) + how.pairs_per_step - 1) / how.pairs_per_step;
  const int64_t total = std::max<int64_t>(1, how.epochs * per_epoch);
  int64_t step = 0, compared = 0, ordered = 0, adopted = 0;
  for (int64_t epoch = 0; epoch < how.epochs; ++epoch) {
    std::vector<size_t> order(critical.pairs.size());
    std::iota(order.begin(), order.end(), size_t{0});
    const RandomStream shuffle(how.seed, "reach/router-order", static_cast<uint32_t>(epoch));
    std::sort(order.begin(), order.end(),
              [&](size_t a, size_t b) { return std::pair(shuffle.u64(a), a) < std::pair(shuffle.u64(b), b); });
    compared = ordered = adopted = 0;
    for (int64_t begin = 0; begin < static_cast<int64_t>(order.size()); begin += how.pairs_per_step, ++step) {
      progress.check();
      std::vector<int64_t> which;
      for (int64_t i = begin; i < std::min<int64_t>(begin + how.pairs_per_step, static_cast<int64_t>(order.size()));
           ++i)
        for (const int64_t n : rows_of[order[static_cast<size_t>(i)]]) which.push_back(n);
      if (which.empty()) continue;
      const at::Tensor now_NE = some_rows(critical.logits_NE, which) + at::mm(some_rows(wide_ND, which), change.t());
      const at::Tensor executed_NK = std::get<1>(now_NE.topk(top_k, -1));
      const at::Tensor sampled = sample_routes(model, critical, now_NE, how.draws, true, how.seed,
                                               "reach/router/" + std::to_string(step), which);
      const at::Tensor all =
          at::cat({executed_NK.unsqueeze(1), some_rows(critical.base_ids_NK, which).unsqueeze(1), sampled}, 1);
      // Weights are those of the router as it is now, with the sum they had: as router_change keeps it.
      CriticalRows moved = critical;
      moved.logits_NE = critical.logits_NE.clone();
      moved.logits_NE.index_copy_(0, index_of(which), now_NE);
      const at::Tensor parts_NG = margin_parts(model, moved, all, which);
      const auto part = parts_NG.accessor<double, 2>();
      std::map<size_t, double> margin;  // of each pair, both rows on their executed route
      for (size_t n = 0; n < which.size(); ++n) {
        const size_t pair = critical.rows[static_cast<size_t>(which[n])].pair;
        margin.try_emplace(pair, critical.margin[pair]);
        // Its own base part is exact only under the base weights; the difference to them is part of what is trained.
        margin[pair] += part[static_cast<int64_t>(n)][0];
      }
      const at::Tensor base_parts =
          margin_parts(model, critical, some_rows(critical.base_ids_NK, which).unsqueeze(1), which);
      for (size_t n = 0; n < which.size(); ++n)
        margin[critical.rows[static_cast<size_t>(which[n])].pair] -=
            base_parts.accessor<double, 2>()[static_cast<int64_t>(n)][0];
      at::Tensor slope = at::zeros_like(change);
      int64_t used = 0;
      const at::Tensor gap_NE = now_NE.log_softmax(-1) - some_rows(critical.logits_NE, which).log_softmax(-1);
      for (int64_t n = 0; n < static_cast<int64_t>(which.size()); ++n) {
        const size_t pair = critical.rows[static_cast<size_t>(which[static_cast<size_t>(n)])].pair;
        const int sign = signs[static_cast<size_t>(study.axis_of[static_cast<size_t>(critical.pairs[pair])])];
        const double own = margin[pair], loss = std::max(0.0, sign * own);
        if (loss <= how.least_loss) continue;
        int64_t best = 0;
        double lowest = loss;
        for (int64_t g = 1; g < all.size(1); ++g) {
          const double other = std::max(0.0, sign * (own - part[n][0] + part[n][g]));
          if (other < lowest) lowest = other, best = g;
        }
        ++compared;
        if (best == 0) {
          ++adopted;
          continue;
        }
        const at::Tensor better_K = all[n][best], executed_K = executed_NK[n];
        const double m =
            how.beta *
            (gap_NE[n].index_select(0, better_K).sum() - gap_NE[n].index_select(0, executed_K).sum()).item<double>();
        if (m > 0) ++ordered;
        slope += at::outer(preference_slope(better_K, executed_K, loss - lowest, m, how.beta, num_experts),
                           wide_ND[which[static_cast<size_t>(n)]]);
        ++used;
      }
      if (used > 0) {
        slope = slope / static_cast<double>(used);
        const double norm = slope.norm().item<double>();
        if (norm > 1) slope = slope / norm;
        first = 0.9 * first + 0.1 * slope;
        second = 0.999 * second + 0.001 * slope * slope;
        const double n = static_cast<double>(step + 1),
                     rate = how.learning_rate * 0.5 *
                            (1 + std::cos(M_PI * static_cast<double>(step) / static_cast<double>(total)));
        change =
            change - rate * (first / (1 - std::pow(0.9, n))) / ((second / (1 - std::pow(0.999, n))).sqrt() + 1e-12);
      }
      const int64_t count = std::min(how.snapshots, total);
      if ((step + 1) * count / total != step * count / total) {
        const at::Tensor w_ED = change.narrow(1, 0, x_ND.size(1)) * inverse_D;
        trained.change_ED.push_back(w_ED);
        trained.change_E.push_back(change.select(1, x_ND.size(1)) - at::mv(w_ED, mean_D));
      }
    }
  }
  if (compared > 0) {
    trained.preference_accuracy = static_cast<double>(ordered) / static_cast<double>(compared);
    trained.adoption = static_cast<double>(adopted) / static_cast<double>(compared);
  }
  return trained;
}

Intervention router_change(const Model& model, const at::Tensor& change_ED, const at::Tensor& change_E, double scale) {
  const int64_t num_experts = change_ED.size(0), width = change_ED.size(1);
  RouterDelta delta;
  delta.keep_sum = true;
  const at::Tensor w = (change_ED * scale).contiguous(), b = (change_E * scale).contiguous();
  for (int64_t e = 0; e < num_experts; ++e) {
    const float* row = w.const_data_ptr<float>() + e * width;
    delta.inputs.emplace_back(row, row + width);
    delta.offsets.push_back(b.const_data_ptr<float>()[e]);
    delta.outputs.emplace_back(static_cast<size_t>(num_experts), 0.0);
    delta.outputs.back()[static_cast<size_t>(e)] = 1;
  }
  Intervention intervention;
  intervention.edits.push_back({std::move(delta), {model.spec().num_layers - 1}, {}});
  return intervention;
}

}  // namespace fare
