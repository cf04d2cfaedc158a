#include "fare/diagnosis/measure.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "fare/benchmarks/pair_scores.h"
#include "fare/core/error.h"
#include "fare/core/json.h"
#include "fare/core/sha256.h"
#include "fare/models/forward.h"
#include "fare/models/run_record.h"
#include "fare/scoring/head.h"
#include "fare/scoring/scope.h"
#include "fare/store/computed_rows.h"

namespace fare {
namespace {

// Fed tokens of a batch of items computed together, prefix sharing not deducted.
constexpr int64_t kBatchTokens = 8192;
// Interventions computed together, on one rank: enough that the run without edits, which each part repeats, weighs little.
constexpr size_t kInterventionsOfPart = 64;
// Base log-probabilities of neutral text are kept up to this size; above it they are computed again for each edit.
constexpr int64_t kKeptLogProbabilityBytes = int64_t{512} << 20;

RequestResult result_of(const Request& request, const Score& score) {
  RequestResult result;
  result.logprob_nats = score.logprob_nats;
  result.is_greedy = score.is_greedy;
  result.token_ids = request.continuation;
  result.token_logprobs_nats = score.token_logprobs_nats;
  return result;
}

UtilityOutcome outcome_of(const UtilityItem& item, std::span<const double> logprobs) {
  double best_right = -1e300, best_wrong = -1e300, best = -1e300;
  for (size_t c = 0; c < logprobs.size(); ++c) {
    const bool right = std::find(item.gold.begin(), item.gold.end(), static_cast<int64_t>(c)) != item.gold.end();
    double& slot = right ? best_right : best_wrong;
    slot = std::max(slot, logprobs[c]);
    best = std::max(best, logprobs[c]);
  }
  double ties = 0, right_ties = 0;
  for (size_t c = 0; c < logprobs.size(); ++c) {
    if (logprobs[c] != best) continue;
    ++ties;
    if (std::find(item.gold.begin(), item.gold.end(), static_cast<int64_t>(c)) != item.gold.end()) ++right_ties;
  }
  return {right_ties / ties, best_right - best_wrong};
}

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
    const UtilityOutcome outcome = outcome_of(task.utility->item, logprobs);
    if (!std::isfinite(outcome.margin)) throw NumericError("utility item " + task.item() + ": its log-likelihoods are not finite");
    return {{"correct", outcome.correct}, {"margin", outcome.margin}};
  }
  const PairDelta delta = pair_delta(result_of(task.pair->stereo, scores[0]), result_of(task.pair->anti, scores[1]));
  if (!std::isfinite(delta.sum)) throw NumericError("pair " + task.item() + ": its log-likelihoods are not finite");
  Json value = {{"sum", delta.sum}, {"mean", delta.per_token.value_or(delta.sum)}};
  value["shared"] = delta.shared ? Json(*delta.shared) : Json(nullptr);
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

