// The one look at the test split: base and survivors of the search on every pair and utility item (methods 0.7), from
// which test values, other split seeds and the transfer set are read without further forwards.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "fare/diagnosis/measure.h"
#include "fare/diagnosis/outcome_source.h"
#include "fare/diagnosis/search.h"

namespace fare {

struct TestOutcomes {
  std::vector<int64_t> pairs, utility;  // indices of the test split, ascending
  Outcomes base;                        // pairs: every pair of the study, then every transfer pair; utility: every item
  std::vector<Outcomes> survivors;      // parallel to SearchResult::survivors
  std::map<std::string, Outcomes> others;  // of candidates of other searches, by name; the same items
};

// Call after thresholds, splits and candidates are written. Throws NumericError when the test split holds no pair.
TestOutcomes open_test(OutcomeSource& source, const SearchResult& search);

// Rise of the perplexity of the neutral text behind the doses under each intervention (bias.h), in order; empty where
// that text holds fewer than kPerplexityTokens tokens. `alpha`: of each.
std::vector<Drop> perplexity_drops(Measurer& measurer, std::span<const Intervention* const> interventions,
                                   std::span<const double> alpha, const DiagnosisOptions& options);

// The outcomes of a candidate.
const Outcomes& outcomes_of(const TestOutcomes& test, const SearchResult& search, const SearchCandidate& candidate);

// Entries of `all` at `indices`.
template <typename T>
std::vector<T> at_indices(std::span<const T> all, std::span<const int64_t> indices) {
  std::vector<T> some;
  some.reserve(indices.size());
  for (const int64_t i : indices) some.push_back(all[static_cast<size_t>(i)]);
  return some;
}

}  // namespace fare
