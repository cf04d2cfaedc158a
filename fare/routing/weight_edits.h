// The third point at which edits act: the weights of chosen experts. Internal to routing.
#pragma once

#include <cstdint>

#include "fare/routing/edit.h"

namespace fare {

// True for the operations that act on weights (mask renormalize and zero, reweight, scale_weight); shared_scale acts at
// the same point but not on the routed experts.
bool acts_on_weights(const EditOp& op);

// Applies `op` to one row of K slots in place: ids (-1 = absent) and weights. A dropped expert's slot closes up, so
// that absent slots stay last. Rows without any of the named experts keep their bits.
void edit_row_weights(const EditOp& op, int64_t num_slots, int32_t* ids_K, float* weights_K);

}  // namespace fare
