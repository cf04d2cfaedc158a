#include "fare/diagnosis/routing_distance.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

namespace fare {
namespace {

constexpr double kNegligibleBits = 1e-9;
constexpr double kFloor = 1e-8;

void softmax(const float* z, int64_t n, std::vector<double>& p) {
  p.resize(static_cast<size_t>(n));
  const double largest = *std::max_element(z, z + n);
  double total = 0;
  for (int64_t e = 0; e < n; ++e) total += p[static_cast<size_t>(e)] = std::exp(z[e] - largest);
  for (double& value : p) value /= total;
}

double js_bits(const std::vector<double>& p, const std::vector<double>& q) {
  double bits = 0;
  for (size_t e = 0; e < p.size(); ++e) {
    const double m = (p[e] + q[e]) / 2;
    if (p[e] > 0) bits += p[e] / 2 * std::log2(p[e] / m);
    if (q[e] > 0) bits += q[e] / 2 * std::log2(q[e] / m);
  }
  return bits < kNegligibleBits ? 0 : bits;
}

double variance(const float* z, int64_t n) {
  double mean = 0, squares = 0;
  for (int64_t e = 0; e < n; ++e) mean += z[e] / static_cast<double>(n);
  for (int64_t e = 0; e < n; ++e) squares += (z[e] - mean) * (z[e] - mean);
  return squares / static_cast<double>(n);
}

std::map<int32_t, double> shares(const TokenRoute& route) {
  std::map<int32_t, double> share;
  double total = 0;
  for (int64_t slot = 0; slot < route.k; ++slot)
    if (route.ids[slot] >= 0) total += share[route.ids[slot]] = route.weights[slot];
  if (total > 0)
    for (auto& [expert, weight] : share) weight /= total;
  return share;
}

}  // namespace

double router_divergence_bits(const float* a, const float* b, int64_t num_experts) {
  if (std::equal(a, a + num_experts, b)) return 0;
  thread_local std::vector<double> p, q;
  softmax(a, num_experts, p);
  softmax(b, num_experts, q);
  return js_bits(p, q);
}

RoutingStatistics routing_statistics(const TokenRoute& a, const TokenRoute& b) {
  RoutingStatistics result{};
  const int64_t n = a.num_experts;
  if (std::equal(a.logits, a.logits + n, b.logits)) return result;
  thread_local std::vector<double> p, q;
  softmax(a.logits, n, p);
  softmax(b.logits, n, q);
  result[kJs] = js_bits(p, q);
  double squares = 0;
  for (size_t e = 0; e < p.size(); ++e) {
    result[kTotalVariation] += std::abs(p[e] - q[e]) / 2;
    const double x = std::max(p[e], kFloor), y = std::max(q[e], kFloor);
    result[kSymmetricKl] += (x - y) / 2 * std::log2(x / y);
    squares += (static_cast<double>(a.logits[e]) - b.logits[e]) * (static_cast<double>(a.logits[e]) - b.logits[e]);
  }
  const double sd = std::sqrt((variance(a.logits, n) + variance(b.logits, n)) / 2);
  result[kLogitShift] = sd > 0 ? std::sqrt(squares) / sd : 0;
  const std::map<int32_t, double> g = shares(a), h = shares(b);
  double common = 0, overlap = 0;
  for (const auto& [expert, weight] : g)
    if (const auto found = h.find(expert); found != h.end()) {
      common += 1;
      overlap += std::min(weight, found->second);
    }
  const double either = static_cast<double>(g.size() + h.size()) - common;
  result[kSetDistance] = either > 0 ? 1 - common / either : 0;
  result[kWeightedDistance] = std::max(0.0, 1 - overlap);
  return result;
}

}  // namespace fare
