// The element types a safetensors file can hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fare {

enum class Dtype : uint8_t {
  kBool,
  kF4,
  kF6E2M3,
  kF6E3M2,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kF8E8M0,
  kF8E4M3Fnuz,
  kF8E5M2Fnuz,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kC64,
  kF64,
  kI64,
  kU64,
};

inline constexpr size_t kNumDtypes = 22;

// Bits of one element: 4, 6, 8, 16, 32 or 64.
int dtype_bits(Dtype dtype);

// The name in the header of a file: "F32", "BF16", "F8_E4M3FNUZ", ..
std::string_view dtype_name(Dtype dtype);

// The type of that exact name; none if there is no such type.
std::optional<Dtype> dtype_from_name(std::string_view name);

// True for the types whose values FARE computes with: F32, F16, BF16, U8, I32, I64. The others are accepted in a header
// (a file may hold them beside the tensors that are used) and refused when such a tensor is asked for.
bool dtype_is_readable(Dtype dtype);

// "F32, F16, ..": every name, or only the readable ones; for error messages.
std::string dtype_names(bool readable_only);

}  // namespace fare
