// Scoring divided over ranks.
#pragma once

#include <span>

#include "fare/core/ranks.h"
#include "fare/scoring/scorer.h"

namespace fare {

// What Scorer::run gives, to the last bit, with each unit under all interventions computed by one rank; on every rank.
// Not for interventions with force_routes, which name rows of the whole run. Throws what Scorer::run throws, and
// NumericError when a log-likelihood is not finite.
ScorerResult run_divided(const Scorer& scorer, std::span<const Request> requests,
                         std::span<const Intervention* const> interventions, Ranks& ranks,
                         const Progress& progress = {});

}  // namespace fare