  // What is not stored, in parts of one batch and a few interventions. Equal edits are run once.
  struct Part {
    size_t batch = 0;
    std::vector<size_t> slots;  // of interventions; a null or empty one is the base
  };
  std::vector<Part> parts;
  std::vector<double> costs;
  std::set<std::string> claimed;
  for (size_t b = 0; b < batches.size(); ++b) {
    double tokens = 0;
    for (const Task& task : batches[b]) tokens += static_cast<double>(fed_tokens(task));
    size_t room = 0;
    for (size_t i = 0; i < interventions.size(); ++i) {
      const std::string name = unit_name(b, i);
      if (finished_.contains(name) || !claimed.insert(name).second) continue;
      if (room == 0) {
        parts.push_back({b, {}});
        costs.push_back(tokens);
        room = kInterventionsOfPart;
      }
      parts.back().slots.push_back(i);
      costs.back() += tokens;
      --room;
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
      for (size_t t = 0; t < batch.size(); ++t)
        unit.rows.push_back({row_key(batch[t], i), value_of(batch[t], &run.scores[first_request[t]]).dump()});
      units.push_back(std::move(unit));
    }
    progress_(items.part, started, static_cast<int64_t>(parts.size()));
    return units;
  };
  const int64_t before = rows_computed_;
  const ComputedRows computed(store_, costs, compute);
  if (store_ != nullptr) finished_.merge(claimed);
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

Ranks& Measurer::ranks() { return store_ != nullptr ? store_->ranks() : alone_; }

void Measurer::share_rows_computed(int64_t before) {
  int64_t all_ranks = 0;
  for (const std::string& rows : ranks().exchange(std::to_string(rows_computed_ - before))) all_ranks += std::stoll(rows);
  rows_computed_ = before + all_ranks;
}

void Measurer::observe(std::span<const Request> requests, const UnitObserver& observer) {
  const ScorerResult result = scorer_.run(requests, {}, observer, Progress{nullptr, nullptr, progress_.cancelled});
  rows_computed_ += result.rows_computed;
}

struct Measurer::Neutral {
  std::vector<Request> requests;
  std::vector<FedRequest> fed;
  std::vector<int64_t> indices;
  PackedSequences packed;
  std::unique_ptr<RunRecord> record;     // of the run without edits
  std::vector<int32_t> rows;             // the fed row of every token
  std::vector<int32_t> targets;          // the token that followed
  at::Tensor log_p;                      // [rows, V]; undefined when it would be too large
};

Measurer::~Measurer() = default;

const Measurer::Neutral& Measurer::neutral(int64_t max_tokens) {
  auto& slot = neutral_[max_tokens];
  if (slot) return *slot;
  slot = std::make_unique<Neutral>();
  int64_t tokens = 0;
  std::vector<Sequence> sequences;
  const DecoderSpec& spec = scorer_.model().spec();
  for (const Request& request : study_.neutral) {
    if (tokens >= max_tokens) break;
    slot->requests.push_back(request);
    slot->fed.push_back(fed_part(request, scorer_.max_length(), spec.vocab_size));
    slot->indices.push_back(static_cast<int64_t>(slot->indices.size()));
    tokens += static_cast<int64_t>(slot->fed.back().ids.size());
  }
  for (const FedRequest& fed : slot->fed) {
    const int64_t length = static_cast<int64_t>(fed.ids.size());
    sequences.push_back({fed.ids, {},
                         spec.rope.depends_on_length()
                             ? static_cast<int32_t>(std::max(length, spec.rope.length_threshold())) : 0});
  }
  slot->packed = pack_sequences(sequences, false);
  for (size_t i = 0; i < slot->requests.size(); ++i) {
    const size_t first = static_cast<size_t>(slot->fed[i].num_context) - 1;
    for (size_t j = 0; j < slot->requests[i].continuation.size(); ++j) {
      slot->rows.push_back(slot->packed.rows[i][first + j]);
      slot->targets.push_back(slot->requests[i].continuation[j]);
    }
  }
  slot->record = std::make_unique<RunRecord>(spec.is_moe);
  ForwardOptions options;
  options.record = slot->record.get();
  forward(scorer_.model(), slot->packed.pack, options);
  rows_computed_ += slot->packed.pack.num_rows() * spec.num_layers;
  if (static_cast<int64_t>(slot->rows.size()) * spec.vocab_size * 4 <= kKeptLogProbabilityBytes && !slot->rows.empty())
    slot->log_p = log_probabilities(scorer_.model(), slot->record->h_TD, slot->rows);
  return *slot;
}

std::vector<Dose> Measurer::doses(std::span<const Intervention* const> interventions, int64_t max_tokens) {
  if (study_.neutral.empty()) throw NumericError("dose: the study has no neutral text");
  const Neutral& text = neutral(max_tokens);
  const int64_t before = rows_computed_;
  std::vector<std::string> handed = divide(ranks(), std::vector<double>(interventions.size(), 1), [&](size_t i, int64_t) {
    progress_.check();
    const Dose dose = dose_of(interventions[i], text);
    return std::string(reinterpret_cast<const char*>(&dose), sizeof dose);
  });
  share_rows_computed(before);
  std::vector<Dose> doses(interventions.size());
  for (size_t i = 0; i < doses.size(); ++i) std::memcpy(&doses[i], handed[i].data(), sizeof doses[i]);
  return doses;
}

Dose Measurer::dose_of(const Intervention* intervention, const Neutral& text) {
  if (intervention == nullptr || intervention->edits.empty()) return {};
  const DecoderSpec& spec = scorer_.model().spec();
  intervention->check(model_);
  const LayerEdits edits =
      scoped_edits(*intervention, model_, text.requests, text.indices, text.fed, text.packed);
  const ChangedRows changed = forward_changed(scorer_.model(), text.packed.pack, *text.record, edits, nullptr);
  rows_computed_ += changed.row_layers;

  // Rows that did not change add nothing. `where`: into text.rows; `row`: of changed.h_AD.
  std::vector<int64_t> where;
  std::vector<int32_t> row;
  for (size_t t = 0; t < text.rows.size(); ++t) {
    const auto found = std::lower_bound(changed.rows.begin(), changed.rows.end(), text.rows[t]);
    if (found == changed.rows.end() || *found != text.rows[t]) continue;
    where.push_back(static_cast<int64_t>(t));
    row.push_back(static_cast<int32_t>(found - changed.rows.begin()));
  }
  const at::NoGradGuard no_grad;
  double kl = 0, change = 0;
  const int64_t block = std::clamp<int64_t>((int64_t{16} << 20) / spec.vocab_size, 16, 1024);
  for (int64_t begin = 0; begin < static_cast<int64_t>(where.size()); begin += block) {
    const size_t count = static_cast<size_t>(std::min<int64_t>(block, static_cast<int64_t>(where.size()) - begin));
    const std::span<const int64_t> which(where.data() + begin, count);
    const at::Tensor edited = log_probabilities(scorer_.model(), changed.h_AD, std::span(row.data() + begin, count));
    std::vector<int32_t> rows;
    std::vector<int64_t> followed_by;
    for (const int64_t t : which) {
      rows.push_back(text.rows[static_cast<size_t>(t)]);
      followed_by.push_back(text.targets[static_cast<size_t>(t)]);
    }
    const at::Tensor base = text.log_p.defined()
                                ? text.log_p.index_select(0, at::tensor(at::ArrayRef<int64_t>(which.data(), count)))
                                : log_probabilities(scorer_.model(), text.record->h_TD, rows);
    const at::Tensor difference = base - edited;
    kl += (base.exp() * difference).sum(at::kDouble).item<double>();
    change += difference.gather(1, at::tensor(followed_by).unsqueeze(1)).sum(at::kDouble).item<double>();
  }
  const double n = static_cast<double>(text.rows.size());
  return {std::max(0.0, kl / n), change / n};
}

}  // namespace fare
