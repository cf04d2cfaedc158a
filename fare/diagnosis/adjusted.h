// Is the demographic pairs' divergence more than their words' distance, rarity and length explain? (methods A1)
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fare/diagnosis/measure.h"
#include "fare/diagnosis/options.h"

namespace fare {

// What a pair's or null's changed words look like; none where a side has no changed token.
struct SpanTraits {
  double distance = 0;  // Euclidean, between the mean embeddings of the two sides' changed tokens
  double log_frequency =
      0;  // mean over them of the natural log of (1 + count) / (tokens + vocabulary), counted on the study's texts
  double length = 0;  // changed tokens a side, mean of both
};

// One per entry of `pairs`.
std::vector<std::optional<SpanTraits>> span_traits(const Measurer& measurer, std::span<const EncodedPair* const> pairs);

struct Observation {
  double divergence = 0;  // bit
  SpanTraits traits;
  bool demographic = false;
  std::string cluster;
};

// Least squares of divergence on an intercept, distance, log frequency, length and 1[demographic]. The first three are
// standardised; one that is constant, or that the ones before it explain, is left out.
struct AdjustedEffect {
  int64_t layer = 0, n = 0, clusters = 0;
  std::optional<double> distance, log_frequency, length;  // bit per SD; none: left out
  std::optional<double> demographic;  // bit; none: the other regressors tell demographic pairs and nulls apart
  std::optional<stats::Interval> demographic95;  // cluster bootstrap
  std::string reason;
};
AdjustedEffect adjusted_effect(const std::vector<Observation>& observations, int64_t layer,
                               const DiagnosisOptions& options);

}  // namespace fare
