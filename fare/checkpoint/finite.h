// Finds NaN and infinities in weights, so that they are named where they lie and not met later as a strange result.
#pragma once

#include <cstdint>
#include <optional>

#include "fare/checkpoint/tensor_view.h"

namespace fare {

// Row-major index of the first element that is NaN or infinite; none if all are finite. F16, BF16, F32 and F64 are
// scanned (about as fast as memory is read); integer types have no such values and give none; so do the float types
// that FARE does not compute with. Reads the whole tensor; any alignment.
std::optional<int64_t> first_non_finite(const TensorView& tensor);

// Throws NumericError naming the tensor, the index per dimension and the value ("NaN", "inf", "-inf") if there is one.
void check_finite(const TensorView& tensor);

}  // namespace fare
