#include "fare/scoring/scorer.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <memory>
#include <mutex>

#include <fmt/format.h>

#include "fare/core/error.h"
#include "fare/models/run_record.h"
#include "fare/models/side_by_side.h"
#include "fare/scoring/head.h"
#include "fare/scoring/scope.h"

namespace fare {
namespace {

// A unit's sequences under one intervention, laid out as a pack.
struct Layout {
  std::vector<int64_t> requests;  // indices into the run's requests, in prefix order
  std::vector<Request> copies;    // of them
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
    layout.copies.push_back(all[static_cast<size_t>(layout.requests.back())]);
    layout.fed.push_back(fed[static_cast<size_t>(layout.requests.back())]);
    ordered.push_back(sequences[static_cast<size_t>(i)]);
  }
  layout.packed = pack_sequences(ordered, share);
  return layout;
}

// One per continuation token, request by request.
std::vector<Target> targets_of(std::span<const Request> all, const Layout& layout) {
  std::vector<Target> targets;
  for (size_t i = 0; i < layout.requests.size(); ++i) {
    const auto& continuation = all[static_cast<size_t>(layout.requests[i])].continuation;
    const size_t first = static_cast<size_t>(layout.fed[i].num_context) - 1;
    for (size_t j = 0; j < continuation.size(); ++j)
      targets.push_back({layout.packed.rows[i][first + j], continuation[j]});
  }
  return targets;
}

std::vector<Score> scores_of(std::span<const Request> all, const Layout& layout,
                             std::span<const TargetResult> results) {
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

// For each of `changed`: `base` with the targets on its changed rows read anew, those of all together.
std::vector<std::vector<TargetResult>> reread(const Model& model, std::span<const Target> targets,
                                              const std::vector<TargetResult>& base,
                                              std::span<const ChangedRows> changed) {
  std::vector<std::vector<TargetResult>> results(changed.size(), base);
  std::vector<Target> again;
  std::vector<TargetResult*> place;
  std::vector<at::Tensor> parts;
  int64_t first = 0;
  for (size_t c = 0; c < changed.size(); ++c) {
    const std::vector<int32_t>& rows = changed[c].rows;
    if (rows.empty()) continue;
    for (size_t i = 0; i < targets.size(); ++i) {
      const auto found = std::lower_bound(rows.begin(), rows.end(), targets[i].row);
      if (found == rows.end() || *found != targets[i].row) continue;
      again.push_back({static_cast<int32_t>(first + (found - rows.begin())), targets[i].token});
      place.push_back(&results[c][i]);
    }
    parts.push_back(changed[c].h_AD);
    first += static_cast<int64_t>(rows.size());
  }
  if (again.empty()) return results;
  const std::vector<TargetResult> read = read_targets(model, parts.size() == 1 ? parts.front() : at::cat(parts), again);
  for (size_t i = 0; i < place.size(); ++i) *place[i] = read[i];
  return results;
}

// Rows of the intervention's requests cannot be laid out as those of the base run.
bool needs_own_layout(const Intervention& intervention) {
  for (const Edit& edit : intervention.edits)
    if (std::holds_alternative<ForceRoutes>(edit.op)) return true;
  return intervention.depends_on_request();
}

// Layers that interventions in the base run's layout edit.
std::vector<bool> edited_layers(const Model& model, std::span<const Intervention* const> interventions) {
  const DecoderSpec& spec = model.spec();
  std::vector<bool> edited(static_cast<size_t>(spec.num_layers), false);
  for (const Intervention* intervention : interventions) {
    if (needs_own_layout(*intervention)) continue;
    for (const Edit& edit : intervention->edits)
      for (const int64_t l : spec.moe_layers())
        if (edit.touches(l)) edited[static_cast<size_t>(l)] = true;
  }
  return edited;
}

// What of a unit's record stays in memory. The lowest layers go first, since the fewest interventions start there.
struct RecordPlan {
  int64_t mb_needed = 0;     // 2^20 bytes of all of it
  int64_t mb_least = 0;      // of the highest edited layer's part
  std::vector<bool> within;  // edited layers that can be recorded in memory alone, without those below
  std::vector<bool> beyond;  // layers whose part must lie elsewhere if all edited layers are recorded
  int64_t beyond_bytes = 0;  // of their part, in a scratch file
};

RecordPlan plan_record(const DecoderSpec& spec, const std::vector<bool>& edited, int64_t num_rows, int64_t cache_mb) {
  const int64_t allowed = cache_mb << 20;
  const auto megabytes = [&](const std::vector<bool>& layers) {
    return (RunRecord::bytes(spec, layers, num_rows) + (1 << 20) - 1) >> 20;
  };
  std::vector<bool> highest(edited.size(), false);
  if (const auto last = std::find(edited.rbegin(), edited.rend(), true); last != edited.rend())
    highest[static_cast<size_t>(edited.rend() - last) - 1] = true;
  RecordPlan plan{megabytes(edited), megabytes(highest), edited, std::vector<bool>(edited.size(), false)};
  for (size_t l = 0; l < edited.size() && RunRecord::bytes(spec, plan.within, num_rows) > allowed; ++l)
    plan.within[l] = false;
  if (plan.within == edited) return plan;
  int64_t in_memory = RunRecord::bytes(spec, edited, num_rows);
  for (int64_t l = 0; l < spec.num_layers && in_memory > allowed; ++l) {
    const int64_t bytes = RunRecord::layer_bytes(spec, edited, l, num_rows);
    if (bytes == 0) continue;
    plan.beyond[static_cast<size_t>(l)] = true;
    plan.beyond_bytes += bytes + RunRecord::kTensorsOfALayer * ScratchFile::room_for(1);
    in_memory -= bytes;
  }
  return plan;
}

// Edited passes that enter forward_changed together: the larger number where such groups run in turn.
constexpr size_t kEditsTogether = 32, kEditsSideBySide = 8;

// What an observer is shown of a pass, held back until the pass came to its end where it may be broken off for lack of
// memory and made again in parts.
class Shown {
 public:
  Shown(const UnitObserver& observer, bool held) : observer_(observer), held_(held) {}
  void show(std::function<void()> event) {
    if (held_) events_.push_back(std::move(event));
    else event();
  }
  void watch(ForwardOptions& options) {
    if (observer_.on_decision)
      options.on_decision = [this](int64_t layer, const at::Tensor& logits_TE, const Decision& decision) {
        if (held_)
          events_.push_back([this, layer, logits_TE, decision] { observer_.on_decision(layer, logits_TE, decision); });
        else observer_.on_decision(layer, logits_TE, decision);
      };
    if (observer_.tap)
      options.tap = [this](Site site, int64_t layer, const at::Tensor& value) {
        show([this, site, layer, value] { observer_.tap(site, layer, value); });
      };
  }
  void release() {
    for (const auto& event : events_) event();
    events_.clear();
  }

 private:
  const UnitObserver& observer_;
  bool held_;
  std::vector<std::function<void()>> events_;
};

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

  const bool observed = observer.on_decision || observer.tap;  // such an observer expects to see every row and layer
  const bool recording =
      options_.resume && !observed && (options_.base_run ? !interventions.empty() : interventions.size() > 1);
  const std::vector<bool> edited = recording ? edited_layers(model_, interventions)
                                             : std::vector<bool>(static_cast<size_t>(model_.spec().num_layers), false);
  const auto all_units = units(requests);
  const int64_t runs = static_cast<int64_t>(interventions.size()) + (options_.base_run ? 1 : 0);
  int64_t total = static_cast<int64_t>(all_units.size()) * runs, finished = 0;
  const bool may_lack_memory = !model_.execution().devices.front().is_cpu();
  int64_t most_rows = std::numeric_limits<int64_t>::max();  // that the device has memory for, as far as is known
  // Notes what did not fit, when it can be divided.
  const auto note = [&](const Layout& layout) {
    const int64_t rows = layout.packed.pack.num_rows();
    if (layout.requests.size() < 2)
      throw Error(fmt::format(
          "{} has no memory for request '{}' of {} tokens beside the weights; take a larger device, more of them, "
          "or --dtype bf16",
          devices_text(model_.execution().devices), layout.copies.front().id, rows));
    most_rows = std::min(most_rows, rows - 1);
    if (result.memory_problem.empty())
      result.memory_problem =
          fmt::format("{} has no memory for a unit of {} rows: computed in parts (--unit-rows {} would not try)",
                      devices_text(model_.execution().devices), rows, std::max<int64_t>(1, rows / 2));
  };
  const auto halves = [](const std::vector<int64_t>& whole) {
    const auto middle = whole.begin() + static_cast<int64_t>(whole.size() / 2);
    return std::pair(std::vector<int64_t>(whole.begin(), middle), std::vector<int64_t>(middle, whole.end()));
  };
  std::deque<std::vector<int64_t>> waiting(all_units.begin(), all_units.end());
  while (!waiting.empty()) {
    const std::vector<int64_t> unit = std::move(waiting.front());
    waiting.pop_front();
    const Layout shared = lay_out(model_, requests, unit, fed, nullptr, options_.share_prefixes);
    const auto divide_unit = [&] {
      auto [first, second] = halves(shared.requests);
      waiting.push_front(std::move(second));
      waiting.push_front(std::move(first));
      total += runs;
    };
    if (shared.packed.pack.num_rows() > most_rows && shared.requests.size() > 1) {
      divide_unit();
      continue;
    }
    const std::vector<Target> targets = targets_of(requests, shared);
    const RecordPlan plan = plan_record(model_.spec(), edited, shared.packed.pack.num_rows(), options_.cache_mb);
    if (recording) {
      result.cache_mb_needed = std::max(result.cache_mb_needed, plan.mb_needed);
      result.cache_mb_least = std::max(result.cache_mb_least, plan.mb_least);
    }
    std::unique_ptr<ScratchFile> scratch;
    if (plan.beyond_bytes > 0 && !options_.scratch.empty() && result.scratch_problem.empty()) {
      try {
        scratch = std::make_unique<ScratchFile>(options_.scratch, plan.beyond_bytes);
      } catch (const IoError& error) {
        result.scratch_problem = error.what();
      }
    }
    RunRecord record = scratch ? RunRecord(edited, plan.beyond, scratch.get()) : RunRecord(plan.within);
    std::vector<TargetResult> base_results;  // of `targets`; empty until the base run was computed

    const auto run_result = [&](int64_t index) -> RunResult* {
      if (index >= 0) return &result.edited[static_cast<size_t>(index)];
      return options_.base_run ? &result.base : nullptr;
    };
    const auto view_of = [](int64_t index, const Layout& layout) {
      return UnitRun{index, layout.requests, &layout.fed, &layout.packed, {}};
    };
    const auto edits_of = [&](int64_t index, const Layout& layout) {
      return scoped_edits(*interventions[static_cast<size_t>(index)], routed, layout.copies, layout.requests,
                          layout.fed, layout.packed);
    };
    const auto finish = [&](int64_t index, const Layout& layout, Receipt& unit_receipt,
                            std::span<const TargetResult> results) {
      RunResult& run = *run_result(index);
      if (index >= 0)
        recount_scope(*interventions[static_cast<size_t>(index)], layout.copies, layout.fed, 1, unit_receipt);
      run.receipt += unit_receipt;
      const std::vector<Score> scores = scores_of(requests, layout, results);
      for (size_t i = 0; i < layout.requests.size(); ++i) {
        run.scores[static_cast<size_t>(layout.requests[i])] = scores[i];
        run.receipt.tokens += static_cast<int64_t>(layout.fed[i].ids.size());
        result.rows_fed += static_cast<int64_t>(layout.fed[i].ids.size()) * model_.spec().num_layers;
      }
      UnitRun view = view_of(index, layout);
      view.scores = scores;
      if (observer.done) observer.done(view);
      progress("scoring", ++finished, total);
    };
    // From the bottom.
    const auto run_at_once = [&](int64_t index, const Layout& layout, bool skipped) {
      progress.check();
      const bool wanted = !skipped && run_result(index) != nullptr;
      Shown shown(observer, may_lack_memory);
      if (wanted && observer.begin) shown.show([&] { observer.begin(view_of(index, layout)); });
      LayerEdits edits;
      Receipt unit_receipt;
      ForwardOptions options;
      if (index >= 0) {
        edits = edits_of(index, layout);
        options.edits = &edits;
      } else if (recording) {
        options.record = &record;
      }
      if (wanted) {
        options.receipt = &unit_receipt;
        shown.watch(options);
      }
      const at::Tensor h_TD = forward(model_, layout.packed.pack, options);
      result.rows_computed += layout.packed.pack.num_rows() * model_.spec().num_layers;
      const std::vector<TargetResult> results =
          read_targets(model_, h_TD, &layout == &shared ? targets : targets_of(requests, layout));
      shown.release();
      if (index < 0) base_results = results;
      if (wanted) finish(index, layout, unit_receipt, results);
    };
    // False where the device has no memory for the base run.
    const std::function<bool(int64_t, const Layout&, bool)> run_whole = [&](int64_t index, const Layout& layout,
                                                                            bool skipped) {
      try {
        run_at_once(index, layout, skipped);
        return true;
      } catch (const c10::OutOfMemoryError&) {
        if (!may_lack_memory) throw;
        note(layout);
      }
      if (index < 0) return false;
      const auto [first, second] = halves(layout.requests);
      const Intervention& intervention = *interventions[static_cast<size_t>(index)];
      for (const auto& half : {first, second})
        run_whole(index,
                  lay_out(model_, requests, half, fed, needs_own_layout(intervention) ? &intervention : nullptr,
                          options_.share_prefixes),
                  skipped);
      ++total;
      return true;
    };
    // From the record. Gives those that the device had no memory for. Groups run at once where nobody watches.
    std::mutex finishing;
    const auto run_changes = [&](std::span<const int64_t> group) {
      progress.check();
      std::vector<int64_t> left(group.begin(), group.end());
      std::vector<LayerEdits> edits(group.size());
      std::vector<Receipt> receipts(group.size());
      std::vector<EditedPass> passes;
      for (size_t i = 0; i < group.size(); ++i) {
        if (observer.begin && !may_lack_memory) observer.begin(view_of(group[i], shared));
        edits[i] = edits_of(group[i], shared);
        passes.push_back({&edits[i], &receipts[i]});
      }
      const PassesDone done = [&](std::span<const size_t> which, std::span<const ChangedRows> changed) {
        const auto results = reread(model_, targets, base_results, changed);
        const std::lock_guard lock(finishing);
        for (size_t i = 0; i < which.size(); ++i) {
          const int64_t index = group[which[i]];
          if (observer.begin && may_lack_memory) observer.begin(view_of(index, shared));
          result.rows_computed += changed[i].row_layers;
          finish(index, shared, receipts[which[i]], results[i]);
          std::erase(left, index);
        }
      };
      try {
        forward_changed(model_, shared.packed.pack, record, passes, options_.unit_rows, done);
      } catch (const c10::OutOfMemoryError&) {
        if (!may_lack_memory) throw;
      }
      return left;
    };

    // What a continued run has stored is left out; the record is made as long as one run starts from it.
    const auto skip = [&](int64_t index, const Layout& layout) {
      const bool skipped = observer.skip && observer.skip(view_of(index, layout));
      if (skipped) progress("scoring", ++finished, total);
      return skipped;
    };
    const bool base_skipped = options_.base_run && skip(-1, shared);
    std::vector<int64_t> from_record, from_bottom;
    for (size_t i = 0; i < interventions.size(); ++i) {
      const bool own = needs_own_layout(*interventions[i]);
      if (!own && skip(static_cast<int64_t>(i), shared)) continue;
      (!own && recording && first_layer[i] >= record.first_layer ? from_record : from_bottom)
          .push_back(static_cast<int64_t>(i));
    }
    if (((options_.base_run && !base_skipped) || !from_record.empty()) && !run_whole(-1, shared, base_skipped)) {
      divide_unit();
      continue;
    }
    std::stable_sort(from_record.begin(), from_record.end(), [&](int64_t a, int64_t b) {
      return first_layer[static_cast<size_t>(a)] < first_layer[static_cast<size_t>(b)];
    });
    const bool at_once = !observer.begin && !observer.done && !may_lack_memory;
    const size_t together = !options_.batch_edits              ? 1
                            : runs_side_by_side(model_.spec()) ? kEditsSideBySide
                                                               : kEditsTogether;
    std::vector<std::vector<int64_t>> left((from_record.size() + together - 1) / together);
    const auto run_group = [&](int64_t g) {
      const size_t begin = static_cast<size_t>(g) * together;
      left[static_cast<size_t>(g)] =
          run_changes(std::span(from_record).subspan(begin, std::min(together, from_record.size() - begin)));
    };
    if (at_once) side_by_side(model_.spec(), static_cast<int64_t>(left.size()), run_group);
    else
      for (size_t g = 0; g < left.size(); ++g) run_group(static_cast<int64_t>(g));
    for (const std::vector<int64_t>& group : left)
      for (const int64_t i : group)
        if (together == 1 || !run_changes(std::span(&i, 1)).empty()) from_bottom.push_back(i);
    for (const int64_t i : from_bottom) {
      const Intervention& intervention = *interventions[static_cast<size_t>(i)];
      if (!needs_own_layout(intervention)) {
        run_whole(i, shared, false);
        continue;
      }
      const Layout layout = lay_out(model_, requests, unit, fed, &intervention, options_.share_prefixes);
      if (!skip(i, layout)) run_whole(i, layout, false);
    }
  }
  return result;
}

}  // namespace fare
