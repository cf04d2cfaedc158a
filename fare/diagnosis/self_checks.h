// Checks of the engine on the very model and data of a run, before any of its results counts (methods 0.3): replay,
// null edits, resumed layers, batching, repetition, and the statistics. Cheap: about 32 requests, a few times.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/measure.h"
#include "fare/diagnosis/options.h"

namespace fare {

struct SelfCheck {
  std::string name;
  bool passed = false;
  double value = 0;  // NaN: undefined, see reason
  double limit = 0;  // passed means value <= limit; infinite: measured only
  std::string unit;
  bool required = true;  // false: advisory
  std::string reason;    // why it failed, or why value or limit is undefined; may be empty
};

// In this order:
// - "replay identity": stored ids and weights of every layer, replayed; largest difference of a token's log-probability
//   <= 1e-4 nats (bf16: 2e-2), and the receipt says that every token was replayed in every MoE layer.
// - "null patch": the model's own route forced on the same rows, and 0 added to every logit: no bit changes.
// - "cached suffix": random logit edits of the middle and of the last MoE layer, with the layers below resumed and with
//   all layers computed; <= 1e-6 nats. No reason to resume below the first layer: such an edit agrees by construction.
// - "batch invariance": every request alone against all together; <= 1e-4 nats for each token of a request without a
//   near-tie, which rounding stays below and neighbours that leak do not; value and limit are of the request nearest to
//   its limit. In bf16 a measurement over all of them, without a limit. Undefined and advisory when every request has a
//   near-tie.
// - "near-ties": share of the requests with a gap <= 1e-5 between the selection scores of the last expert chosen and
// the
//   first left out, in some layer at some token; advisory, <= 1%.
// - "bit-equal repeat": a second run; no bit changes.
// - "sum of softmax": the probabilities of all tokens after two contexts sum to 1, to 1e-4 (bf16: 2e-2).
// - "f32 top-k", "f32 scores", in a bf16 run alone: the same weights computed in f32; share of the routed tokens
// (tokens times
//   MoE layers) that get other experts, and the largest difference of a token's log-probability. Advisory, without a
//   limit.
// - "statistics": checks of stats::run_self_checks that fail, none allowed. They test the build, so their seed is
// fixed.
//
// The requests are both texts of up to 12 pairs and two choices of up to 4 utility items, spread evenly over the study.
// Scores that are not finite fail. Throws Interrupted; nothing is stored.
std::vector<SelfCheck> run_self_checks(Measurer& measurer, const DiagnosisOptions& options);

// Every required check passed.
bool all_required_passed(std::span<const SelfCheck> checks);

// "self_checks" of report.json.
OrderedJson self_checks_json(std::span<const SelfCheck> checks);

}  // namespace fare
