// Some pairs of the test split, token by token: which experts the model uses without edits and which with them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/test_outcomes.h"

namespace fare {

// One fed token of one text at one MoE layer. Experts by falling weight; weights as they multiplied the outputs.
struct RouteStep {
  size_t pair = 0;       // into RouteExamples::pairs
  bool stereo = true;    // which of its texts
  int64_t position = 0;  // fed tokens from 0
  int32_t token = 0;
  bool differs = false;  // stands in the change between the two texts
  int64_t layer = 0;
  std::vector<int32_t> base_experts, edited_experts;
  std::vector<double> base_weights, edited_weights;
  double moved = 0;  // half the absolute difference of the weights scaled to sum 1: 0 to 1
};

struct RouteExample {
  int64_t pair = 0;                       // index into Study::pairs
  std::string choice;                     // why it is shown
  double base_nats = 0, edited_nats = 0;  // margin stereo minus anti
};

struct RouteExamples {
  std::string candidate;
  std::vector<int64_t> layers;  // up to four: those whose routes the edits move most, ascending
  std::vector<RouteExample> pairs;
  std::vector<RouteStep> steps;  // by pair, text, position, layer; up to 32 fed tokens around the change
  std::string reason;            // why there is none
};

// The three pairs of `test` whose margin the candidate lowers most along the sign of their axis and the one whose
// margin it raises most: extremes, not typical pairs. Runs these texts twice.
RouteExamples route_examples(Measurer& measurer, const SearchCandidate& candidate, const TestOutcomes& test,
                             const Outcomes& edited, const std::vector<int>& signs);

// "route_examples" of report.json, or null. `spelling`: the text of a token; may be empty.
void put_route_examples(OrderedJson& report, const RouteExamples& examples, const Study& study,
                        const std::function<std::string(int32_t)>& spelling);

}  // namespace fare
