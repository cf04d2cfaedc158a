// Scores of a pool's requests, computed in units; what the store already holds is not computed again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fare/core/progress.h"
#include "fare/evaluation/request_pool.h"
#include "fare/routing/intervention.h"
#include "fare/routing/receipt.h"
#include "fare/scoring/scorer.h"
#include "fare/store/store.h"

namespace fare {

inline constexpr char kUnitItem[] = "unit";  // the `scoring` of the row that holds a unit's receipt

struct PoolScores {
  std::vector<Score> scores;         // per request of the pool
  std::vector<GeneratedText> texts;  // per prompt of the pool
  std::vector<uint8_t> near_tie;     // 1: some fed token's route is a near tie in some layer, before any edit
  Receipt receipt;                   // of the intervention; without one only the tokens
  int64_t num_units = 0;
  int64_t num_units_stored = 0;  // taken from the store
};

// True when edits pick rows by request id: equal requests of different documents must then stay apart.
bool selects_requests(const Intervention& intervention);

// `intervention` and `store` may be null. A unit is stored whole, with one row for each task and request and one for
// its receipt (docs/results-layout.md). The scorer's options must not change between runs into one store. Throws
// Interrupted between units (finished ones are kept), ModelMismatch for an intervention that does not fit or that
// replays stored routes, NumericError naming the request when a log-likelihood is not finite.
PoolScores score_pool(const Scorer& scorer, const RequestPool& pool, const std::vector<std::string>& task_names,
                      const Intervention* intervention, Store* store, const Progress& progress);

// The largest absolute difference of log-likelihood (nats) between `scores` and the same requests run one at a time
// without shared prefixes; divided over the ranks.
double rescoring_difference(const Scorer& scorer, const RequestPool& pool, const std::vector<size_t>& requests,
                            const Intervention* intervention, const PoolScores& scores, Ranks& ranks,
                            const Progress& progress);

}  // namespace fare
