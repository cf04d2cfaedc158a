#include "fare/evaluation/pool_scores.h"

#include <algorithm>
#include <cmath>

#include "fare/core/error.h"
#include "fare/core/json.h"
#include "fare/core/sha256.h"
#include "fare/evaluation/receipt_row.h"

namespace fare {
namespace {

// Flags the rows of a pack whose route is a near tie in some layer, then the requests that hold such a row.
class NearTies {
 public:
  explicit NearTies(const RouterSpec& router) : router_(router) {}

  void watch(UnitObserver& observer, std::vector<uint8_t>& flags_of_request) {
    observer.begin = [this](const UnitRun& run) { rows_.assign(static_cast<size_t>(run.packed->pack.num_rows()), 0); };
    observer.on_decision = [this](int64_t, const at::Tensor& logits_TE, const Decision&) { add(logits_TE); };
    observer.done = [this, &flags_of_request](const UnitRun& run) {
      for (size_t i = 0; i < run.requests.size(); ++i)
        for (const int32_t row : run.packed->rows[i])
          if (rows_[static_cast<size_t>(row)]) flags_of_request[static_cast<size_t>(run.requests[i])] = 1;
    };
  }

 private:
  void add(const at::Tensor& logits_TE) {
    if (router_.top_k >= router_.num_experts) return;  // nothing is left out
    const at::Tensor best_TK = std::get<0>(router_scores(logits_TE).topk(router_.top_k + 1, -1)).contiguous();
    const float* best = best_TK.const_data_ptr<float>();
    const int64_t width = router_.top_k + 1;
    for (int64_t t = 0; t < best_TK.size(0); ++t)
      if (best[t * width + width - 2] - best[t * width + width - 1] <= kRoutingNearTie) rows_[static_cast<size_t>(t)] = 1;
  }

  RouterSpec router_;
  std::vector<uint8_t> rows_;
};

std::string score_json(const Score& score, bool near_tie) {
  return Json{{"logprob_nats", score.logprob_nats},
              {"is_greedy", score.is_greedy},
              {"token_logprobs_nats", score.token_logprobs_nats},
              {"context_tokens", score.context_tokens},
              {"truncated_tokens", score.truncated_tokens},
              {"near_tie", near_tie}}
      .dump();
}

Score score_from(const Json& json) {
  Score score;
  score.logprob_nats = json.at("logprob_nats").get<double>();
  score.is_greedy = json.at("is_greedy").get<bool>();
  score.token_logprobs_nats = json.at("token_logprobs_nats").get<std::vector<double>>();
  score.context_tokens = json.at("context_tokens").get<int64_t>();
  score.truncated_tokens = json.at("truncated_tokens").get<int64_t>();
  return score;
}

void check_finite(const Request& request, const Score& score) {
  if (!std::isfinite(score.logprob_nats))
    throw NumericError("request '" + request.id + "': its log-likelihood is not finite");
}

void check_usable(const Intervention& intervention) {
  for (size_t i = 0; i < intervention.edits.size(); ++i)
    if (std::holds_alternative<ForceRoutes>(intervention.edits[i].op))
      throw ModelMismatch("intervention '" + intervention.name + "', edit " + std::to_string(i) +
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

  for (size_t u = 0; u < units.size(); ++u) {
    progress.check();
    const std::vector<int64_t>& unit = units[u];
    Sha256 unit_hash;
    unit_hash.add(edits);
    for (const int64_t r : unit) unit_hash.add(pool.items[static_cast<size_t>(r)]);
    const std::string unit_name = "eval/" + unit_hash.hex();
    const auto key = [&](const std::string& task, const std::string& item) {
      return RowKey{fingerprint, edits, task, item, "loglikelihood", 0};
    };
    const RowKey receipt_key{fingerprint, edits, "", unit_name, kUnitItem, 0};
    if (stored.contains(unit_name)) {
      for (const int64_t r : unit) {
        const size_t i = static_cast<size_t>(r);
        const Json value = stored_row(*store, key(task_names[*pool.tasks[i].begin()], pool.items[i]));
        result.scores[i] = score_from(value);
        result.near_tie[i] = value.at("near_tie").get<bool>() ? 1 : 0;
      }
      result.receipt += receipt_from(stored_row(*store, receipt_key));
      ++result.num_units_stored;
    } else {
      std::vector<Request> requests;
      for (const int64_t r : unit) requests.push_back(pool.requests[static_cast<size_t>(r)]);
      ScorerOptions options = scorer.options();
      options.base_run = intervention == nullptr;
      const Scorer unit_scorer(scorer.model(), options);
      std::vector<uint8_t> near_tie(requests.size());
      UnitObserver observer;
      NearTies ties(scorer.model().spec().router);
      ties.watch(observer, near_tie);
      std::vector<const Intervention*> interventions;
      if (intervention != nullptr) interventions.push_back(intervention);
      const ScorerResult scored = unit_scorer.run(requests, interventions, observer, {nullptr, nullptr, progress.cancelled});
      const RunResult& run = intervention != nullptr ? scored.edited.front() : scored.base;

      std::vector<Row> rows{{receipt_key, receipt_sums(run.receipt).dump()}};
      for (size_t i = 0; i < requests.size(); ++i) {
        const size_t r = static_cast<size_t>(unit[i]);
        check_finite(requests[i], run.scores[i]);
        result.scores[r] = run.scores[i];
        result.near_tie[r] = near_tie[i];
        for (const size_t task : pool.tasks[r])
          rows.push_back({key(task_names[task], pool.items[r]), score_json(run.scores[i], near_tie[i] != 0)});
      }
      result.receipt += run.receipt;
      if (store != nullptr) store->put_unit(unit_name, rows);
    }
    progress("scoring", static_cast<int64_t>(u) + 1, result.num_units);
  }
  return result;
}

double rescoring_difference(const Scorer& scorer, const RequestPool& pool, const std::vector<size_t>& requests,
                            const Intervention* intervention, const PoolScores& scores, const Progress& progress) {
  ScorerOptions options = scorer.options();
  options.base_run = intervention == nullptr;
  options.share_prefixes = false;
  options.unit_rows = 1;  // a unit holds at least one request
  const Scorer alone(scorer.model(), options);
  std::vector<Request> chosen;
  for (const size_t r : requests) chosen.push_back(pool.requests[r]);
  std::vector<const Intervention*> interventions;
  if (intervention != nullptr) interventions.push_back(intervention);
  const ScorerResult scored = alone.run(chosen, interventions, {}, {nullptr, nullptr, progress.cancelled});
  const RunResult& run = intervention != nullptr ? scored.edited.front() : scored.base;
  double largest = 0;
  for (size_t i = 0; i < requests.size(); ++i)
    largest = std::max(largest, std::abs(run.scores[i].logprob_nats - scores.scores[requests[i]].logprob_nats));
  return largest;
}

}  // namespace fare
