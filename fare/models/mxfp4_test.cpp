#include "fare/models/mxfp4.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "fare/core/error.h"

namespace fare {
namespace {

// One row of `groups` blocks for each of `matrices` matrices.
struct Packed {
  std::vector<uint8_t> bytes, powers;
  std::vector<int64_t> shape;

  Packed(int64_t matrices, int64_t rows, int64_t groups)
      : bytes(static_cast<size_t>(matrices * rows * groups * 16)),
        powers(static_cast<size_t>(matrices * rows * groups), 127),
        shape{matrices, rows, groups} {}

  at::Tensor decode(int64_t index, at::ScalarType type = at::kFloat) const {
    const TensorView blocks{"w_blocks",
                            Dtype::kU8,
                            {shape[0], shape[1], shape[2], 16},
                            reinterpret_cast<const std::byte*>(bytes.data()),
                            bytes.size()};
    const TensorView scales{"w_scales", Dtype::kU8, shape, reinterpret_cast<const std::byte*>(powers.data()),
                            powers.size()};
    return decode_mxfp4(blocks, scales, index, type);
  }
};

std::string error_of(const Packed& packed, int64_t index) {
  try {
    packed.decode(index);
  } catch (const NumericError& error) {
    return error.what();
  }
  return "";
}

TEST(Mxfp4, BytesOfThePublishedExampleDecodeLowHalfFirst) {
  // 21 F0 8A 7C: nibbles 1 2 0 15 10 8 12 7.
  const std::vector<float> expected = {0.5f, 1, 0, -6, -1, -0.0f, -2, 6};
  for (const auto& [power, factor] : {std::pair{127, 1.0f}, {120, 0.0078125f}, {130, 8.0f}})
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      Packed packed(1, 1, 1);
      packed.bytes = {0x21, 0xF0, 0x8A, 0x7C, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
      packed.powers = {static_cast<uint8_t>(power)};
      const at::Tensor decoded = packed.decode(0, type);
      ASSERT_EQ(decoded.scalar_type(), type);
      ASSERT_EQ(decoded.sizes(), (std::vector<int64_t>{1, 32}));
      for (int64_t i = 0; i < 32; ++i) {
        const float value = decoded[0][i].item<float>(),
                    want = i < 8 ? expected[static_cast<size_t>(i)] * factor : 0.0f;
        EXPECT_EQ(value, want) << "value " << i << ", scale " << power;
        EXPECT_EQ(std::signbit(value), std::signbit(want)) << "value " << i << ", scale " << power;
      }
    }
}

TEST(Mxfp4, EveryNumberTimesEveryScaleIsExactInBothTypes) {
  const double numbers[8] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  for (int power = 0; power < 253; ++power) {
    Packed packed(1, 1, 1);
    for (int t = 0; t < 16; ++t) packed.bytes[static_cast<size_t>(t)] = static_cast<uint8_t>(t | (15 - t) << 4);
    packed.powers[0] = static_cast<uint8_t>(power);
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      const at::Tensor decoded = packed.decode(0, type).to(at::kDouble);
      for (int i = 0; i < 32; ++i) {
        const int nibble = i % 2 == 0 ? i / 2 : 15 - i / 2;
        const double want = (nibble < 8 ? 1 : -1) * std::ldexp(numbers[nibble % 8], power - 127);
        ASSERT_EQ(decoded[0][i].item<double>(), want) << "nibble " << nibble << ", scale " << power;
      }
    }
  }
}

TEST(Mxfp4, BlocksFollowTheInputAxisAndMatricesTheFirst) {
  Packed packed(3, 2, 2);
  for (size_t i = 0; i < packed.bytes.size(); ++i)
    packed.bytes[i] = static_cast<uint8_t>(i / 16 % 8 * 0x11);  // a block each
  for (size_t i = 0; i < packed.powers.size(); ++i) packed.powers[i] = static_cast<uint8_t>(127 + i / 4);
  const float numbers[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  for (int64_t e = 0; e < 3; ++e) {
    const at::Tensor decoded = packed.decode(e);
    ASSERT_EQ(decoded.sizes(), (std::vector<int64_t>{2, 64}));
    for (int64_t r = 0; r < 2; ++r)
      for (int64_t i = 0; i < 64; ++i)
        EXPECT_EQ(decoded[r][i].item<float>(),
                  numbers[(e * 4 + r * 2 + i / 32) % 8] * std::ldexp(1.0f, static_cast<int>(e)));
  }
}

TEST(Mxfp4, Scale255IsRefusedWithTensorAndIndex) {
  Packed packed(2, 3, 2);
  packed.powers[1 * 6 + 2 * 2 + 1] = 255;
  EXPECT_EQ(error_of(packed, 0), "");
  const std::string error = error_of(packed, 1);
  EXPECT_NE(error.find("'w_scales' at [1, 2, 1]"), std::string::npos) << error;
  EXPECT_NE(error.find("255"), std::string::npos) << error;
}

TEST(Mxfp4, Scale254HoldsSmallNumbersAndRefusesWhatFloat32DoesNot) {
  Packed packed(1, 1, 2);
  packed.powers = {127, 254};
  for (size_t t = 16; t < 32; ++t) packed.bytes[t] = 0x3B;  // -1.5 and 1.5
  EXPECT_EQ(packed.decode(0)[0][33].item<float>(), std::ldexp(1.5f, 127));
  EXPECT_EQ(packed.decode(0)[0][32].item<float>(), -std::ldexp(1.5f, 127));
  packed.bytes[20] = 0x4B;  // value 9 of the block: 2 * 2^127
  const std::string error = error_of(packed, 0);
  EXPECT_NE(error.find("'w_blocks' at [0, 0, 1]: value 9"), std::string::npos) << error;
  packed.powers[1] = 253;
  EXPECT_EQ(packed.decode(0)[0][41].item<float>(), std::ldexp(1.0f, 127));
  packed.bytes[20] = 0x6B;  // 4 * 2^126
  EXPECT_NE(error_of(packed, 0), "");
  packed.powers[1] = 252;
  packed.bytes[20] = 0x7B;  // 6 * 2^125
  EXPECT_EQ(packed.decode(0)[0][41].item<float>(), std::ldexp(6.0f, 125));
}

}  // namespace
}  // namespace fare
