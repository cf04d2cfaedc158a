// What masking a group does, taken apart (methods A8). Four runs differ in two things: whether the mask acts, and whose
// router logits the routes are decided on.
//                      mask acts                    no mask
//   base run's logits  direct                       base
//   masked run's       total                        routing-only (the experts are back, the routes stay disturbed)
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/mask_groups.h"
#include "fare/diagnosis/measure.h"
#include "fare/diagnosis/replay_pass.h"

namespace fare {

enum class ReplayKind {
  kRefill,       // masked with refill; direct and routing-only beside the total, routing change of the layers above
  kMean,         // the experts' outputs replaced by their mean over neutral tokens
  kResample,     // .. by their output on another neutral token
  kConditional,  // masked with refill on demographic tokens (options below) and the next 8 fed tokens
};

struct ReplayTask {
  ReplayKind kind = ReplayKind::kRefill;
  std::vector<RoutedExpert> group;
};

// One MoE layer above the first masked one, over all fed rows of the items (each as often as it is fed).
struct RoutingChange {
  int64_t layer = 0;
  double js_bits = 0;        // mean Jensen-Shannon divergence of the router's distribution to the base run's
  double set_distance = 0;   // mean 1 - |S n S'| / |S u S'|
  double changed_share = 0;  // rows with another top k
  double load_entropy_base = 0, load_entropy_masked = 0;  // over log E
};

struct ReplayResult {
  Outcomes total;
  std::optional<Outcomes> direct, routing_only;  // kRefill
  std::vector<RoutingChange> later;              // kRefill; empty when the group sits in the last MoE layer
};

struct ReplayOptions {
  uint64_t seed = 0;
  int64_t neutral_tokens = 2000;            // behind kMean and kResample
  std::vector<int32_t> demographic_tokens;  // kConditional
};

// One result per task, on items.pairs and items.utility. Kept in the measurer's store; what is missing is divided over
// ranks, and on a rank over threads where the model is narrow. Throws NumericError when kMean or kResample is asked for
// and the study has no neutral text.
std::vector<ReplayResult> replay(Measurer& measurer, const Items& items, std::span<const ReplayTask> tasks,
                                 const ReplayOptions& options);

// Mean KL(p_base || p_edited) in nats per neutral token of the kMean and kResample tasks (others: none).
std::vector<std::optional<double>> stand_in_doses(Measurer& measurer, std::span<const ReplayTask> tasks,
                                                  const ReplayOptions& options);

// Outcomes of the items under one pass of their texts, taken from the bottom. Nothing is stored.
Outcomes pass_outcomes(const Measurer& measurer, const Items& items, const PassOptions& pass);

// Outcomes as they are kept in the store.
Json outcomes_json(const Outcomes& outcomes);
Outcomes outcomes_from(const Json& json);

// replay() and stand_in_doses() without a store.
std::vector<ReplayResult> compute_replay(Measurer& measurer, const Items& items, std::span<const ReplayTask> tasks,
                                         const ReplayOptions& options);
std::vector<std::optional<double>> compute_stand_in_doses(const Measurer& measurer, std::span<const ReplayTask> tasks,
                                                          const ReplayOptions& options);

// Token ids that stood in the differing spans of these pairs: what a token-conditional mask looks for.
std::vector<int32_t> demographic_tokens(const Measurer& measurer, std::span<const int64_t> pairs);

}  // namespace fare
