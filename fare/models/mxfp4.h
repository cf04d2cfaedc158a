// MXFP4 weights: blocks of 32 four-bit numbers along the input axis with one power of two for each block.
// Format: OCP Microscaling Formats (MX) 1.0, elements E2M1, scales E8M0; the packing is that of the published GPT-OSS
// files. Shapes: E matrices, R rows (outputs), G blocks a row.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "fare/checkpoint/tensor_view.h"

namespace fare {

// Matrix `index` of blocks U8 [E, R, G, 16] and scales U8 [E, R, G] as [R, 32 G] in `type` (float32 or bfloat16, both
// exact). Byte t of a block holds value 2t in its low and 2t + 1 in its high half; 8 is -0. A value is multiplied by
// 2^(scale - 127). Throws NumericError naming tensor and index for scale 255 (NaN in the format) and for a value beyond
// float32.
at::Tensor decode_mxfp4(const TensorView& blocks, const TensorView& scales, int64_t index, at::ScalarType type);

}  // namespace fare
