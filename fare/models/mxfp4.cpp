#include "fare/models/mxfp4.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "fare/core/error.h"
#include "fare/routing/parallel_rows.h"

namespace fare {
namespace {

constexpr int64_t kBlockBytes = 16, kBlockValues = 32;
constexpr float kNumbers[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
constexpr int kBias = 127;         // of the scale
constexpr int kNoNumber = 255;     // as a scale
constexpr int kMayOverflow = 253;  // 4 * 2^(253 - 127) is the first value beyond float32

[[noreturn]] void refuse(const TensorView& tensor, const std::string& place, const std::string& what) {
  throw NumericError("tensor '" + tensor.name + "' at " + place + ": " + what);
}

// Blocks [begin, end) of one matrix. `where(block)` names a block for errors.
template <typename Value, typename Where>
void decode_blocks(const TensorView& blocks, const TensorView& scales, int64_t first_block, int64_t begin, int64_t end,
                   Value* out, const Where& where) {
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(blocks.data) + first_block * kBlockBytes;
  const uint8_t* powers = reinterpret_cast<const uint8_t*>(scales.data) + first_block;
  for (int64_t b = begin; b < end; ++b) {
    const int power = powers[b];
    if (power == kNoNumber) refuse(scales, where(b), "the scale 255 stands for NaN");
    const float factor = std::ldexp(1.0f, power - kBias);
    Value numbers[16];
    for (int n = 0; n < 16; ++n) numbers[n] = static_cast<Value>(kNumbers[n] * factor);
    const uint8_t* block = bytes + b * kBlockBytes;
    Value* to = out + b * kBlockValues;
    for (int64_t t = 0; t < kBlockBytes; ++t) {
      to[2 * t] = numbers[block[t] & 15];
      to[2 * t + 1] = numbers[block[t] >> 4];
    }
    if (power >= kMayOverflow)
      for (int64_t i = 0; i < kBlockValues; ++i)
        if (std::isinf(static_cast<float>(to[i])))
          refuse(blocks, where(b),
                 "value " + std::to_string(i) + " of the block, times 2^" + std::to_string(power - kBias) +
                     ", is beyond float32");
  }
}

}  // namespace

at::Tensor decode_mxfp4(const TensorView& blocks, const TensorView& scales, int64_t index, at::ScalarType type) {
  FARE_CHECK(blocks.dtype == Dtype::kU8 && scales.dtype == Dtype::kU8 && blocks.shape.size() == 4 &&
                 scales.shape.size() == 3 && blocks.shape[3] == kBlockBytes && index >= 0 && index < blocks.shape[0] &&
                 std::equal(scales.shape.begin(), scales.shape.end(), blocks.shape.begin()),
             blocks.name + " " + shape_text(blocks.shape) + ", " + scales.name + " " + shape_text(scales.shape));
  FARE_CHECK(type == at::kFloat || type == at::kBFloat16, "MXFP4 is decoded to float32 or bfloat16");
  const int64_t rows = blocks.shape[1], groups = blocks.shape[2];
  at::Tensor out = at::empty({rows, groups * kBlockValues}, type);
  const auto where = [&](int64_t block) { return shape_text({index, block / groups, block % groups}); };
  parallel_rows(0, rows * groups, 4096, [&](int64_t begin, int64_t end) {
    const int64_t first = index * rows * groups;
    if (type == at::kFloat) decode_blocks(blocks, scales, first, begin, end, out.mutable_data_ptr<float>(), where);
    else decode_blocks(blocks, scales, first, begin, end, out.mutable_data_ptr<at::BFloat16>(), where);
  });
  return out;
}

}  // namespace fare
