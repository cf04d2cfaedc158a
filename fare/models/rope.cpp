#include "fare/models/rope.h"

#include <cmath>
#include <map>
#include <numbers>

#include "fare/core/error.h"
#include "fare/models/device.h"
#include "fare/models/row_kernels.h"
#include "fare/routing/parallel_rows.h"

namespace fare {

double yarn_mscale(double scale, double mscale) { return scale <= 1 ? 1.0 : 0.1 * mscale * std::log(scale) + 1.0; }

namespace {

// 2j/d for j < d/2.
at::Tensor exponents(int64_t dim) { return at::arange(0, dim, 2, at::kLong).to(at::kFloat) / static_cast<double>(dim); }

// base^(2j/d) for j < d/2, as the reference computes it.
at::Tensor powers(double base, int64_t dim) { return at::pow(base, exponents(dim)); }

RopeFrequencies yarn(const RopeSpec& spec) {
  const double d = static_cast<double>(spec.dim);
  const double l0 = static_cast<double>(spec.original_max_positions.value_or(spec.max_positions));
  const auto correction = [&](double rotations) {
    return d * std::log(l0 / (rotations * 2 * std::numbers::pi)) / (2 * std::log(spec.theta));
  };
  double low = correction(spec.beta_fast), high = correction(spec.beta_slow);
  if (spec.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, d - 1);
  if (low == high) high += 0.001;
  const at::Tensor power = powers(spec.theta, spec.dim);
  const at::Tensor extrapolated = 1.0 / power;
  const at::Tensor interpolated = 1.0 / (spec.factor * power);
  const at::Tensor ramp = ((at::arange(spec.dim / 2, at::kFloat) - low) / (high - low)).clamp(0, 1);
  const at::Tensor keep = 1 - ramp;
  RopeFrequencies result;
  result.inverse_d2 = interpolated * (1 - keep) + extrapolated * keep;
  if (spec.attention_factor) {
    result.attention_factor = *spec.attention_factor;
  } else if (spec.mscale.value_or(0) != 0 && spec.mscale_all_dim.value_or(0) != 0) {
    result.attention_factor = yarn_mscale(spec.factor, *spec.mscale) / yarn_mscale(spec.factor, *spec.mscale_all_dim);
  } else {
    result.attention_factor = yarn_mscale(spec.factor, 1);
  }
  return result;
}

at::Tensor llama3(const RopeSpec& spec) {
  const double l0 = static_cast<double>(spec.original_max_positions.value_or(spec.max_positions));
  const at::Tensor inverse = 1.0 / powers(spec.theta, spec.dim);
  const at::Tensor wavelength = 2 * std::numbers::pi / inverse;
  const double longest = l0 / spec.low_freq_factor, shortest = l0 / spec.high_freq_factor;
  const at::Tensor slowed = at::where(wavelength > longest, inverse / spec.factor, inverse);
  const at::Tensor smooth = (l0 / wavelength - spec.low_freq_factor) / (spec.high_freq_factor - spec.low_freq_factor);
  const at::Tensor blended = (1 - smooth) * slowed / spec.factor + smooth * slowed;
  const at::Tensor medium = (wavelength < shortest).logical_not().logical_and((wavelength > longest).logical_not());
  return at::where(medium, blended, slowed);
}

RopeFrequencies longrope(const RopeSpec& spec, int64_t sequence_length) {
  const int64_t l0 = spec.original_max_positions.value_or(spec.max_positions);
  const auto& list = sequence_length > l0 ? spec.long_factor : spec.short_factor;
  FARE_CHECK(static_cast<int64_t>(list.size()) == spec.dim / 2, "longrope factors must have length d/2");
  std::vector<float> factors(list.begin(), list.end());
  const at::Tensor ext = at::from_blob(factors.data(), {spec.dim / 2}, at::kFloat).clone();
  RopeFrequencies result;
  result.inverse_d2 = 1.0 / (ext * powers(spec.theta, spec.dim));
  if (spec.attention_factor) {
    result.attention_factor = *spec.attention_factor;
  } else if (spec.factor > 1) {
    result.attention_factor = std::sqrt(1 + std::log(spec.factor) / std::log(static_cast<double>(l0)));
  }
  return result;
}

}  // namespace

int64_t RopeSpec::length_threshold() const {
  return type == Type::kLongrope ? original_max_positions.value_or(max_positions) : max_positions;
}

RopeFrequencies rope_frequencies(const RopeSpec& spec, int64_t sequence_length) {
  switch (spec.type) {
    case RopeSpec::Type::kDefault: return {1.0 / powers(spec.theta, spec.dim), 1};
    case RopeSpec::Type::kLinear: return {1.0 / powers(spec.theta, spec.dim) / spec.factor, 1};
    case RopeSpec::Type::kDynamic: {
      const double longest = static_cast<double>(std::max(sequence_length, spec.max_positions));
      const double dim = static_cast<double>(spec.dim);
      if (sequence_length <= spec.max_positions) return {1.0 / powers(spec.theta, spec.dim), 1};
      // In float32, as the reference, whose length is a tensor here.
      const at::Tensor stretch =
          at::scalar_tensor(longest, at::kFloat) * spec.factor / static_cast<double>(spec.max_positions) -
          (spec.factor - 1);
      const at::Tensor base = at::pow(stretch, dim / (dim - 2)) * spec.theta;
      return {1.0 / at::pow(base, exponents(spec.dim)), 1};
    }
    case RopeSpec::Type::kYarn: return yarn(spec);
    case RopeSpec::Type::kLlama3: return {llama3(spec), 1};
    case RopeSpec::Type::kLongrope: return longrope(spec, sequence_length);
  }
  FARE_CHECK(false, "unknown rope type");
}

Rotary make_rotary(const RopeSpec& spec, const std::vector<int32_t>& positions_T,
                   const std::vector<int32_t>& length_T) {
  const int64_t num_rows = static_cast<int64_t>(positions_T.size());
  const at::Tensor positions = at::tensor(at::ArrayRef<int32_t>(positions_T), at::kInt).to(at::kFloat);
  Rotary rotary;
  rotary.interleaved = spec.interleaved;
  const auto angles = [&](const RopeFrequencies& frequencies, const at::Tensor& at_positions) {
    return at_positions.unsqueeze(1) * frequencies.inverse_d2.unsqueeze(0);
  };
  const auto scaled = [](const at::Tensor& x, double factor) { return factor == 1 ? x : x * factor; };
  if (!spec.depends_on_length() || length_T.empty()) {
    const auto frequencies = rope_frequencies(spec, 0);
    const at::Tensor angle = angles(frequencies, positions);
    rotary.cos_Th = scaled(angle.cos(), frequencies.attention_factor);
    rotary.sin_Th = scaled(angle.sin(), frequencies.attention_factor);
    return rotary;
  }
  rotary.cos_Th = at::empty({num_rows, spec.dim / 2}, at::kFloat);
  rotary.sin_Th = at::empty({num_rows, spec.dim / 2}, at::kFloat);
  std::map<int32_t, std::vector<int64_t>> rows_by_length;
  for (int64_t t = 0; t < num_rows; ++t) {
    // Every length up to the threshold has the same frequencies.
    const int32_t length = length_T[static_cast<size_t>(t)];
    rows_by_length[length <= spec.length_threshold() ? 0 : length].push_back(t);
  }
  for (const auto& [length, rows] : rows_by_length) {
    const auto frequencies = rope_frequencies(spec, length);
    const at::Tensor index = at::tensor(at::ArrayRef<int64_t>(rows), at::kLong);
    const at::Tensor angle = angles(frequencies, positions.index_select(0, index));
    rotary.cos_Th.index_copy_(0, index, scaled(angle.cos(), frequencies.attention_factor));
    rotary.sin_Th.index_copy_(0, index, scaled(angle.sin(), frequencies.attention_factor));
  }
  return rotary;
}

at::Tensor rotate(const at::Tensor& x_TNd, const Rotary& rotary) {
  const int64_t half = x_TNd.size(-1) / 2;
  if (!needs_operations(x_TNd)) {
    const at::Tensor from = x_TNd.contiguous();
    at::Tensor out = at::empty(from.sizes(), from.options());
    const int64_t num_heads = from.size(1), row = num_heads * 2 * half;
    const float *x = from.const_data_ptr<float>(), *c = rotary.cos_Th.const_data_ptr<float>(),
                *s = rotary.sin_Th.const_data_ptr<float>();
    float* to = out.mutable_data_ptr<float>();
    parallel_rows(0, from.size(0), 64, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t)
        kernels::rotate(x + t * row, c + t * half, s + t * half, num_heads, half, rotary.interleaved, to + t * row);
    });
    return out;
  }
  const at::Tensor cos = rotary.cos_Th.unsqueeze(1), sin = rotary.sin_Th.unsqueeze(1);
  if (rotary.interleaved) {
    const at::Tensor pairs = x_TNd.reshape({x_TNd.size(0), x_TNd.size(1), half, 2});
    const at::Tensor even = pairs.select(-1, 0), odd = pairs.select(-1, 1);
    return at::stack({even * cos - odd * sin, odd * cos + even * sin}, -1).flatten(2);
  }
  const at::Tensor first = x_TNd.narrow(-1, 0, half), second = x_TNd.narrow(-1, half, half);
  return at::cat({first * cos - second * sin, second * cos + first * sin}, -1);
}

}  // namespace fare
