// What the masks' numbers say together (methods A8). No model, no data.
#pragma once

#include "fare/diagnosis/masking.h"

namespace fare {

// Whether a subset lowers bias by delta_B with its drop within tau (yes: estimate and interval above, one-sided 95%
// bound of the drop within), or either is excluded (no: a one-sided 95% bound on the wrong side).
std::optional<bool> is_separable(const Shift& shift, const Drop& drop, const Thresholds& limits);

// Fills `tests`: the place of T's drop and shift among the draws of U, C and R.
void make_tests(Masking& masking);

// Fills the partial rank correlation of shift and drop over all draws. `mass_of`: routed mass of an expert.
void correlate(Masking& masking, const std::function<double(const RoutedExpert&)>& mass_of);

// Fills `conclusion` and `sentence`. In this order: separable (a static subset); through_routing (T costs something,
// more than half of it mediated); homogeneous, hence unresolved; shared_experts (T's drop and shift are extreme among U
// and C, at least half of the drop is direct, and no subset is left open); capacity (T costs no more than U and C);
// else unresolved with every reason.
void conclude(Masking& masking, const Thresholds& limits);

}  // namespace fare
