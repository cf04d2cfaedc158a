#include "fare/diagnosis/test_outcomes.h"

#include <algorithm>
#include <numeric>

#include "fare/core/error.h"

namespace fare {
namespace {

std::vector<int64_t> first_numbers(size_t n) {
  std::vector<int64_t> numbers(n);
  std::iota(numbers.begin(), numbers.end(), int64_t{0});
  return numbers;
}

}  // namespace

TestOutcomes open_test(OutcomeSource& source, const SearchResult& search) {
  const Study& study = source.study();
  TestOutcomes test;
  test.pairs = study.pairs_in(SplitPart::kTest);
  test.utility = study.utility_in(SplitPart::kTest);
  if (test.pairs.empty())
    throw NumericError("test split: it holds no pair; give at least five clusters of pairs for an axis");
  Items items;
  items.part = "all";
  items.pairs = first_numbers(study.pairs.size());
  items.transfer = first_numbers(study.transfer.size());
  items.utility = first_numbers(study.utility.size());
  std::vector<const Intervention*> asked = {nullptr};
  for (const size_t row : search.survivors) asked.push_back(&search.rows[row].intervention);
  for (const SearchCandidate& candidate : search.candidates)
    if (!candidate.row) asked.push_back(&candidate.intervention);
  std::vector<Outcomes> outcomes = source.evaluate(items, asked);
  auto next = std::make_move_iterator(outcomes.begin());
  test.base = *next++;
  for (size_t s = 0; s < search.survivors.size(); ++s) test.survivors.push_back(*next++);
  for (const SearchCandidate& candidate : search.candidates)
    if (!candidate.row) test.others.emplace(candidate.name, *next++);
  return test;
}

std::vector<Drop> perplexity_drops(Measurer& measurer, std::span<const Intervention* const> interventions,
                                   std::span<const double> alpha, const DiagnosisOptions& options) {
  std::vector<Request> texts;
  std::vector<std::string> text_of;
  int64_t tokens = 0;
  for (const Request& request : measurer.study().neutral) {
    if (tokens >= options.neutral_tokens) break;
    tokens += static_cast<int64_t>(request.context.size() + request.continuation.size()) - 1;
    text_of.insert(text_of.end(), request.continuation.size(), std::to_string(texts.size()));
    texts.push_back(request);
  }
  if (tokens < kPerplexityTokens) return {};
  const ScorerResult result =
      measurer.scorer().run(texts, interventions, {}, Progress{nullptr, nullptr, measurer.progress().cancelled});
  const auto flat = [](const RunResult& run) {
    std::vector<double> all;
    for (const Score& score : run.scores)
      all.insert(all.end(), score.token_logprobs_nats.begin(), score.token_logprobs_nats.end());
    return all;
  };
  const std::vector<double> base = flat(result.base);
  std::vector<Drop> drops;
  for (size_t i = 0; i < interventions.size(); ++i)
    drops.push_back(measure_perplexity(base, flat(result.edited[i]), text_of, options, alpha[i]));
  return drops;
}

const Outcomes& outcomes_of(const TestOutcomes& test, const SearchResult& search, const SearchCandidate& candidate) {
  if (!candidate.row) return test.others.at(candidate.name);
  const auto found = std::find(search.survivors.begin(), search.survivors.end(), *candidate.row);
  FARE_CHECK(found != search.survivors.end(), "a candidate is one of the survivors");
  return test.survivors[static_cast<size_t>(found - search.survivors.begin())];
}

}  // namespace fare
