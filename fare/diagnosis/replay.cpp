#include "fare/diagnosis/replay.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <set>

#include "fare/diagnosis/item_outcomes.h"
#include "fare/diagnosis/neutral_text.h"
#include "fare/diagnosis/routing_distance.h"
#include "fare/models/side_by_side.h"

namespace fare {
namespace {

constexpr int64_t kBatchTokens = 8192;  // fed tokens of one batch, prefix sharing not deducted
constexpr int32_t kFollowing = 8;       // fed tokens after a demographic one that a conditional mask still reaches

// One item and where its outcome goes.
struct Slot {
  const EncodedPair* pair = nullptr;
  const EncodedUtility* utility = nullptr;
  size_t place = 0;

  std::vector<const Request*> requests() const {
    if (pair != nullptr) return {&pair->stereo, &pair->anti};
    std::vector<const Request*> list;
    for (const Request& choice : utility->choices) list.push_back(&choice);
    return list;
  }
};

std::vector<std::vector<Slot>> batches_of(const Study& study, const Items& items) {
  std::vector<Slot> slots;
  for (size_t i = 0; i < items.pairs.size(); ++i)
    slots.push_back({.pair = &study.pairs[static_cast<size_t>(items.pairs[i])], .place = i});
  for (size_t i = 0; i < items.utility.size(); ++i)
    slots.push_back({.utility = &study.utility[static_cast<size_t>(items.utility[i])], .place = i});
  std::stable_sort(slots.begin(), slots.end(), [](const Slot& a, const Slot& b) {
    const Request &x = *a.requests().front(), &y = *b.requests().front();
    return std::tie(x.context, x.continuation) < std::tie(y.context, y.continuation);
  });
  std::vector<std::vector<Slot>> batches;
  int64_t tokens = kBatchTokens;
  for (const Slot& slot : slots) {
    int64_t own = 0;
    for (const Request* request : slot.requests())
      own += static_cast<int64_t>(request->context.size() + request->continuation.size()) - 1;
    if (tokens + own > kBatchTokens) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(slot);
    tokens += own;
  }
  return batches;
}

Outcomes empty_outcomes(const Items& items) {
  Outcomes outcomes;
  outcomes.pairs.resize(items.pairs.size());
  outcomes.utility.resize(items.utility.size());
  return outcomes;
}

// Reads the head once and fills the outcomes of a batch.
void read_outcomes(const Model& model, const TextPack& text, const at::Tensor& h_TD, std::span<const Slot> batch,
                   Outcomes& out) {
  const std::vector<TargetResult> results = read_targets(model, h_TD, text.targets);
  size_t next = 0;
  const auto logprobs_of = [&](const Request& request) {
    std::vector<double> logprobs;
    for (size_t j = 0; j < request.continuation.size(); ++j) logprobs.push_back(results[next++].logprob_nats);
    return logprobs;
  };
  for (const Slot& slot : batch) {
    if (slot.pair != nullptr) {
      const std::vector<double> stereo = logprobs_of(slot.pair->stereo), anti = logprobs_of(slot.pair->anti);
      out.pairs[slot.place] = margins_of(*slot.pair, stereo, anti);
      continue;
    }
    std::vector<double> totals;
    for (const Request& choice : slot.utility->choices) {
      double total = 0;
      for (const double one : logprobs_of(choice)) total += one;
      totals.push_back(total);
    }
    out.utility[slot.place] = utility_outcome(slot.utility->item, totals);
  }
}

LayerEdits edits_of(const Intervention& mask, const std::vector<uint8_t>& scope_T = {}) {
  LayerEdits edits;
  for (const Edit& edit : mask.edits)
    for (const int64_t layer : edit.layers) edits[layer].push_back({&edit, scope_T, {}});
  return edits;
}

std::vector<uint8_t> near_demographic(const TextPack& text, const std::vector<int32_t>& tokens) {
  const std::set<int32_t> wanted(tokens.begin(), tokens.end());
  std::vector<uint8_t> scope_T(static_cast<size_t>(text.packed.pack.num_rows()), 0);
  for (size_t i = 0; i < text.fed.size(); ++i) {
    int32_t left = 0;
    for (size_t p = 0; p < text.fed[i].ids.size(); ++p) {
      left = wanted.contains(text.fed[i].ids[p]) ? kFollowing + 1 : left - 1;
      if (left > 0) scope_T[static_cast<size_t>(text.packed.rows[i][p])] = 1;
    }
  }
  return scope_T;
}

// Routing change of one task, summed over batches.
struct ChangeSums {
  double rows = 0, js = 0, set_distance = 0, changed = 0;
  std::vector<double> load_base, load_masked;
};

double normalised_entropy(const std::vector<double>& counts) {
  double total = 0, entropy = 0;
  for (const double count : counts) total += count;
  for (const double count : counts)
    if (count > 0) entropy -= count / total * std::log(count / total);
  return entropy / std::log(static_cast<double>(std::max<size_t>(counts.size(), 2)));
}

void add_change(ChangeSums& sums, const at::Tensor& base_TE, const Route& base, const at::Tensor& masked_TE,
                const Route& masked, const std::vector<int32_t>& times) {
  const int64_t num_experts = base_TE.size(1), k = base.ids_TK.size(1);
  sums.load_base.resize(static_cast<size_t>(num_experts));
  sums.load_masked.resize(static_cast<size_t>(num_experts));
  const float *z = base_TE.const_data_ptr<float>(), *z_masked = masked_TE.const_data_ptr<float>();
  const int32_t *ids = base.ids_TK.const_data_ptr<int32_t>(), *ids_masked = masked.ids_TK.const_data_ptr<int32_t>();
  for (size_t t = 0; t < times.size(); ++t) {
    const double n = times[t];
    const auto row = static_cast<int64_t>(t);
    sums.rows += n;
    sums.js += n * router_divergence_bits(z + row * num_experts, z_masked + row * num_experts, num_experts);
    std::set<int32_t> a(ids + row * k, ids + (row + 1) * k), b(ids_masked + row * k, ids_masked + (row + 1) * k);
    int64_t common = 0;
    for (const int32_t e : a) {
      common += b.contains(e);
      sums.load_base[static_cast<size_t>(e)] += n;
    }
    for (const int32_t e : b) sums.load_masked[static_cast<size_t>(e)] += n;
    const auto either = static_cast<double>(static_cast<int64_t>(a.size() + b.size()) - common);
    sums.set_distance += n * (1 - static_cast<double>(common) / either);
    sums.changed += n * (a != b);
  }
}

// What the base run of a batch leaves to its replays.
struct Kept {
  std::map<int64_t, at::Tensor> input_TD;   // before the layers that tasks start at
  std::map<int64_t, at::Tensor> logits_TE;  // every MoE layer
  std::map<int64_t, Route> routes;
};

}  // namespace

std::vector<ReplayResult> compute_replay(Measurer& measurer, const Items& items, std::span<const ReplayTask> tasks,
                                         const ReplayOptions& options) {
  const Study& study = measurer.study();
  const Model& model = measurer.scorer().model();
  std::vector<ReplayResult> results(tasks.size());
  std::vector<Intervention> masks;
  std::vector<StandIns> stand_ins(tasks.size());
  std::vector<int64_t> first(tasks.size());
  std::vector<std::map<int64_t, ChangeSums>> changes(tasks.size());
  std::optional<NeutralText> neutral;
  for (size_t i = 0; i < tasks.size(); ++i) {
    masks.push_back(mask_intervention(tasks[i].group, "replay"));
    first[i] = masks[i].first_layer(measurer.model());
    results[i].total = empty_outcomes(items);
    if (tasks[i].kind == ReplayKind::kRefill) results[i].direct = results[i].routing_only = empty_outcomes(items);
    if (tasks[i].kind != ReplayKind::kMean && tasks[i].kind != ReplayKind::kResample) continue;
    if (!neutral) neutral.emplace(measurer, options.neutral_tokens);
    stand_ins[i] = neutral->stand_ins(tasks[i].group, tasks[i].kind == ReplayKind::kMean, options.seed);
  }
  neutral.reset();
  const std::set<int64_t> starts(first.begin(), first.end());

  const auto batches = batches_of(study, items);
  std::mutex telling;
  int64_t done = 0;
  const auto tell = [&] {
    const std::lock_guard lock(telling);
    measurer.progress()("replayed routes", ++done, static_cast<int64_t>(batches.size() * tasks.size()));
  };
  for (const std::vector<Slot>& batch : batches) {
    std::vector<const Request*> requests;
    for (const Slot& slot : batch)
      for (const Request* request : slot.requests()) requests.push_back(request);
    const TextPack text = pack_texts(measurer.scorer(), requests, true);
    const Pack& pack = text.packed.pack;
    Kept kept;
    PassOptions base;
    base.tap = [&](Site site, int64_t layer, const at::Tensor& value) {
      if (site == Site::kLayerInput && starts.contains(layer)) kept.input_TD[layer] = value;
    };
    base.on_decision = [&](int64_t layer, const at::Tensor& logits_TE, const Decision& decision) {
      kept.logits_TE[layer] = logits_TE;
      kept.routes[layer] = decision.after;
    };
    replay_pass(model, pack, base);
    std::atomic<int64_t> layers{0};
    side_by_side(model.spec(), static_cast<int64_t>(tasks.size()), [&](int64_t number) {
      measurer.progress().check();
      const size_t i = static_cast<size_t>(number);
      const ReplayTask& task = tasks[i];
      PassOptions pass;
      pass.first_layer = first[i];
      pass.start_TD = kept.input_TD.at(first[i]);
      LayerEdits edits;
      if (task.kind == ReplayKind::kRefill) edits = edits_of(masks[i]);
      if (task.kind == ReplayKind::kConditional)
        edits = edits_of(masks[i], near_demographic(text, options.demographic_tokens));
      if (!stand_ins[i].outputs_ND.empty()) pass.stand_ins = &stand_ins[i];
      pass.edits = &edits;
      std::map<int64_t, at::Tensor> masked_TE;
      pass.on_decision = [&](int64_t layer, const at::Tensor& logits_TE, const Decision& decision) {
        masked_TE[layer] = logits_TE;
        if (task.kind == ReplayKind::kRefill && layer > first[i])
          add_change(changes[i][layer], kept.logits_TE.at(layer), kept.routes.at(layer), logits_TE, decision.after,
                     pack.multiplicity);
      };
      read_outcomes(model, text, replay_pass(model, pack, pass), batch, results[i].total);
      layers += (task.kind == ReplayKind::kRefill ? 3 : 1) * (model.spec().num_layers - first[i]);
      if (task.kind != ReplayKind::kRefill) return tell();
      pass.on_decision = {};
      pass.logits_TE = &kept.logits_TE;
      read_outcomes(model, text, replay_pass(model, pack, pass), batch, *results[i].direct);
      pass.logits_TE = &masked_TE;
      pass.edits = nullptr;
      read_outcomes(model, text, replay_pass(model, pack, pass), batch, *results[i].routing_only);
      tell();
    });
    measurer.count_rows((model.spec().num_layers + layers) * pack.num_rows());
  }
  for (size_t i = 0; i < tasks.size(); ++i)
    for (const auto& [layer, sums] : changes[i])
      results[i].later.push_back({layer, sums.js / sums.rows, sums.set_distance / sums.rows, sums.changed / sums.rows,
                                  normalised_entropy(sums.load_base), normalised_entropy(sums.load_masked)});
  return results;
}

Outcomes pass_outcomes(const Measurer& measurer, const Items& items, const PassOptions& pass) {
  const auto batches = batches_of(measurer.study(), items);
  Outcomes outcomes = empty_outcomes(items);
  side_by_side(measurer.scorer().model().spec(), static_cast<int64_t>(batches.size()), [&](int64_t b) {
    measurer.progress().check();
    const std::vector<Slot>& batch = batches[static_cast<size_t>(b)];
    std::vector<const Request*> requests;
    for (const Slot& slot : batch)
      for (const Request* request : slot.requests()) requests.push_back(request);
    const TextPack text = pack_texts(measurer.scorer(), requests, true);
    read_outcomes(measurer.scorer().model(), text, replay_pass(measurer.scorer().model(), text.packed.pack, pass),
                  batch, outcomes);
  });
  return outcomes;
}

std::vector<std::optional<double>> compute_stand_in_doses(const Measurer& measurer, std::span<const ReplayTask> tasks,
                                                          const ReplayOptions& options) {
  std::vector<std::optional<double>> doses(tasks.size());
  std::optional<NeutralText> neutral;
  for (size_t i = 0; i < tasks.size(); ++i) {
    if (tasks[i].kind != ReplayKind::kMean && tasks[i].kind != ReplayKind::kResample) continue;
    measurer.progress().check();
    if (!neutral) neutral.emplace(measurer, options.neutral_tokens);
    const StandIns stand_ins = neutral->stand_ins(tasks[i].group, tasks[i].kind == ReplayKind::kMean, options.seed);
    PassOptions pass;
    pass.stand_ins = &stand_ins;
    const at::Tensor h_TD = replay_pass(measurer.scorer().model(), neutral->pack(), pass);
    doses[i] = neutral->kl_nats(neutral->base_TD(), h_TD);
  }
  return doses;
}

std::vector<int32_t> demographic_tokens(const Measurer& measurer, std::span<const int64_t> pairs) {
  const Scorer& scorer = measurer.scorer();
  std::set<int32_t> tokens;
  for (const int64_t i : pairs) {
    const EncodedPair& pair = measurer.study().pairs[static_cast<size_t>(i)];
    for (const auto& [request, positions] : {std::pair{&pair.stereo, &pair.alignment.differs_stereo},
                                             std::pair{&pair.anti, &pair.alignment.differs_anti}}) {
      const FedRequest fed = fed_part(*request, scorer.max_length(), scorer.model().spec().vocab_size);
      for (const int32_t p : *positions) tokens.insert(fed.ids[static_cast<size_t>(p)]);
    }
  }
  return {tokens.begin(), tokens.end()};
}

}  // namespace fare
