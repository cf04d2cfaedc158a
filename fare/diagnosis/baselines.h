// What an equally cheap control without routing reaches (methods A7, D8): a debiasing prefix, and a steering vector
// (steering.h). They stand beside the verdict and decide nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/measure.h"
#include "fare/diagnosis/robustness.h"
#include "fare/diagnosis/test_outcomes.h"

namespace fare {

struct Baseline {
  std::string name;       // "debiasing_prefix", "steering_vector"
  std::string candidate;  // whose dose it is held against
  std::string detail;     // the prefix, chosen on validation among `tried`; the vector, chosen on train
  int64_t tried = 0;
  std::optional<double> target_dose_nats, dose_nats;
  std::optional<bool> dose_matched;  // a prefix has no strength to tune: none
  std::optional<double> validation_pp;
  std::optional<Shift> shift;  // test split
  std::optional<Drop> drop;
  std::string reason;  // why something above is empty
};

// The study with a text put before everything that is scored: after the prefix token where a context begins with it,
// else in front. `ids`: of the text, at least one. Row keys change with the ids. Alignments are those of the study
// without it.
Study with_prefix(const Study& study, const std::vector<int32_t>& ids);

// For the candidate of the headline: the prefix is chosen on validation by the larger shift, the vector's layer and
// sign on train, and the test split is measured once for each. `signs` as in search().
std::vector<Baseline> measure_baselines(Measurer& measurer, Store* store, const SearchCandidate& candidate,
                                        const TestOutcomes& test, const std::vector<int>& signs,
                                        const DiagnosisOptions& options);

OrderedJson baselines_json(const std::vector<Baseline>& baselines);

}  // namespace fare
