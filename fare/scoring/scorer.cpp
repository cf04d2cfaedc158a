#include "fare/scoring/scorer.h"

#include <algorithm>
#include <map>
#include <set>

#include "fare/core/error.h"
#include "fare/scoring/head.h"
#include "fare/scoring/scope.h"

namespace fare {
namespace {

// A unit's sequences under one intervention, laid out as a pack.
struct Layout {
  std::vector<int64_t> requests;   // indices into the run's requests, in prefix order
  std::vector<FedRequest> fed;
  PackedSequences packed;
};

int32_t rope_length(const Model& model, const FedRequest& fed) {
  const RopeSpec& rope = model.spec().rope;
  const int64_t length = static_cast<int64_t>(fed.ids.size());
  // Every length up to the threshold has the same frequencies and may share rows.
  return rope.depends_on_length() ? static_cast<int32_t>(std::max(length, rope.length_threshold())) : 0;
}

Layout lay_out(const Model& model, std::span<const Request> all, std::vector<int64_t> requests,
               const std::vector<FedRequest>& fed, const Intervention* intervention, bool share) {
  std::vector<std::vector<uint32_t>> marks(requests.size());
  std::vector<Sequence> sequences(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    const size_t r = static_cast<size_t>(requests[i]);
    if (intervention != nullptr) marks[i] = sharing_marks(*intervention, all[r], fed[r], requests[i]);
    sequences[i] = {fed[r].ids, marks[i], rope_length(model, fed[r])};
  }
  const std::vector<int64_t> order = prefix_order(sequences);
  Layout layout;
  std::vector<Sequence> ordered;
  for (const int64_t i : order) {
    layout.requests.push_back(requests[static_cast<size_t>(i)]);
    layout.fed.push_back(fed[static_cast<size_t>(layout.requests.back())]);
    ordered.push_back(sequences[static_cast<size_t>(i)]);
  }
  layout.packed = pack_sequences(ordered, share);
  return layout;
}

std::vector<Score> read_scores(const Model& model, const at::Tensor& h_TD, std::span<const Request> all,
                               const Layout& layout) {
  std::vector<Target> targets;
  for (size_t i = 0; i < layout.requests.size(); ++i) {
    const auto& continuation = all[static_cast<size_t>(layout.requests[i])].continuation;
    const size_t first = static_cast<size_t>(layout.fed[i].num_context) - 1;
    for (size_t j = 0; j < continuation.size(); ++j)
      targets.push_back({layout.packed.rows[i][first + j], continuation[j]});
  }
  const std::vector<TargetResult> results = read_targets(model, h_TD, targets);
  std::vector<Score> scores(layout.requests.size());
  size_t next = 0;
  for (size_t i = 0; i < layout.requests.size(); ++i) {
    Score& score = scores[i];
    score.is_greedy = true;
    score.context_tokens = layout.fed[i].num_context;
    score.truncated_tokens = layout.fed[i].truncated;
    const size_t count = all[static_cast<size_t>(layout.requests[i])].continuation.size();
    for (size_t j = 0; j < count; ++j, ++next) {
      score.token_logprobs_nats.push_back(results[next].logprob_nats);
      score.logprob_nats += results[next].logprob_nats;
      score.is_greedy = score.is_greedy && results[next].is_argmax;
    }
  }
  return scores;
}

}  // namespace

Scorer::Scorer(const Model& model, ScorerOptions options)
    : model_(model),
      options_(options),
      max_length_(options.max_length > 0 ? options.max_length : model.spec().max_positions) {}

std::vector<std::vector<int64_t>> Scorer::units(std::span<const Request> requests) const {
  std::vector<FedRequest> fed;
  std::vector<Sequence> sequences;
  fed.reserve(requests.size());
  for (const Request& request : requests) {
    fed.push_back(fed_part(request, max_length_, model_.spec().vocab_size));
    sequences.push_back({fed.back().ids, {}, rope_length(model_, fed.back())});
  }
  std::vector<std::vector<int64_t>> units;
  int64_t rows = 0;
  const Sequence* previous = nullptr;
  for (const int64_t i : prefix_order(sequences)) {
    const Sequence& sequence = sequences[static_cast<size_t>(i)];
    const int64_t length = static_cast<int64_t>(sequence.ids.size());
    int64_t own = length - (previous != nullptr && options_.share_prefixes ? shared_prefix(*previous, sequence) : 0);
    if (units.empty() || rows + own > options_.unit_rows) {
      units.emplace_back();
      rows = 0;
      own = length;  // a new unit starts without anything to share
    }
    units.back().push_back(i);
    rows += own;
    previous = &sequence;
  }
  return units;
}

ScorerResult Scorer::run(std::span<const Request> requests, std::span<const Intervention* const> interventions,
                         const UnitObserver& observer, const Progress& progress) const {
  const RoutedModel routed = model_.routed();
  std::vector<int64_t> first_layer;  // of each intervention; num_layers when nothing is edited
  for (const Intervention* intervention : interventions) {
    intervention->check(routed);
    const int64_t first = intervention->first_layer(routed);
    first_layer.push_back(first < 0 ? model_.spec().num_layers : first);
  }
  std::vector<FedRequest> fed;
  for (const Request& request : requests) fed.push_back(fed_part(request, max_length_, model_.spec().vocab_size));

  ScorerResult result;
  if (options_.base_run) result.base.scores.resize(requests.size());
  result.edited.resize(interventions.size());
  for (RunResult& run : result.edited) run.scores.resize(requests.size());

  const auto all_units = units(requests);
  const int64_t total = static_cast<int64_t>(all_units.size()) *
                        (static_cast<int64_t>(interventions.size()) + (options_.base_run ? 1 : 0));
  int64_t finished = 0;
  for (const std::vector<int64_t>& unit : all_units) {
    const Layout shared = lay_out(model_, requests, unit, fed, nullptr, options_.share_prefixes);
    std::map<int64_t, at::Tensor> inputs;  // residual streams to resume from, of the shared layout
    std::set<int64_t> wanted;
    bool base_needed = options_.base_run;
    for (size_t i = 0; i < interventions.size(); ++i) {
      if (options_.resume && !interventions[i]->depends_on_request() && first_layer[i] > 0) {
        wanted.insert(first_layer[i]);
        // Resuming pays as soon as two interventions start above the same layer, or the base is run anyway.
        base_needed = base_needed || interventions.size() > 1;
      }
    }

    const auto run_one = [&](int64_t index, const Layout& layout, bool keep_inputs) {
      progress.check();
      const Intervention* intervention = index < 0 ? nullptr : interventions[static_cast<size_t>(index)];
      RunResult* run = index < 0 ? (options_.base_run ? &result.base : nullptr) : &result.edited[static_cast<size_t>(index)];
      UnitRun view;
      view.intervention = index;
      view.requests = layout.requests;
      view.fed = &layout.fed;
      view.packed = &layout.packed;
      if (run != nullptr && observer.skip && observer.skip(view)) {
        // The base may still be needed to resume from.
        progress("scoring", ++finished, total);
        if (!keep_inputs || wanted.empty()) return;
        run = nullptr;
      }
      const bool watched = run != nullptr;
      if (watched && observer.begin) observer.begin(view);

      LayerEdits edits;
      ForwardOptions options;
      Receipt unit_receipt;
      std::vector<Request> unit_requests;
      if (intervention != nullptr) {
        for (const int64_t r : layout.requests) unit_requests.push_back(requests[static_cast<size_t>(r)]);
        edits = scoped_edits(*intervention, routed, unit_requests, layout.requests, layout.fed, layout.packed);
        options.edits = &edits;
      }
      if (run != nullptr) options.receipt = &unit_receipt;
      if (watched) options.on_decision = observer.on_decision;
      options.tap = [&](Site site, int64_t layer, const at::Tensor& value) {
        if (keep_inputs && site == Site::kLayerInput && wanted.contains(layer)) inputs[layer] = value;
        if (watched && observer.tap) observer.tap(site, layer, value);
      };
      // An observer expects to see every layer, so a watched run starts from the bottom.
      const bool observed = observer.on_decision || observer.tap;
      if (intervention != nullptr && !observed) {
        const auto found = inputs.find(first_layer[static_cast<size_t>(index)]);
        if (found != inputs.end() && &layout == &shared) {
          options.first_layer = found->first;
          options.h_TD = found->second;
        }
      }
      at::Tensor h_TD;
      if (options.first_layer == 0 && intervention != nullptr && !observed && &layout == &shared &&
          first_layer[static_cast<size_t>(index)] >= model_.spec().num_layers && inputs.contains(model_.spec().num_layers)) {
        h_TD = inputs.at(model_.spec().num_layers);  // nothing is edited
      } else {
        h_TD = forward(model_, layout.packed.pack, options);
        result.rows_computed += layout.packed.pack.num_rows() * (model_.spec().num_layers - options.first_layer);
      }
      if (keep_inputs && wanted.contains(model_.spec().num_layers)) inputs[model_.spec().num_layers] = h_TD;
      if (run == nullptr) return;
      if (intervention != nullptr) recount_scope(*intervention, unit_requests, layout.fed, 1, unit_receipt);
      run->receipt += unit_receipt;
      const std::vector<Score> scores = read_scores(model_, h_TD, requests, layout);
      for (size_t i = 0; i < layout.requests.size(); ++i) {
        run->scores[static_cast<size_t>(layout.requests[i])] = scores[i];
        run->receipt.tokens += static_cast<int64_t>(layout.fed[i].ids.size());
        result.rows_fed += static_cast<int64_t>(layout.fed[i].ids.size()) * model_.spec().num_layers;
      }
      view.scores = scores;
      view.h_TD = &h_TD;
      if (observer.done) observer.done(view);
      progress("scoring", ++finished, total);
    };

    if (base_needed) run_one(-1, shared, options_.resume);
    for (size_t i = 0; i < interventions.size(); ++i) {
      bool separate = interventions[i]->depends_on_request();
      for (const Edit& edit : interventions[i]->edits) separate = separate || std::holds_alternative<ForceRoutes>(edit.op);
      if (separate) {
        run_one(static_cast<int64_t>(i),
                lay_out(model_, requests, unit, fed, interventions[i], options_.share_prefixes), false);
      } else {
        run_one(static_cast<int64_t>(i), shared, false);
      }
    }
  }
  return result;
}

}  // namespace fare
