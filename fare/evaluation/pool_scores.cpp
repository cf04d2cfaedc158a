#include "fare/evaluation/pool_scores.h"

#include <algorithm>
#include <cmath>

#include "fare/core/error.h"
#include "fare/core/json.h"
#include "fare/core/sha256.h"
#include "fare/routing/near_tie.h"
#include "fare/routing/receipt_sums.h"
#include "fare/scoring/score_file.h"
#include "fare/store/computed_rows.h"

namespace fare {
namespace {

// Flags the rows of a pack whose route is a near tie in some layer, then the requests that hold such a row.
class NearTies {
 public:
  explicit NearTies(const Model& model) : model_(model) {}

  void watch(UnitObserver& observer, std::vector<uint8_t>& flags_of_request) {
    observer.begin = [this](const UnitRun& run) { rows_.assign(static_cast<size_t>(run.packed->pack.num_rows()), 0); };
    observer.on_decision = [this](int64_t layer, const at::Tensor& logits_TE, const Decision&) {
      const std::vector<double> gaps = selection_gaps(logits_TE, model_.router(layer));
      for (size_t t = 0; t < gaps.size(); ++t)
        if (gaps[t] <= kRoutingNearTie) rows_[t] = 1;
    };
    observer.done = [this, &flags_of_request](const UnitRun& run) {
      for (size_t i = 0; i < run.requests.size(); ++i)
        for (const int32_t row : run.packed->rows[i])
          if (rows_[static_cast<size_t>(row)]) flags_of_request[static_cast<size_t>(run.requests[i])] = 1;
    };
  }

