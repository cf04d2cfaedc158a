// A tensor that lies in a mapped file: what it is and where its bytes are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "fare/checkpoint/dtype.h"
#include "fare/core/error.h"

namespace fare {

// Bytes of a tensor: the product of `shape` times the bits of `dtype`, over 8.
// Throws FormatError (`path` and `where` name the place) when a dimension is negative, the number of bits does not fit
// in 63 bits (a zero elsewhere in the shape does not excuse it), or the bits do not fill whole bytes.
size_t tensor_num_bytes(Dtype dtype, const std::vector<int64_t>& shape, const std::string& path,
                        const std::string& where);

// "[2, 3]"; "[]" for rank 0.
std::string shape_text(const std::vector<int64_t>& shape);

// Row-major, little-endian. The bytes belong to the file or checkpoint that gave the view and stay valid as long as
// that object lives. `data` may be unaligned for the element type: copy, or check the pointer before a typed view.
struct TensorView {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
  const std::byte* data = nullptr;
  size_t num_bytes = 0;

  int64_t num_elements() const {  // 1 for rank 0
    int64_t n = 1;
    for (const int64_t d : shape) n *= d;
    return n;
  }
};

// The values of a tensor whose stored type is exactly T (float F32, uint8_t U8, int32_t I32, int64_t I64), copied.
// Throws ModelMismatch naming the tensor and both types otherwise.
template <typename T>
std::vector<T> copy_values(const TensorView& tensor) {
  constexpr Dtype wanted = std::is_same_v<T, float>     ? Dtype::kF32
                           : std::is_same_v<T, uint8_t> ? Dtype::kU8
                           : std::is_same_v<T, int32_t> ? Dtype::kI32
                                                        : Dtype::kI64;
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, uint8_t> || std::is_same_v<T, int32_t> ||
                std::is_same_v<T, int64_t>);
  if (tensor.dtype != wanted)
    throw ModelMismatch("tensor '" + tensor.name + "' is " + std::string(dtype_name(tensor.dtype)) + ", expected " +
                        std::string(dtype_name(wanted)));
  std::vector<T> values(static_cast<size_t>(tensor.num_elements()));
  if (!values.empty()) std::memcpy(values.data(), tensor.data, tensor.num_bytes);
  return values;
}

}  // namespace fare
