#include "fare/checkpoint/dtype.h"

#include <array>

namespace fare {
namespace {

struct Entry {
  Dtype dtype;
  int bits;
  std::string_view name;
};

// In the order of the enum.
constexpr std::array<Entry, kNumDtypes> kDtypes = {{
    {Dtype::kBool, 8, "BOOL"},
    {Dtype::kF4, 4, "F4"},
    {Dtype::kF6E2M3, 6, "F6_E2M3"},
    {Dtype::kF6E3M2, 6, "F6_E3M2"},
    {Dtype::kU8, 8, "U8"},
    {Dtype::kI8, 8, "I8"},
    {Dtype::kF8E5M2, 8, "F8_E5M2"},
    {Dtype::kF8E4M3, 8, "F8_E4M3"},
    {Dtype::kF8E8M0, 8, "F8_E8M0"},
    {Dtype::kF8E4M3Fnuz, 8, "F8_E4M3FNUZ"},
    {Dtype::kF8E5M2Fnuz, 8, "F8_E5M2FNUZ"},
    {Dtype::kI16, 16, "I16"},
    {Dtype::kU16, 16, "U16"},
    {Dtype::kF16, 16, "F16"},
    {Dtype::kBF16, 16, "BF16"},
    {Dtype::kI32, 32, "I32"},
    {Dtype::kU32, 32, "U32"},
    {Dtype::kF32, 32, "F32"},
    {Dtype::kC64, 64, "C64"},
    {Dtype::kF64, 64, "F64"},
    {Dtype::kI64, 64, "I64"},
    {Dtype::kU64, 64, "U64"},
}};

constexpr bool in_enum_order() {
  for (size_t i = 0; i < kDtypes.size(); ++i)
    if (static_cast<size_t>(kDtypes[i].dtype) != i) return false;
  return true;
}
static_assert(in_enum_order());

}  // namespace

int dtype_bits(Dtype dtype) { return kDtypes[static_cast<size_t>(dtype)].bits; }

std::string_view dtype_name(Dtype dtype) { return kDtypes[static_cast<size_t>(dtype)].name; }

std::optional<Dtype> dtype_from_name(std::string_view name) {
  for (const auto& entry : kDtypes)
    if (entry.name == name) return entry.dtype;
  return std::nullopt;
}

bool dtype_is_readable(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32:
    case Dtype::kF16:
    case Dtype::kBF16:
    case Dtype::kU8:
    case Dtype::kI32:
    case Dtype::kI64: return true;
    default: return false;
  }
}

std::string dtype_names(bool readable_only) {
  std::string text;
  for (const auto& entry : kDtypes) {
    if (readable_only && !dtype_is_readable(entry.dtype)) continue;
    if (!text.empty()) text += ", ";
    text += entry.name;
  }
  return text;
}

}  // namespace fare