 private:
  const Model& model_;
  std::vector<uint8_t> rows_;
};

void check_finite(const Request& request, const Score& score) {
  if (!std::isfinite(score.logprob_nats))
    throw NumericError("request '" + request.id + "': its log-likelihood is not finite");
}

void check_usable(const Intervention& intervention) {
  for (size_t i = 0; i < intervention.edits.size(); ++i)
    if (std::holds_alternative<ForceRoutes>(intervention.edits[i].op))
      throw ModelMismatch(
          "intervention '" + intervention.name + "', edit " + std::to_string(i) +
          ": force_routes replays the routes of one request file and does not fit benchmark tasks; use it "
          "with fare score");
}

}  // namespace

bool selects_requests(const Intervention& intervention) {
  return std::any_of(intervention.edits.begin(), intervention.edits.end(),
                     [](const Edit& edit) { return !edit.where.requests.empty(); });
}

PoolScores score_pool(const Scorer& scorer, const RequestPool& pool, const std::vector<std::string>& task_names,
                      const Intervention* intervention, Store* store, const Progress& progress) {
  if (intervention != nullptr) {
    check_usable(*intervention);
    intervention->check(scorer.model().routed());
  }
  PoolScores result;
  result.scores.resize(pool.requests.size());
  result.near_tie.resize(pool.requests.size());
  if (pool.requests.empty()) return result;
  const std::string fingerprint = store != nullptr ? scorer.model().checkpoint().fingerprint() : "";
  const std::string edits = intervention != nullptr ? sha256_hex(intervention->to_json().at("edits").dump()) : "";
  const std::set<std::string> stored = store != nullptr ? store->units() : std::set<std::string>{};
  const auto units = scorer.units(pool.requests);
  result.num_units = static_cast<int64_t>(units.size());
  const auto key = [&](const std::string& task, const std::string& item) {
    return RowKey{fingerprint, edits, task, item, "loglikelihood", 0};
  };
  const auto receipt_key = [&](const std::string& unit_name) {
    return RowKey{fingerprint, edits, "", unit_name, kUnitItem, 0};
  };

  std::vector<std::string> names;
  std::vector<size_t> todo;
  std::vector<double> costs;
  for (const std::vector<int64_t>& unit : units) {
    Sha256 hash;
    hash.add(edits);
    double tokens = 0;
    for (const int64_t r : unit) {
      const Request& request = pool.requests[static_cast<size_t>(r)];
      hash.add(pool.items[static_cast<size_t>(r)]);
      tokens += static_cast<double>(request.context.size() + request.continuation.size());
    }
    names.push_back("eval/" + hash.hex());
    if (stored.contains(names.back())) continue;
    todo.push_back(names.size() - 1);
    costs.push_back(tokens);
  }
  result.num_units_stored = result.num_units - static_cast<int64_t>(todo.size());

  ScorerOptions options = scorer.options();
  options.base_run = intervention == nullptr;
  const Scorer unit_scorer(scorer.model(), options);
  std::vector<const Intervention*> interventions;
  if (intervention != nullptr) interventions.push_back(intervention);
  const auto compute = [&](size_t part, int64_t started) {
    progress.check();
    const size_t u = todo[part];
    std::vector<Request> requests;
    for (const int64_t r : units[u]) requests.push_back(pool.requests[static_cast<size_t>(r)]);
    std::vector<uint8_t> near_tie(requests.size());
    UnitObserver observer;
    NearTies ties(scorer.model());
    ties.watch(observer, near_tie);
    const ScorerResult scored =
        unit_scorer.run(requests, interventions, observer, {nullptr, nullptr, progress.cancelled});
    const RunResult& run = intervention != nullptr ? scored.edited.front() : scored.base;
    std::vector<Row> rows{{receipt_key(names[u]), receipt_sums(run.receipt).dump()}};
    for (size_t i = 0; i < requests.size(); ++i) {
      const size_t r = static_cast<size_t>(units[u][i]);
      check_finite(requests[i], run.scores[i]);
      Json value = score_json(run.scores[i]);
      value["near_tie"] = near_tie[i] != 0;
      for (const size_t task : pool.tasks[r]) rows.push_back({key(task_names[task], pool.items[r]), value.dump()});
    }
    progress("scoring", result.num_units_stored + started, result.num_units);
    return std::vector<UnitRows>{{names[u], rows}};
  };
  const ComputedRows computed(store, costs, compute);
  for (size_t u = 0; u < units.size(); ++u) {
    for (const int64_t r : units[u]) {
      const size_t i = static_cast<size_t>(r);
      const Json value = Json::parse(computed.at(key(task_names[*pool.tasks[i].begin()], pool.items[i])));
      result.scores[i] = score_from(value);
      result.near_tie[i] = value.at("near_tie").get<bool>() ? 1 : 0;
    }
    result.receipt += receipt_from(Json::parse(computed.at(receipt_key(names[u]))));
  }
  return result;
}

double rescoring_difference(const Scorer& scorer, const RequestPool& pool, const std::vector<size_t>& requests,
                            const Intervention* intervention, const PoolScores& scores, Ranks& ranks,
                            const Progress& progress) {
  ScorerOptions options = scorer.options();
  options.base_run = intervention == nullptr;
  options.share_prefixes = false;
  options.unit_rows = 1;  // a unit holds at least one request
  const Scorer alone(scorer.model(), options);
  std::vector<const Intervention*> interventions;
  if (intervention != nullptr) interventions.push_back(intervention);
  const std::vector<double> costs(requests.size(), 1);
  const auto again = divide(ranks, costs, [&](size_t i, int64_t) {
    const ScorerResult scored =
        alone.run({&pool.requests[requests[i]], 1}, interventions, {}, {nullptr, nullptr, progress.cancelled});
    return score_json((intervention != nullptr ? scored.edited.front() : scored.base).scores.front()).dump();
  });
  double largest = 0;
  for (size_t i = 0; i < requests.size(); ++i)
    largest = std::max(
        largest, std::abs(score_from(Json::parse(again[i])).logprob_nats - scores.scores[requests[i]].logprob_nats));
  return largest;
}

}  // namespace fare
