// Masking groups of experts, beside groups that are matched to them: does what carries the stereotype also carry what
// else the model knows, or does any group of that use and size cost as much? (methods A8)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/mask_groups.h"
#include "fare/diagnosis/replay.h"
#include "fare/diagnosis/router_profile.h"
#include "fare/diagnosis/test_outcomes.h"

namespace fare {

struct MaskDraw {
  std::vector<RoutedExpert> experts;
  double shift_pp = 0;
  std::optional<double> drop_pp;    // none without utility items in the test split
  std::optional<double> dose_nats;  // none without neutral text
};

// An effect in percentage points, taken apart (replay.h). mediated = total - direct.
struct EffectParts {
  double direct = 0, mediated = 0, routing_only = 0;
};

struct MaskGroup {
  std::string group;            // T top, L bottom, R random, U usage-matched, C capacity-matched, N knowledge, S super
  std::string mode = "refill";  // refill, renormalize, zero, mean, resample
  int64_t m = 0;
  std::vector<MaskDraw> draws;          // one for T, L, N and S
  std::optional<double> matched_share;  // U, C: share of T's experts with a partner
  std::optional<Shift> shift;           // groups of one draw: with intervals
  std::optional<Drop> drop;
  std::optional<EffectParts> shift_parts, drop_parts;
  std::vector<RoutingChange> later;  // layers above the first masked one
  std::string reason;                // why there are no draws
  std::string parts_reason;          // why the parts are undefined

  bool fixed() const { return group == "T" || group == "L" || group == "N" || group == "S"; }
};

struct MaskTest {
  std::string name;             // "drop of T among U"
  std::string quantity, group;  // drop or shift; U, C or R
  AmongDraws place;
  std::string reason;  // why the test could not be made; empty otherwise
};

// Something smaller than a mask of all T, everywhere: one expert, a smaller group, the greedy subset, T near
// demographic tokens only.
struct MaskSubset {
  enum class Kind { kTop, kSingle, kGreedy, kConditional };
  Kind kind = Kind::kTop;
  std::string what;  // "the top 2 experts"
  std::vector<RoutedExpert> experts;
  Shift shift;
  Drop drop;
  std::optional<bool> separable;  // shift of delta_B within tau; none: not excluded either
};

struct Masking {
  std::string conclusion = "unresolved";  // shared_experts, capacity, through_routing, separable, unresolved
  std::string sentence;
  bool homogeneous = false;  // T and its matched sets both cost more than the bottom group
  int64_t primary_m = 0;     // size of the tests, the singles and the draws that are listed
  std::vector<MaskGroup> groups;
  std::vector<MaskTest> tests;  // at primary_m, mode refill
  std::vector<MaskSubset> subsets;
  std::vector<RoutedExpert> apart;          // super experts
  std::optional<double> additivity_gap_pp;  // shift of T minus the sum of its singles
  std::string additivity_reason;
  std::optional<double> partial_correlation;  // of shift and drop over all draws, given routed mass and dose (ranks)
  std::string correlation_reason;
  std::optional<double> replay_gap_nats;  // largest |margin of a replayed total - margin of the same mask scored|

  const MaskGroup* find(const std::string& group,
                        const std::string& mode = "refill") const;  // at primary_m; or nullptr
};

// On the test split. Sizes: mask_sizes(), and options.mask_size where it is not 0. T, L and N at every size; R, U and C
// at the primary size, in the full profile at every size; the other modes at the primary size on T, L, N (full: and 20
// draws of U). `knowledge`: score_knowledge(), may be empty. `signs` as in search().
Masking mask_groups(Measurer& measurer, const ExpertScores& scores, const std::vector<ExpertScore>& knowledge,
                    const RouterProfile& profile, const TestOutcomes& test, const std::vector<int>& signs,
                    const DiagnosisOptions& options);

OrderedJson masking_json(const Masking& masking);

}  // namespace fare
