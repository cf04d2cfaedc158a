// From interventions to the rows of a pack: which rows each edit touches, and which rows may be shared.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fare/models/forward.h"
#include "fare/routing/intervention.h"
#include "fare/scoring/prefix_tree.h"
#include "fare/scoring/request.h"

namespace fare {

// Marks that keep rows apart where an intervention may treat two requests with the same tokens differently: one number
// per fed position. Empty when every row may be shared.
std::vector<uint32_t> sharing_marks(const Intervention& intervention, const Request& request, const FedRequest& fed,
                                    int64_t request_index);

// Edits of each MoE layer resolved to the rows of a pack. requests[i], fed[i] belong to packed.rows[i];
// `indices[i]` is the request's index in the whole run (rows of a replayed table are found by it).
LayerEdits scoped_edits(const Intervention& intervention, const RoutedModel& model, std::span<const Request> requests,
                        std::span<const int64_t> indices, std::span<const FedRequest> fed,
                        const PackedSequences& packed);

// Rows that an edit without any effect (factor 1, value 0, ..) would treat differently are shared all the same, so that
// it changes no bit. A receipt of one pass over such rows then counts them wrongly; this sets its `edits_applied` and
// `tokens_in_scope` to those of the requests one by one, `times` each. Does nothing where the intervention has no such
// edit.
void recount_scope(const Intervention& intervention, std::span<const Request> requests, std::span<const FedRequest> fed,
                   int64_t times, Receipt& receipt);

}  // namespace fare
