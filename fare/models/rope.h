// Rotary position embedding: frequencies of the published variants, and applying them.
// Shapes: T rows, N heads, d rotary dimension. Formulas: docs/rope.md.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fare {

struct RopeSpec {
  enum class Type { kDefault, kLinear, kDynamic, kYarn, kLlama3, kLongrope };
  Type type = Type::kDefault;
  double theta = 10000;
  int64_t dim = 0;            // d
  bool interleaved = false;   // pairs (2j, 2j+1) instead of (j, j + d/2)
  int64_t max_positions = 0;  // Lmax
  double factor = 1;
  std::optional<int64_t> original_max_positions;  // L0
  double beta_fast = 32, beta_slow = 1;
  bool truncate = true;
  std::optional<double> attention_factor, mscale, mscale_all_dim;
  double low_freq_factor = 1, high_freq_factor = 1;
  std::vector<double> short_factor, long_factor;

  // True when frequencies depend on how long the whole input is (dynamic, longrope).
  bool depends_on_length() const { return type == Type::kDynamic || type == Type::kLongrope; }
  // Lengths up to this share one set of frequencies.
  int64_t length_threshold() const;
};

struct RopeFrequencies {
  at::Tensor inverse_d2;  // float32 [d/2]
  double attention_factor = 1;
};

// m(scale, mscale): yarn's growth of attention scores with the stretch of positions; 1 up to scale 1.
double yarn_mscale(double scale, double mscale);

// `sequence_length`: fed tokens of the whole input (largest position + 1).
// Computed with the same float32 tensor operations as the reference, because a last-bit difference grows with the
// position.
RopeFrequencies rope_frequencies(const RopeSpec& spec, int64_t sequence_length);

// cos and sin of every row's angles, attention factor included: [T, d/2] float32.
struct Rotary {
  at::Tensor cos_Th, sin_Th;
  bool interleaved = false;
  Rotary to(at::Device device) const { return {cos_Th.to(device), sin_Th.to(device), interleaved}; }
};

// positions_T, length_T: position of each row and length of the input it belongs to (length_T may be empty when the
// variant does not depend on it).
Rotary make_rotary(const RopeSpec& spec, const std::vector<int32_t>& positions_T, const std::vector<int32_t>& length_T);

// x_TNd float32, on the device of `rotary`; returns the rotated tensor (a new one).
at::Tensor rotate(const at::Tensor& x_TNd, const Rotary& rotary);

}  // namespace fare
