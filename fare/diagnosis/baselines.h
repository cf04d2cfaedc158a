// What equally cheap controls without routing reach (methods A7, D8): a debiasing prefix, and a dense steering vector added
// to the residual stream at one layer. They stand beside the verdict and decide nothing.
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
  std::string name;                    // "debiasing_prefix", "steering_vector"
  std::string candidate;               // whose dose it is held against
  std::string detail;                  // the prefix, or layer and strength; chosen on validation among `tried`
  int64_t tried = 0;
  std::optional<double> target_dose_nats, dose_nats;
  std::optional<bool> dose_matched;    // within options.dose_tolerance; a prefix has no strength to tune
  std::optional<double> validation_pp;
  std::optional<Shift> shift;          // test split
  std::optional<Drop> drop;
  std::string reason;                  // why something above is empty
};

// The study with a text put before everything that is scored: after the prefix token where a context begins with it, else in
// front. `ids`: of the text, at least one. Row keys change with the ids. Alignments are those of the study without it.
Study with_prefix(const Study& study, const std::vector<int32_t>& ids);

// Mean over train pairs of the difference (stereotype side minus the other) of the residual stream at a layer's input, over
// aligned tokens after the change; float32 [D]. Undefined (an empty tensor) when no pair has such a token.
at::Tensor steering_direction(Measurer& measurer, int64_t layer);

// Both, for the candidate of the headline: prefix and direction are chosen on validation by the larger shift, the vector's
// strength is tuned to the candidate's dose on neutral text, and the test split is measured once. `signs` as in search().
std::vector<Baseline> measure_baselines(Measurer& measurer, Store* store, const SearchCandidate& candidate,
                                        const TestOutcomes& test, const std::vector<int>& signs,
                                        const DiagnosisOptions& options);

OrderedJson baselines_json(const std::vector<Baseline>& baselines);

}  // namespace fare
