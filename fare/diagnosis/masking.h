// Masking groups of experts with refill, beside groups that are matched to them (methods A8).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/mask_groups.h"
#include "fare/diagnosis/router_profile.h"
#include "fare/diagnosis/test_outcomes.h"

namespace fare {

struct MaskDraw {
  std::vector<RoutedExpert> experts;
  double shift_pp = 0;
  std::optional<double> drop_pp;    // none without utility items in the test split
  std::optional<double> dose_nats;  // none without neutral text
};

struct MaskGroup {
  std::string group;                // T top, L bottom, R random, U usage-matched, C capacity-matched, N knowledge
  int64_t m = 0;
  std::vector<MaskDraw> draws;      // one for T and L
  std::optional<double> matched_share;   // U: share of T's experts with a partner
  std::optional<Shift> shift;       // T, L: with intervals
  std::optional<Drop> drop;
  std::string reason;               // why there are no draws
};

struct MaskTest {
  std::string name;
  AmongDraws place;
  std::string reason;               // why the test could not be made; empty otherwise
};

struct MaskSingle {
  RoutedExpert expert;
  Shift shift;
  Drop drop;
};

struct Masking {
  std::string conclusion = "unresolved";  // shared_experts, capacity, through_routing, separable, unresolved
  std::string sentence;
  int64_t primary_m = 0;            // size of the tests, the singles and the draws that are listed
  std::vector<MaskGroup> groups;
  std::vector<MaskTest> tests;      // at primary_m
  std::vector<MaskSingle> singles;  // each expert of T alone
  std::optional<double> additivity_gap_pp;  // shift of T minus the sum of its singles
  std::string additivity_reason;
  std::optional<double> partial_correlation;  // of shift and drop over all draws, given routed mass and dose (ranks)
  std::string correlation_reason;
};

// On the test split, all groups in one evaluation. T and L at every size of mask_sizes(); R and U with
// options.mask_draws draws at the primary size, in the full profile at every size. `signs` as in search().
Masking mask_groups(Measurer& measurer, const ExpertScores& scores, const RouterProfile& profile, const TestOutcomes& test,
                    const std::vector<int>& signs, const DiagnosisOptions& options);

OrderedJson masking_json(const Masking& masking);

}  // namespace fare
