#include "fare/stats/inputs.h"

#include <cmath>
#include <string>

#include "fare/core/error.h"

namespace fare::stats {
namespace {

[[noreturn]] void refuse(std::string_view what, double value, const std::string& accepted) {
  throw UsageError(std::string(what) + " is " + std::to_string(value) + "; accepted: " + accepted);
}

}  // namespace

void require_finite(std::span<const double> values, std::string_view what) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      throw NumericError(std::string(what) + ": value " + std::to_string(i) + " is " + std::to_string(values[i]) +
                         "; leave undefined items out and count them");
    }
  }
}

void require_same_length(size_t a, std::string_view a_name, size_t b, std::string_view b_name) {
  if (a == b) return;
  throw UsageError(std::string(a_name) + " has " + std::to_string(a) + " entries but " + std::string(b_name) + " has " +
                   std::to_string(b) + "; they must describe the same items");
}

void require_open_unit(double value, std::string_view what) {
  if (!(value > 0 && value < 1)) refuse(what, value, "a number strictly between 0 and 1");
}

void require_closed_unit(double value, std::string_view what) {
  if (!(value >= 0 && value <= 1)) refuse(what, value, "a number from 0 to 1");
}

void require_positive(double value, std::string_view what) {
  if (!(value > 0) || !std::isfinite(value)) refuse(what, value, "a finite number above 0");
}

void require_count(int64_t k, int64_t n, std::string_view what) {
  if (k >= 0 && k <= n) return;
  throw UsageError(std::string(what) + ": count " + std::to_string(k) + " of " + std::to_string(n) +
                   " is impossible; accepted: 0 to n");
}

}  // namespace fare::stats
