// Two devices for tests where there is no GPU: memory of the host under another name, every operation computed by the
// CPU. As on a GPU, an operation on tensors of two devices is an error, and memory runs out at a limit.
#pragma once

#include <ATen/ATen.h>

#include <cstddef>

namespace fare::testing {

inline at::Device stand_in(int8_t index) { return at::Device(at::kPrivateUse1, index); }

// Bytes of tensors on stand-in `index` now, and the most since the last reset.
size_t stand_in_bytes(int8_t index);
size_t stand_in_peak_bytes(int8_t index);
// A tensor that would take more than `bytes` in all throws c10::OutOfMemoryError; 0 = no limit. Also resets the peak.
void limit_stand_in(int8_t index, size_t bytes);

}  // namespace fare::testing
