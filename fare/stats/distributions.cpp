#include "fare/stats/distributions.h"

#include <boost/math/special_functions/beta.hpp>
#include <boost/math/special_functions/erf.hpp>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>
#include <numbers>

#include "fare/stats/inputs.h"

namespace fare::stats {
namespace bm = boost::math;

double normal_cdf(double z) { return 0.5 * bm::erfc(-z / std::numbers::sqrt2); }

double normal_sf(double z) { return 0.5 * bm::erfc(z / std::numbers::sqrt2); }

double normal_quantile(double p) {
  require_open_unit(p, "normal quantile: probability");
  return -std::numbers::sqrt2 * bm::erfc_inv(2 * p);
}

double normal_draw(const RandomStream& stream, uint64_t d) { return normal_quantile(stream.open_uniform(d)); }

double student_t_sf(double t, double df) {
  require_positive(df, "Student t: degrees of freedom");
  if (t < 0) return 1 - student_t_sf(-t, df);
  // Half the two-sided p = I_{df/(df+t^2)}(df/2, 1/2); for small t the argument nears 1 and the complement is exact.
  const double square = t * t;
  if (std::isinf(square)) return 0;
  if (square > df) return 0.5 * bm::ibeta(df / 2, 0.5, df / (df + square));
  return 0.5 * bm::ibetac(0.5, df / 2, square / (df + square));
}

double student_t_cdf(double t, double df) { return student_t_sf(-t, df); }

double student_t_two_sided_p(double t, double df) { return 2 * student_t_sf(std::abs(t), df); }

double student_t_quantile(double p, double df) {
  require_open_unit(p, "Student t quantile: probability");
  require_positive(df, "Student t quantile: degrees of freedom");
  if (p == 0.5) return 0;
  const double tail = std::min(p, 1 - p);
  double y = 0;  // 1 - x
  const double x = bm::ibeta_inv(df / 2, 0.5, 2 * tail, &y);
  const double t = std::sqrt(df * y / x);
  return p < 0.5 ? -t : t;
}

double chi2_sf(double x, double df) {
  require_positive(df, "chi-squared: degrees of freedom");
  return regularized_gamma_q(df / 2, x / 2);
}

double regularized_incomplete_beta(double a, double b, double x) {
  require_positive(a, "incomplete beta: a");
  require_positive(b, "incomplete beta: b");
  require_closed_unit(x, "incomplete beta: x");
  return bm::ibeta(a, b, x);
}

double beta_quantile(double a, double b, double p) {
  require_positive(a, "beta quantile: a");
  require_positive(b, "beta quantile: b");
  require_closed_unit(p, "beta quantile: probability");
  return bm::ibeta_inv(a, b, p);
}

double regularized_gamma_p(double a, double x) {
  require_positive(a, "incomplete gamma: a");
  if (!(x >= 0)) require_positive(x, "incomplete gamma: x");
  if (std::isinf(x)) return 1;
  return bm::gamma_p(a, x);
}

double regularized_gamma_q(double a, double x) {
  require_positive(a, "incomplete gamma: a");
  if (!(x >= 0)) require_positive(x, "incomplete gamma: x");
  if (std::isinf(x)) return 0;
  return bm::gamma_q(a, x);
}

double binomial_pmf(int64_t k, int64_t n, double p) {
  require_count(0, n, "binomial");
  require_closed_unit(p, "binomial: probability");
  if (k < 0 || k > n) return 0;
  if (p == 0) return k == 0 ? 1 : 0;
  if (p == 1) return k == n ? 1 : 0;
  if (n == 0) return 1;
  // p^k (1-p)^(n-k) / B(k+1, n-k+1) / (n+1), without overflow.
  const double a = static_cast<double>(k) + 1;
  const double b = static_cast<double>(n - k) + 1;
  return bm::ibeta_derivative(a, b, p) / (static_cast<double>(n) + 1);
}

double binomial_cdf(int64_t k, int64_t n, double p) {
  require_count(0, n, "binomial");
  require_closed_unit(p, "binomial: probability");
  if (k < 0) return 0;
  if (k >= n) return 1;
  return bm::ibetac(static_cast<double>(k) + 1, static_cast<double>(n - k), p);
}

double binomial_sf(int64_t k, int64_t n, double p) {
  require_count(0, n, "binomial");
  require_closed_unit(p, "binomial: probability");
  if (k < 0) return 1;
  if (k >= n) return 0;
  return bm::ibeta(static_cast<double>(k) + 1, static_cast<double>(n - k), p);
}

}  // namespace fare::stats
