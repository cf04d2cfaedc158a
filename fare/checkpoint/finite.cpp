#include "fare/checkpoint/finite.h"

#include <algorithm>
#include <string>

#include "fare/core/error.h"

namespace fare {
namespace {

// A value is NaN or infinite when every bit of its exponent is set.
template <typename Bits>
std::optional<int64_t> scan(const std::byte* data, int64_t n, Bits exponent) {
  constexpr int64_t kBlock = 4096;
  const auto is_bad = [&](int64_t i) {
    Bits bits;
    std::memcpy(&bits, data + static_cast<size_t>(i) * sizeof(Bits), sizeof bits);  // any alignment
    return (bits & exponent) == exponent;
  };
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, n);
    Bits any = 0;  // no early exit inside the block, so that the loop becomes vector code
    for (int64_t i = begin; i < end; ++i) any |= static_cast<Bits>(is_bad(i) ? 1 : 0);
    if (any == 0) continue;
    for (int64_t i = begin; i < end; ++i)
      if (is_bad(i)) return i;
  }
  return std::nullopt;
}

template <typename Bits>
std::string spelling(const std::byte* element, Bits exponent) {
  Bits bits = 0;
  std::memcpy(&bits, element, sizeof bits);
  const Bits sign = static_cast<Bits>(Bits{1} << (sizeof(Bits) * 8 - 1));
  if ((bits & static_cast<Bits>(~sign)) != exponent) return "NaN";
  return (bits & sign) != 0 ? "-inf" : "inf";
}

template <typename Use>
auto with_exponent(Dtype dtype, Use use) -> decltype(use(uint32_t{})) {
  switch (dtype) {
    case Dtype::kF16: return use(uint16_t{0x7c00});
    case Dtype::kBF16: return use(uint16_t{0x7f80});
    case Dtype::kF32: return use(uint32_t{0x7f800000});
    case Dtype::kF64: return use(uint64_t{0x7ff0000000000000});
    default: return {};
  }
}

}  // namespace

std::optional<int64_t> first_non_finite(const TensorView& tensor) {
  return with_exponent(tensor.dtype, [&](auto exponent) -> std::optional<int64_t> {
    return scan(tensor.data, tensor.num_elements(), exponent);
  });
}

void check_finite(const TensorView& tensor) {
  const auto found = first_non_finite(tensor);
  if (!found) return;
  const std::string value = with_exponent(tensor.dtype, [&](auto exponent) -> std::string {
    return spelling(tensor.data + static_cast<size_t>(*found) * sizeof exponent, exponent);
  });
  std::vector<int64_t> index(tensor.shape.size());
  int64_t rest = *found;
  for (size_t d = tensor.shape.size(); d-- > 0;) {
    index[d] = rest % tensor.shape[d];
    rest /= tensor.shape[d];
  }
  throw NumericError("tensor '" + tensor.name + "' holds " + value + " at index " + shape_text(index) +
                     "; a weight must be a finite number, the checkpoint is damaged");
}

}  // namespace fare
