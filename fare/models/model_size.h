// What a configuration costs, from the shapes its family expects: no weight is read.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "fare/models/family.h"

namespace fare {

struct ModelSize {
  // Sum over the expected tensors, those that may be absent included unless the checkpoint lacks them; a tied head
  // counts once. Two 4-bit values to a byte in blocks of quantised experts; their scales are no parameters.
  int64_t parameters = 0;
  // Of them those that one token meets: one row of the embedding, the whole head (a tied head instead of the row),
  // every attention, norm, router, dense and shared-expert weight, and top-k of the routed experts of each layer.
  int64_t active_parameters = 0;
  // Bytes of keys and values that FARE keeps for one token in generation: float32, all layers. Latent attention is kept
  // expanded, a key and a value for each head.
  int64_t cache_bytes_per_token = 0;
  // Bytes of the expected tensors by type. `unquantised` names the type of those that may have any.
  std::map<Dtype, int64_t> stored_bytes(Dtype unquantised) const;

  int64_t free_type_elements = 0;           // of tensors that may be F32, F16 or BF16
  std::map<Dtype, int64_t> fixed_elements;  // of tensors whose type the family fixes
};

// `weights`: the checkpoint's, or those of a configuration alone.
ModelSize model_size(const Family& family, const Weights& weights);

}  // namespace fare
