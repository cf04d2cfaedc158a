// Inner loops over rows that plain tensor operations would make in several passes. Compiled for several instruction
// sets; every row is computed on its own in a fixed order, so results do not depend on how rows are cut into ranges.
// No gradients: callers use tensor operations where one is needed.
#pragma once

#include <bit>
#include <cstdint>

namespace fare::kernels {

using Bf16 = uint16_t;  // bits of a bfloat16

inline float widen(float x) { return x; }
inline float widen(Bf16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x) << 16); }

// out = x / sqrt(mean(x^2) + eps) * weight for each of `num_rows` rows of `width`.
void rms_norm(const float* x, const float* weight, float eps, int64_t num_rows, int64_t width, float* out);
void rms_norm(const float* x, const float* weight, float eps, int64_t num_rows, int64_t width, Bf16* out);

// gate = silu(gate) * up for each of `num_rows` rows of `width`.
void silu_times(float* gate, const float* up, int64_t num_rows, int64_t width);
void silu_times(Bf16* gate, const Bf16* up, int64_t num_rows, int64_t width);

// out[i] = g sigmoid(alpha g) (u + 1) with g = min(gate_up[2i], limit), u = gate_up[2i + 1] within +-limit, for each of
// `num_rows` rows of `width` values of out.
void clamped_swiglu(const float* gate_up, float limit, float alpha, int64_t num_rows, int64_t width, float* out);
void clamped_swiglu(const Bf16* gate_up, float limit, float alpha, int64_t num_rows, int64_t width, Bf16* out);

// y += weight * x, n values.
void add_scaled(const float* x, float weight, int64_t n, float* y);
void add_scaled(const Bf16* x, float weight, int64_t n, float* y);

// out = a + b, n values; out may be a.
void add(const float* a, const float* b, int64_t n, float* out);
void add(const float* a, const Bf16* b, int64_t n, float* out);

// Rotates `num_heads` heads of one row: pairs (j, j + half), or (2j, 2j + 1) when interleaved.
void rotate(const float* x, const float* cos_h, const float* sin_h, int64_t num_heads, int64_t half, bool interleaved,
            float* out);

// The largest of n > 0 values.
float largest(const float* x, int64_t n);
float largest(const Bf16* x, int64_t n);

// Sum of exp(x - shift), n values: exponentials in float32, sum in binary64. NaN where a value is NaN.
double sum_exp(const float* x, float shift, int64_t n);
double sum_exp(const Bf16* x, float shift, int64_t n);

// Sums over two rows of logits a and b, exponentials against the shift of each.
struct PairSums {
  double exp_a = 0;      // of exp(a - shift_a)
  double exp_a_gap = 0;  // of exp(a - shift_a) (a - b)
  double exp_b = 0;      // of exp(b - shift_b)
};
// Adds n values. Exponentials in float32, sums in binary64; NaN where a value is NaN.
void add_pair_sums(const float* a, float shift_a, const float* b, float shift_b, int64_t n, PairSums& sums);
void add_pair_sums(const Bf16* a, float shift_a, const Bf16* b, float shift_b, int64_t n, PairSums& sums);

// True when no value is NaN or infinite.
bool all_finite(const float* x, int64_t n);

}  // namespace fare::kernels
