#include "fare/scoring/run_divided.h"

#include <algorithm>
#include <cmath>

#include "fare/core/error.h"
#include "fare/core/json.h"
#include "fare/routing/receipt_sums.h"
#include "fare/scoring/score_file.h"

namespace fare {
namespace {

Json run_json(const RunResult& run) {
  Json json = {{"receipt", receipt_sums(run.receipt)}, {"scores", Json::array()}};
  for (const Score& score : run.scores) {
    if (!std::isfinite(score.logprob_nats)) throw NumericError("a request's log-likelihood is not finite");
    json["scores"].push_back(score_json(score));
  }
  return json;
}

// Adds a unit's part; `unit` are the requests it holds.
void add_run(const Json& json, const std::vector<int64_t>& unit, RunResult& run) {
  run.receipt += receipt_from(json.at("receipt"));
  if (json.at("scores").empty()) return;  // of a base run that is switched off
  for (size_t i = 0; i < unit.size(); ++i) run.scores[static_cast<size_t>(unit[i])] = score_from(json.at("scores")[i]);
}

}  // namespace

ScorerResult run_divided(const Scorer& scorer, std::span<const Request> requests,
                         std::span<const Intervention* const> interventions, Ranks& ranks, const Progress& progress) {
  const auto units = scorer.units(requests);
  std::vector<double> costs;
  for (const std::vector<int64_t>& unit : units) {
    double tokens = 0;
    for (const int64_t r : unit) {
      const Request& request = requests[static_cast<size_t>(r)];
      tokens += static_cast<double>(request.context.size() + request.continuation.size());
    }
    costs.push_back(tokens);
  }
  const auto parts = divide(ranks, costs, [&](size_t u, int64_t started) {
    progress.check();
    std::vector<Request> own;
    for (const int64_t r : units[u]) own.push_back(requests[static_cast<size_t>(r)]);
    const ScorerResult scored = scorer.run(own, interventions, {}, {nullptr, nullptr, progress.cancelled});
    progress("scoring", started, static_cast<int64_t>(units.size()));
    Json json = {{"base", run_json(scored.base)},
                 {"edited", Json::array()},
                 {"rows", {scored.rows_computed, scored.rows_fed, scored.cache_mb_needed, scored.cache_mb_least}},
                 {"scratch", scored.scratch_problem},
                 {"memory", scored.memory_problem}};
    for (const RunResult& run : scored.edited) json["edited"].push_back(run_json(run));
    return json.dump();
  });

  ScorerResult result;
  if (scorer.options().base_run) result.base.scores.resize(requests.size());
  result.edited.resize(interventions.size());
  for (RunResult& run : result.edited) run.scores.resize(requests.size());
  for (size_t u = 0; u < units.size(); ++u) {
    const Json json = Json::parse(parts[u]);
    add_run(json.at("base"), units[u], result.base);
    for (size_t i = 0; i < interventions.size(); ++i) add_run(json.at("edited")[i], units[u], result.edited[i]);
    result.rows_computed += json.at("rows")[0].get<int64_t>();
    result.rows_fed += json.at("rows")[1].get<int64_t>();
    result.cache_mb_needed = std::max(result.cache_mb_needed, json.at("rows")[2].get<int64_t>());
    result.cache_mb_least = std::max(result.cache_mb_least, json.at("rows")[3].get<int64_t>());
    if (result.memory_problem.empty()) result.memory_problem = json.at("memory").get<std::string>();
    if (result.scratch_problem.empty()) result.scratch_problem = json.at("scratch").get<std::string>();
  }
  return result;
}

}  // namespace fare
