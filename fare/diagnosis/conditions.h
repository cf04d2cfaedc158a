// The named architectural conditions, measured (methods A9): do shared experts buffer what routing changes, and is
// there a breadth below which routing control does nothing?
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/mask_groups.h"
#include "fare/diagnosis/measure.h"
#include "fare/diagnosis/search.h"
#include "fare/diagnosis/test_outcomes.h"

namespace fare {

// One MoE layer, on neutral text, under the mask of the top group with refill.
struct BufferingRow {
  int64_t layer = 0;
  std::optional<double> shared_share;  // SB: ||y_sh|| / (||y_sh|| + ||y_r||); none without shared experts
  // Relative change of y = y_r + y_sh over relative change of y_r: 1 = nothing is buffered, 0 = all. None without
  // shared experts, or where the mask does not change y_r.
  std::optional<double> buffering;
  std::string reason;
};

// The same intervention with the shared experts' output as it is and halved, at equal dose.
struct SharedScaleTest {
  std::string candidate;
  double factor = 0.5;
  double dose_nats = 0;         // of the candidate against the base model
  double halved_dose_nats = 0;  // of the retuned one against the base model with halved shared experts
  double lambda = 0, halved_lambda = 0;
  Shift shift, halved_shift;  // test split; each against its own base
};

struct BreadthPoint {
  int64_t k = 0;        // experts asked for
  int64_t experts = 0;  // of them with a score that is not 0
  Shift shift;
  Drop drop;
};

struct Conditions {
  std::vector<BufferingRow> buffering;
  std::string buffering_reason;  // why the list is empty
  std::optional<SharedScaleTest> shared_scale;
  std::string shared_scale_reason;
  // Breadth: the configuration of the reach point with its k varied, on validation.
  std::optional<Configuration> configuration;
  std::vector<BreadthPoint> breadth;
  std::optional<int64_t>
      k_star;  // smallest k whose shift's lower 95% bound exceeds delta_B, as do those of all larger k
  std::string k_star_reason;
};

// `top`: the experts of masking's group T at its primary size; may be empty.
Conditions measure_conditions(Measurer& measurer, const SearchResult& search, const ExpertScores& scores,
                              const RouterProfile& profile, std::span<const RoutedExpert> top, const TestOutcomes& test,
                              const std::vector<int>& signs, const DiagnosisOptions& options);

// Smallest k from which on every lower bound exceeds `least`; `points` by rising k.
std::optional<int64_t> breadth_threshold(std::span<const BreadthPoint> points, double least);

OrderedJson conditions_json(const Conditions& conditions);  // "conditions" of report.json

}  // namespace fare
