#include "fare/diagnosis/measure.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

#include "fare/core/error.h"
#include "fare/core/json.h"
#include "fare/core/sha256.h"
#include "fare/diagnosis/item_outcomes.h"
#include "fare/models/forward.h"
#include "fare/models/run_record.h"
#include "fare/models/side_by_side.h"
#include "fare/scoring/divergence.h"
#include "fare/scoring/scope.h"
#include "fare/store/computed_rows.h"

namespace fare {
namespace {

// Fed tokens of a batch of items computed together, prefix sharing not deducted.
constexpr int64_t kBatchTokens = 8192;
// Interventions computed together, on one rank: enough that the run without edits, which each part repeats, weighs
// little.
constexpr size_t kInterventionsOfPart = 64;
// Doses computed together on one rank, and passes of a narrow model that share products.
constexpr size_t kDosesOfPart = 32, kDosesTogether = 4;
// Base logits of neutral text are kept up to this size; above it they are computed again for each edit.
constexpr int64_t kKeptLogitBytes = int64_t{512} << 20;

// One thing to evaluate: a pair (two requests) or a utility item (one request per choice).
struct Task {
  const EncodedPair* pair = nullptr;
  const EncodedUtility* utility = nullptr;
  size_t slot = 0;  // position in Outcomes::pairs or ::utility

