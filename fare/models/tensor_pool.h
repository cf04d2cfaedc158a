// Memory of large tensors on the CPU: one region that is used again and again instead of pages that are given back to
// the system after every layer and cleared anew for the next one.
#pragma once

#include <cstddef>

namespace fare {

// From this call on, ATen takes CPU tensors of at least kPooledBytes from the pool; smaller ones, and those that exist
// already, stay with the allocator they have. May be called again and from any thread; there is no way back.
// Where the system refuses the address space for it (a limit on virtual memory), nothing changes.
//
// The lowest free place that is large enough is taken, and free neighbours are joined: the region grows to about the
// most that is in use at once and stays that large. Running out of memory is a c10::OutOfMemoryError, as without the
// pool.
void use_tensor_pool();

inline constexpr size_t kPooledBytes = size_t{128} << 10;

struct TensorPoolState {
  size_t used_bytes = 0;    // of living tensors
  size_t peak_bytes = 0;    // the most they ever were
  size_t region_bytes = 0;  // of the region so far, free places included
};
TensorPoolState tensor_pool_state();

}  // namespace fare
