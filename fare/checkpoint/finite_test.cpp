#include "fare/checkpoint/finite.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "fare/checkpoint/test_safetensors.h"

namespace fare {
namespace {

template <typename Bits>
void finds_each(Dtype dtype, Bits finite_max, Bits infinity, Bits nan, Bits minus_infinity) {
  for (const size_t n : {size_t{1}, size_t{4095}, size_t{4096}, size_t{4097}, size_t{10000}}) {
    std::vector<std::byte> storage(n * sizeof(Bits) + 1);
    std::byte* data = storage.data() + 1;  // unaligned
    for (size_t i = 0; i < n; ++i) std::memcpy(data + i * sizeof(Bits), &finite_max, sizeof(Bits));
    const TensorView tensor{"w", dtype, {static_cast<int64_t>(n)}, data, n * sizeof(Bits)};
    EXPECT_FALSE(first_non_finite(tensor)) << dtype_name(dtype) << " " << n;
    for (const size_t at : {n - 1, n / 2, size_t{0}}) {
      for (const Bits bad : {infinity, nan, minus_infinity}) {
        std::memcpy(data + at * sizeof(Bits), &bad, sizeof(Bits));
        EXPECT_EQ(first_non_finite(tensor), static_cast<int64_t>(at)) << dtype_name(dtype) << " " << n;
      }
    }
  }
}

TEST(Finite, the_first_bad_value_is_found_in_every_float_type) {
  finds_each<uint16_t>(Dtype::kF16, 0xfbff, 0x7c00, 0x7c01, 0xfc00);
  finds_each<uint16_t>(Dtype::kBF16, 0x7f7f, 0x7f80, 0xffc0, 0xff80);
  finds_each<uint32_t>(Dtype::kF32, 0x7f7fffff, 0x7f800000, 0x7fc00000, 0xff800000);
  finds_each<uint64_t>(Dtype::kF64, 0x7fefffffffffffff, 0x7ff0000000000000, 0xfff0000000000001, 0xfff0000000000000);
}

TEST(Finite, integers_and_empty_tensors_have_none) {
  const std::vector<std::byte> ones(16, std::byte{0xff});
  EXPECT_FALSE(first_non_finite({"w", Dtype::kI64, {2}, ones.data(), 16}));
  EXPECT_FALSE(first_non_finite({"w", Dtype::kU8, {16}, ones.data(), 16}));
  EXPECT_FALSE(first_non_finite({"w", Dtype::kF32, {0, 3}, nullptr, 0}));
}

TEST(Finite, the_error_names_tensor_index_and_value) {
  std::vector<float> values(24, 1.0f);
  values[23 - 5] = -std::numeric_limits<float>::infinity();
  const TensorView tensor{"layers.3.up", Dtype::kF32, {2, 3, 4}, reinterpret_cast<const std::byte*>(values.data()), 96};
  const std::string message = message_of<NumericError>([&] { check_finite(tensor); });
  EXPECT_HAS(message, "'layers.3.up'");
  EXPECT_HAS(message, "-inf at index [1, 1, 2]");
  values[0] = std::nanf("");
  EXPECT_HAS(message_of<NumericError>([&] { check_finite(tensor); }), "NaN at index [0, 0, 0]");
  const TensorView scalar{"s", Dtype::kF32, {}, reinterpret_cast<const std::byte*>(values.data()), 4};
  EXPECT_HAS(message_of<NumericError>([&] { check_finite(scalar); }), "NaN at index []");
}

}  // namespace
}  // namespace fare
