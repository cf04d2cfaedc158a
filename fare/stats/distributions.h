// Distribution functions and quantiles, by way of Boost.Math. Upper tails are computed as such (never 1 - cdf), so that
// small p-values keep their digits. Throw UsageError outside the stated ranges.
#pragma once

#include <cstdint>

#include "fare/core/philox.h"

namespace fare::stats {

double normal_cdf(double z);
double normal_sf(double z);        // P(Z > z)
double normal_quantile(double p);  // p in (0, 1)

// Standard normal number d of a stream: the normal quantile of its open uniform d.
double normal_draw(const RandomStream& stream, uint64_t d);

// Student's t with df > 0 degrees of freedom (not necessarily whole).
double student_t_cdf(double t, double df);
double student_t_sf(double t, double df);
double student_t_two_sided_p(double t, double df);
double student_t_quantile(double p, double df);

double chi2_sf(double x, double df);  // x >= 0, df > 0

double regularized_incomplete_beta(double a, double b, double x);  // I_x(a, b); a, b > 0, x in [0, 1]
double beta_quantile(double a, double b, double p);                // x with I_x(a, b) = p

double regularized_gamma_p(double a, double x);  // P(a, x); a > 0, x >= 0
double regularized_gamma_q(double a, double x);  // 1 - P(a, x)

// X ~ Bin(n, p), 0 <= p <= 1. `k` may lie outside [0, n].
double binomial_pmf(int64_t k, int64_t n, double p);
double binomial_cdf(int64_t k, int64_t n, double p);  // P(X <= k)
double binomial_sf(int64_t k, int64_t n, double p);   // P(X > k)

}  // namespace fare::stats