  std::vector<const Request*> requests() const {
    if (pair != nullptr) return {&pair->stereo, &pair->anti};
    std::vector<const Request*> list;
    for (const Request& choice : utility->choices) list.push_back(&choice);
    return list;
  }
  const std::string& item() const { return pair != nullptr ? pair->item : utility->key; }
};

int64_t fed_tokens(const Task& task) {
  int64_t total = 0;
  for (const Request* request : task.requests())
    total += static_cast<int64_t>(request->context.size() + request->continuation.size()) - 1;
  return total;
}

// Batches of tasks whose requests share prefixes, each of about kBatchTokens.
std::vector<std::vector<Task>> batches_of(std::vector<Task> tasks) {
  std::stable_sort(tasks.begin(), tasks.end(), [](const Task& a, const Task& b) {
    const Request &x = *a.requests()[0], &y = *b.requests()[0];
    return std::tie(x.context, x.continuation, a.item()) < std::tie(y.context, y.continuation, b.item());
  });
  std::vector<std::vector<Task>> batches;
  int64_t tokens = 0;
  for (const Task& task : tasks) {
    const int64_t own = fed_tokens(task);
    // Equal items have one row: they are never computed in two batches, whose last bits may differ.
    const bool again = !batches.empty() && task.item() == batches.back().back().item();
    if (batches.empty() || (tokens + own > kBatchTokens && !again)) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(task);
    tokens += own;
  }
  return batches;
}

// The row of a task. `scores`: of its requests.
Json value_of(const Task& task, const Score* scores) {
  if (task.pair == nullptr) {
    std::vector<double> logprobs;
    for (size_t c = 0; c < task.utility->choices.size(); ++c) logprobs.push_back(scores[c].logprob_nats);
    const UtilityOutcome outcome = utility_outcome(task.utility->item, logprobs);
    if (!std::isfinite(outcome.margin))
      throw NumericError("utility item " + task.item() + ": its log-likelihoods are not finite");
    return {{"correct", outcome.correct}, {"margin", outcome.margin}};
  }
  const Margins margins = margins_of(*task.pair, scores[0].token_logprobs_nats, scores[1].token_logprobs_nats);
  if (!std::isfinite(margins.sum)) throw NumericError("pair " + task.item() + ": its log-likelihoods are not finite");
  Json value = {{"sum", margins.sum}, {"mean", margins.mean}};
  value["shared"] = margins.shared ? Json(*margins.shared) : Json(nullptr);
  return value;
}

}  // namespace

Measurer::Measurer(const Scorer& scorer, const Study& study, Store* store, const Progress& progress)
    : scorer_(scorer), study_(study), store_(store), progress_(progress), model_(scorer.model().routed()) {
  if (store_ != nullptr) {
    fingerprint_ = model_.fingerprint();
    finished_ = store_->units();
  }
}

std::vector<std::vector<size_t>> Measurer::parts_of(size_t count, size_t most,
                                                    const std::function<std::string(size_t)>& name) {
  if (store_ == nullptr) asked_.clear();  // nothing is kept from call to call
  std::vector<size_t> slots;
  for (size_t i = 0; i < count; ++i)
    if (asked_.insert(name(i)).second) slots.push_back(i);
  std::vector<std::vector<size_t>> parts;
  for (size_t begin = 0; begin < slots.size(); begin += most) {
    const auto first = slots.begin() + static_cast<std::ptrdiff_t>(begin);
    std::vector<size_t> part(first, first + static_cast<std::ptrdiff_t>(std::min(most, slots.size() - begin)));
    const bool stored = std::all_of(part.begin(), part.end(), [&](size_t i) { return finished_.contains(name(i)); });
    if (!stored) parts.push_back(std::move(part));
  }
  return parts;
}

std::vector<Outcomes> Measurer::evaluate(const Items& items, std::span<const Intervention* const> interventions) {
  std::vector<Task> tasks;
  size_t num_pairs = 0;
  for (const auto& [indices, list] : {std::pair{&items.pairs, &study_.pairs}, std::pair{&items.nulls, &study_.nulls},
                                      std::pair{&items.transfer, &study_.transfer}})
    for (const int64_t i : *indices) tasks.push_back({.pair = &(*list)[static_cast<size_t>(i)], .slot = num_pairs++});
  for (size_t u = 0; u < items.utility.size(); ++u)
    tasks.push_back({.utility = &study_.utility[static_cast<size_t>(items.utility[u])], .slot = u});

  std::vector<Outcomes> outcomes(interventions.size());
  for (Outcomes& each : outcomes) {
    each.pairs.resize(num_pairs);
    each.utility.resize(items.utility.size());
  }
  std::vector<std::string> keys;
  for (const Intervention* intervention : interventions) keys.push_back(intervention_key(intervention));

  const auto batches = batches_of(tasks);
  std::vector<std::string> batch_names;
  // A unit's name says what it holds: part, items and intervention.
  for (const std::vector<Task>& batch : batches) {
    Sha256 hash;
    hash.add(items.part);
    for (const Task& task : batch) hash.add(task.item());
    batch_names.push_back(items.part + "/" + hash.hex().substr(0, 16) + "/");
  }
  const auto unit_name = [&](size_t b, size_t i) { return batch_names[b] + (keys[i].empty() ? "base" : keys[i]); };
  const auto row_key = [&](const Task& task, size_t i) {
    return RowKey{fingerprint_, keys[i], items.part, task.item(), task.pair != nullptr ? "margin" : "accuracy", 0};
  };

  // Parts of one batch and a few interventions. Equal edits are run once. What comes together in a part depends on what
  // this object was asked for so far, never on what a store holds: rows that share a product may differ in their last
  // bits from rows of other company, and a continued run must give those of a whole one. A part is left out when all of
  // it is stored.
  struct Part {
    size_t batch = 0;
    std::vector<size_t> slots;  // of interventions; a null or empty one is the base
  };
  std::vector<Part> parts;
  std::vector<double> costs;
  for (size_t b = 0; b < batches.size(); ++b) {
    double tokens = 0;
    for (const Task& task : batches[b]) tokens += static_cast<double>(fed_tokens(task));
    const auto name = [&](size_t i) { return unit_name(b, i); };
    for (std::vector<size_t>& slots : parts_of(interventions.size(), kInterventionsOfPart, name)) {
      costs.push_back(tokens * static_cast<double>(1 + slots.size()));
      parts.push_back({b, std::move(slots)});
    }
  }

  const auto compute = [&](size_t p, int64_t started) {
    progress_.check();
    const Part& part = parts[p];
    const std::vector<Task>& batch = batches[part.batch];
    std::vector<Request> requests;
    std::vector<size_t> first_request;
    for (const Task& task : batch) {
      first_request.push_back(requests.size());
      for (const Request* request : task.requests()) requests.push_back(*request);
    }
    std::vector<const Intervention*> edits;
    bool base_wanted = false;
    for (const size_t i : part.slots) {
      if (keys[i].empty()) base_wanted = true;
      else edits.push_back(interventions[i]);
    }
    UnitObserver observer;
    observer.skip = [&](const UnitRun& run) { return run.intervention < 0 && !base_wanted; };
    const ScorerResult result = scorer_.run(requests, edits, observer, Progress{nullptr, nullptr, progress_.cancelled});
    rows_computed_ += result.rows_computed;
    std::vector<UnitRows> units;
    size_t next_edited = 0;
    for (const size_t i : part.slots) {
      const RunResult& run = keys[i].empty() ? result.base : result.edited[next_edited++];
      UnitRows unit{unit_name(part.batch, i), {}};
      if (finished_.contains(unit.unit)) continue;
      for (size_t t = 0; t < batch.size(); ++t)
        unit.rows.push_back({row_key(batch[t], i), value_of(batch[t], &run.scores[first_request[t]]).dump()});
      units.push_back(std::move(unit));
    }
    progress_(items.part, started, static_cast<int64_t>(parts.size()));
    return units;
  };
  const int64_t before = rows_computed_;
  const ComputedRows computed(store_, costs, compute);
  share_rows_computed(before);
  for (const std::vector<Task>& batch : batches) {
    for (size_t i = 0; i < interventions.size(); ++i) {
      for (const Task& task : batch) {
        const Json value = Json::parse(computed.at(row_key(task, i)));
        if (task.pair != nullptr) {
          Margins margins{value.at("sum").get<double>(), value.at("mean").get<double>(), std::nullopt};
          if (!value.at("shared").is_null()) margins.shared = value.at("shared").get<double>();
          outcomes[i].pairs[task.slot] = margins;
        } else {
          outcomes[i].utility[task.slot] = {value.at("correct").get<double>(), value.at("margin").get<double>()};
        }
      }
    }
  }
  return outcomes;
}

std::vector<std::string> Measurer::kept(const std::string& task, const std::vector<std::string>& names,
                                        std::span<const double> costs, const ComputeKept& compute) {
  const auto unit_name = [&](size_t i) { return task + "/" + names[i]; };
  const auto row_key = [&](size_t i) { return RowKey{fingerprint_, "", task, names[i], "value", 0}; };
  std::vector<size_t> missing;
  for (size_t i = 0; i < names.size(); ++i)
    if (!finished_.contains(unit_name(i))) missing.push_back(i);
  // One part for each rank, of about equal cost.
  std::stable_sort(missing.begin(), missing.end(), [&](size_t a, size_t b) { return costs[a] > costs[b]; });
  std::vector<std::vector<size_t>> parts(std::min(missing.size(), static_cast<size_t>(ranks().size())));
  std::vector<double> part_costs(parts.size(), 0);
  for (const size_t i : missing) {
    const auto least = static_cast<size_t>(std::min_element(part_costs.begin(), part_costs.end()) - part_costs.begin());
    parts[least].push_back(i);
    part_costs[least] += costs[i];
  }
  const int64_t before = rows_computed_;
  const ComputedRows computed(store_, part_costs, [&](size_t p, int64_t) {
    progress_.check();
    std::sort(parts[p].begin(), parts[p].end());
    const std::vector<std::string> values = compute(parts[p]);
    std::vector<UnitRows> units;
    for (size_t k = 0; k < values.size(); ++k)
      units.push_back({unit_name(parts[p][k]), {{row_key(parts[p][k]), values[k]}}});
    return units;
  });
  share_rows_computed(before);
  std::vector<std::string> values;
  for (size_t i = 0; i < names.size(); ++i) {
    values.push_back(computed.at(row_key(i)));
    if (store_ != nullptr) finished_.insert(unit_name(i));
  }
  return values;
}

Ranks& Measurer::ranks() { return store_ != nullptr ? store_->ranks() : alone_; }

void Measurer::share_rows_computed(int64_t before) {
  int64_t all_ranks = 0;
  for (const std::string& rows : ranks().exchange(std::to_string(rows_computed_ - before)))
    all_ranks += std::stoll(rows);
  rows_computed_ = before + all_ranks;
}

void Measurer::observe(std::span<const Request> requests, const UnitObserver& observer) {
  const ScorerResult result = scorer_.run(requests, {}, observer, Progress{nullptr, nullptr, progress_.cancelled});
  rows_computed_ += result.rows_computed;
}

struct Measurer::Texts {
  std::vector<Request> requests;
  std::vector<FedRequest> fed;
  std::vector<int64_t> indices;
  PackedSequences packed;
  mutable std::unique_ptr<RunRecord> record;  // of the run without edits, made when the first dose is computed
  std::vector<int32_t> rows;                  // the fed row of every token
  std::vector<int32_t> targets;               // the token that followed
  mutable ReferenceRows base;                 // these rows of the run without edits
  std::string item;                           // row key: hash of the token ids
};

Measurer::~Measurer() = default;

const Measurer::Texts& Measurer::texts(const std::string& name, const std::vector<const Request*>& requests,
                                       int64_t max_tokens) {
  auto& slot = texts_[{name, max_tokens}];
  if (slot) return *slot;
  slot = std::make_unique<Texts>();
  int64_t tokens = 0;
  std::vector<Sequence> sequences;
  const DecoderSpec& spec = scorer_.model().spec();
  for (const Request* request : requests) {
    if (tokens >= max_tokens) break;
    slot->requests.push_back(*request);
    slot->fed.push_back(fed_part(*request, scorer_.max_length(), spec.vocab_size));
    slot->indices.push_back(static_cast<int64_t>(slot->indices.size()));
    tokens += static_cast<int64_t>(slot->fed.back().ids.size());
  }
  for (const FedRequest& fed : slot->fed) {
    const int64_t length = static_cast<int64_t>(fed.ids.size());
    sequences.push_back(
        {fed.ids,
         {},
         spec.rope.depends_on_length() ? static_cast<int32_t>(std::max(length, spec.rope.length_threshold())) : 0});
  }
  slot->packed = pack_sequences(sequences, false);
  for (size_t i = 0; i < slot->requests.size(); ++i) {
    const size_t first = static_cast<size_t>(slot->fed[i].num_context) - 1;
    for (size_t j = 0; j < slot->requests[i].continuation.size(); ++j) {
      slot->rows.push_back(slot->packed.rows[i][first + j]);
      slot->targets.push_back(slot->requests[i].continuation[j]);
    }
  }
  std::vector<const Request*> kept;
  for (const Request& request : slot->requests) kept.push_back(&request);
  slot->item = item_hash(kept);
  return *slot;
}

std::vector<Dose> Measurer::doses(std::span<const Intervention* const> interventions, int64_t max_tokens) {
  if (study_.neutral.empty()) throw NumericError("dose: the study has no neutral text");
  std::vector<const Request*> neutral;
  for (const Request& request : study_.neutral) neutral.push_back(&request);
  return doses_of(interventions, texts("neutral", neutral, max_tokens));
}

std::vector<Dose> Measurer::doses_on_pairs(std::span<const Intervention* const> interventions, int64_t max_tokens) {
  std::vector<const Request*> requests;
  for (const int64_t i : study_.pairs_in(SplitPart::kValidation))
    for (const Request* request :
         {&study_.pairs[static_cast<size_t>(i)].stereo, &study_.pairs[static_cast<size_t>(i)].anti})
      requests.push_back(request);
  if (requests.empty()) throw NumericError("dose: the validation split holds no pair");
  return doses_of(interventions, texts("pairs", requests, max_tokens));
}

std::vector<Dose> Measurer::doses_of(std::span<const Intervention* const> interventions, const Texts& text) {
  std::vector<std::string> keys;
  for (const Intervention* intervention : interventions) keys.push_back(intervention_key(intervention));
  const auto row_key = [&](size_t i) { return RowKey{fingerprint_, keys[i], "dose", text.item, "dose", 0}; };
  const auto unit_name = [&](size_t i) { return "dose/" + text.item.substr(0, 16) + "/" + keys[i]; };
  std::vector<size_t> edited;  // the base has no dose
  for (size_t i = 0; i < interventions.size(); ++i)
    if (!keys[i].empty()) edited.push_back(i);
  const auto parts = parts_of(edited.size(), kDosesOfPart, [&](size_t k) { return unit_name(edited[k]); });
  std::vector<double> costs;
  for (const std::vector<size_t>& part : parts) costs.push_back(static_cast<double>(part.size()));

  const int64_t before = rows_computed_;
  const ComputedRows computed(store_, costs, [&](size_t p, int64_t) {
    std::vector<const Intervention*> some;
    for (const size_t k : parts[p]) some.push_back(interventions[edited[k]]);
    const std::vector<Dose> doses = compute_doses(some, text);
    std::vector<UnitRows> units;
    for (size_t k = 0; k < some.size(); ++k) {
      const size_t i = edited[parts[p][k]];
      const Json value = {{"kl", doses[k].kl_nats}, {"log_perplexity_change", doses[k].log_perplexity_change}};
      if (!finished_.contains(unit_name(i))) units.push_back({unit_name(i), {{row_key(i), value.dump()}}});
    }
    return units;
  });
  share_rows_computed(before);
  std::vector<Dose> doses(interventions.size());
  for (size_t i = 0; i < doses.size(); ++i) {
    if (keys[i].empty()) continue;  // the base: no dose
    const Json value = Json::parse(computed.at(row_key(i)));
    doses[i] = {value.at("kl").get<double>(), value.at("log_perplexity_change").get<double>()};
  }
  return doses;
}

std::vector<Dose> Measurer::compute_doses(std::span<const Intervention* const> interventions, const Texts& text) {
  const DecoderSpec& spec = scorer_.model().spec();
  if (!text.record) {
    text.record = std::make_unique<RunRecord>(spec.is_moe);
    ForwardOptions options;
    options.record = text.record.get();
    forward(scorer_.model(), text.packed.pack, options);
    rows_computed_ += text.packed.pack.num_rows() * spec.num_layers;
    text.base = reference_rows(scorer_.model(), text.record->h_TD, text.rows, kKeptLogitBytes);
  }
  const size_t together = runs_side_by_side(spec) ? kDosesTogether : 1;
  std::vector<Dose> doses(interventions.size());
  std::atomic<int64_t> rows{0};
  const auto groups = static_cast<int64_t>((interventions.size() + together - 1) / together);
  side_by_side(spec, groups, [&](int64_t g) {
    progress_.check();
    const size_t begin = static_cast<size_t>(g) * together, count = std::min(together, interventions.size() - begin);
    std::vector<LayerEdits> edits;
    std::vector<EditedPass> passes;
    for (size_t k = 0; k < count; ++k) {
      interventions[begin + k]->check(model_);
      edits.push_back(
          scoped_edits(*interventions[begin + k], model_, text.requests, text.indices, text.fed, text.packed));
    }
    for (const LayerEdits& own : edits) passes.push_back({&own, nullptr});
    forward_changed(scorer_.model(), text.packed.pack, *text.record, passes, int64_t{1} << 40,
                    [&](std::span<const size_t> which, std::span<const ChangedRows> changed) {
                      for (size_t k = 0; k < which.size(); ++k) {
                        doses[begin + which[k]] = dose_of(changed[k], text);
                        rows += changed[k].row_layers;
                      }
                    });
  });
  rows_computed_ += rows;
  return doses;
}

// Rows that did not change add nothing.
Dose Measurer::dose_of(const ChangedRows& changed, const Texts& text) const {
  std::vector<int64_t> which;  // of text.rows
  std::vector<int32_t> rows;   // of changed.h_AD
  std::vector<int32_t> followed_by;
  for (size_t t = 0; t < text.rows.size(); ++t) {
    const auto found = std::lower_bound(changed.rows.begin(), changed.rows.end(), text.rows[t]);
    if (found == changed.rows.end() || *found != text.rows[t]) continue;
    which.push_back(static_cast<int64_t>(t));
    rows.push_back(static_cast<int32_t>(found - changed.rows.begin()));
    followed_by.push_back(text.targets[t]);
  }
  double kl = 0, change = 0;
  for (const Divergence& row : divergences(scorer_.model(), text.base, which, changed.h_AD, rows, followed_by))
    kl += row.kl_nats, change += row.logprob_change;
  const double n = static_cast<double>(text.rows.size());
  return {std::max(0.0, kl / n), change / n};
}

}  // namespace fare
