#include "fare/stats/paired_t.h"

#include <cmath>

#include "fare/stats/distributions.h"
#include "fare/stats/effect_size.h"
#include "fare/stats/inputs.h"
#include "fare/stats/moments.h"

namespace fare::stats {

Outcome<PairedT> paired_t(std::span<const double> d, double confidence) {
  require_finite(d, "differences");
  require_open_unit(confidence, "confidence");
  if (d.size() < 2) return Outcome<PairedT>::undefined("fewer than 2 differences");
  PairedT out;
  const double n = static_cast<double>(d.size());
  out.mean = *stats::mean(d);
  out.sd = *sample_sd(d);
  if (out.sd <= 1e-12 * std::abs(out.mean)) return Outcome<PairedT>::undefined("the differences do not vary");
  out.se = out.sd / std::sqrt(n);
  out.t = out.mean / out.se;
  out.df = n - 1;
  out.p = student_t_two_sided_p(out.t, out.df);
  const double half = student_t_quantile(0.5 + confidence / 2, out.df) * out.se;
  out.interval = {out.mean - half, out.mean + half};
  out.dz = out.mean / out.sd;
  if (d.size() >= 3) out.dz_hedges = out.dz * hedges_factor(n);
  return out;
}

std::vector<double> differences(std::span<const double> a, std::span<const double> b) {
  require_same_length(a.size(), "first side", b.size(), "second side");
  std::vector<double> d(a.begin(), a.end());
  for (size_t i = 0; i < d.size(); ++i) d[i] -= b[i];
  return d;
}

Outcome<PairingGain> pairing_gain(std::span<const double> a, std::span<const double> b) {
  const auto d = differences(a, b);
  if (d.size() < 2) return Outcome<PairingGain>::undefined("fewer than 2 items");
  const double n = static_cast<double>(d.size());
  const double sd_a = *sample_sd(a), sd_b = *sample_sd(b);
  PairingGain out;
  out.correlation = correlation(a, b);
  out.unpaired_se = std::sqrt((sd_a * sd_a + sd_b * sd_b) / n);
  out.paired_se = *sample_sd(d) / std::sqrt(n);
  return out;
}

}  // namespace fare::stats
