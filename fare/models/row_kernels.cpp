// Compiled with relaxed floating-point rules (CMakeLists.txt) so that sums vectorise; all_finite looks at bits instead.
#include "fare/models/row_kernels.h"

#include <cmath>
#include <cstring>

#include "fare/core/clones.h"

namespace fare::kernels {
namespace {

inline void store(float value, float* to) { *to = value; }
inline void store(float value, Bf16* to) {  // nearest, ties to even
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  *to = static_cast<Bf16>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

template <typename Out>
inline __attribute__((always_inline)) void norm_rows(const float* __restrict x, const float* __restrict weight,
                                                     float eps, int64_t num_rows, int64_t width, Out* __restrict out) {
  for (int64_t r = 0; r < num_rows; ++r, x += width, out += width) {
    float sum = 0;
    for (int64_t i = 0; i < width; ++i) sum += x[i] * x[i];
    const float scale = 1.0f / std::sqrt(sum / static_cast<float>(width) + eps);
    for (int64_t i = 0; i < width; ++i) store(x[i] * scale * weight[i], out + i);
  }
}

template <typename Value>
inline __attribute__((always_inline)) void gate_rows(Value* __restrict gate, const Value* __restrict up,
                                                     int64_t num_rows, int64_t width) {
  // Row by row: the exponential of the last values, which fill no vector, may round differently.
  for (int64_t r = 0; r < num_rows; ++r, gate += width, up += width) {
    for (int64_t i = 0; i < width; ++i) {
      const float g = widen(gate[i]);
      // Below this the exponential overflows and the sigmoid is 0 in float32; relaxed arithmetic would make it 0 * inf.
      store(g < -87.0f ? 0.0f : g / (1.0f + std::exp(-g)) * widen(up[i]), gate + i);
    }
  }
}

template <typename Value>
inline __attribute__((always_inline)) void clamped_rows(const Value* __restrict gate_up, float limit, float alpha,
                                                        int64_t num_rows, int64_t width, Value* __restrict out) {
  for (int64_t r = 0; r < num_rows; ++r, gate_up += 2 * width, out += width) {  // as above
    for (int64_t i = 0; i < width; ++i) {
      const float gate = widen(gate_up[2 * i]), up = widen(gate_up[2 * i + 1]);
      const float g = gate > limit ? limit : gate, u = up > limit ? limit : up < -limit ? -limit : up;
      store(alpha * g < -87.0f ? 0.0f : g / (1.0f + std::exp(-alpha * g)) * (u + 1.0f), out + i);
    }
  }
}

template <typename Value>
inline __attribute__((always_inline)) float largest_of(const Value* __restrict x, int64_t n) {
  float most = widen(x[0]);
  for (int64_t i = 1; i < n; ++i) most = widen(x[i]) > most ? widen(x[i]) : most;
  return most;
}

template <typename Value>
inline __attribute__((always_inline)) double exp_sum_of(const Value* __restrict x, float shift, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(std::exp(widen(x[i]) - shift));
  return sum;
}

template <typename Value>
inline __attribute__((always_inline)) void add_pair(const Value* __restrict a, float shift_a, const Value* __restrict b,
                                                    float shift_b, int64_t n, PairSums& sums) {
  double exp_a = 0, exp_a_gap = 0, exp_b = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float one = widen(a[i]), other = widen(b[i]), weight = std::exp(one - shift_a);
    exp_a += static_cast<double>(weight);
    exp_a_gap += static_cast<double>(weight * (one - other));
    exp_b += static_cast<double>(std::exp(other - shift_b));
  }
  sums.exp_a += exp_a, sums.exp_a_gap += exp_a_gap, sums.exp_b += exp_b;
}

}  // namespace

FARE_CLONES void rms_norm(const float* x, const float* weight, float eps, int64_t num_rows, int64_t width, float* out) {
  norm_rows(x, weight, eps, num_rows, width, out);
}

FARE_CLONES void rms_norm(const float* x, const float* weight, float eps, int64_t num_rows, int64_t width, Bf16* out) {
  norm_rows(x, weight, eps, num_rows, width, out);
}

FARE_CLONES void silu_times(float* gate, const float* up, int64_t num_rows, int64_t width) {
  gate_rows(gate, up, num_rows, width);
}
FARE_CLONES void silu_times(Bf16* gate, const Bf16* up, int64_t num_rows, int64_t width) {
  gate_rows(gate, up, num_rows, width);
}

FARE_CLONES void clamped_swiglu(const float* gate_up, float limit, float alpha, int64_t num_rows, int64_t width,
                                float* out) {
  clamped_rows(gate_up, limit, alpha, num_rows, width, out);
}
FARE_CLONES void clamped_swiglu(const Bf16* gate_up, float limit, float alpha, int64_t num_rows, int64_t width,
                                Bf16* out) {
  clamped_rows(gate_up, limit, alpha, num_rows, width, out);
}

FARE_CLONES void add_scaled(const float* __restrict x, float weight, int64_t n, float* __restrict y) {
  for (int64_t i = 0; i < n; ++i) y[i] += weight * x[i];
}
FARE_CLONES void add_scaled(const Bf16* __restrict x, float weight, int64_t n, float* __restrict y) {
  for (int64_t i = 0; i < n; ++i) y[i] += weight * widen(x[i]);
}

FARE_CLONES void add(const float* a, const float* b, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] + b[i];
}
FARE_CLONES void add(const float* a, const Bf16* b, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] + widen(b[i]);
}

FARE_CLONES void rotate(const float* __restrict x, const float* __restrict cos_h, const float* __restrict sin_h,
                        int64_t num_heads, int64_t half, bool interleaved, float* __restrict out) {
  for (int64_t n = 0; n < num_heads; ++n, x += 2 * half, out += 2 * half) {
    if (interleaved) {
      for (int64_t j = 0; j < half; ++j) {
        out[2 * j] = x[2 * j] * cos_h[j] - x[2 * j + 1] * sin_h[j];
        out[2 * j + 1] = x[2 * j + 1] * cos_h[j] + x[2 * j] * sin_h[j];
      }
    } else {
      for (int64_t j = 0; j < half; ++j) {
        out[j] = x[j] * cos_h[j] - x[j + half] * sin_h[j];
        out[j + half] = x[j + half] * cos_h[j] + x[j] * sin_h[j];
      }
    }
  }
}

FARE_CLONES float largest(const float* x, int64_t n) { return largest_of(x, n); }
FARE_CLONES float largest(const Bf16* x, int64_t n) { return largest_of(x, n); }

FARE_CLONES double sum_exp(const float* x, float shift, int64_t n) { return exp_sum_of(x, shift, n); }
FARE_CLONES double sum_exp(const Bf16* x, float shift, int64_t n) { return exp_sum_of(x, shift, n); }

FARE_CLONES void add_pair_sums(const float* a, float shift_a, const float* b, float shift_b, int64_t n,
                               PairSums& sums) {
  add_pair(a, shift_a, b, shift_b, n, sums);
}
FARE_CLONES void add_pair_sums(const Bf16* a, float shift_a, const Bf16* b, float shift_b, int64_t n, PairSums& sums) {
  add_pair(a, shift_a, b, shift_b, n, sums);
}

FARE_CLONES bool all_finite(const float* x, int64_t n) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof bits);
    bad |= (bits & 0x7f800000u) == 0x7f800000u ? 1u : 0u;
  }
  return bad == 0;
}

}  // namespace fare::kernels
