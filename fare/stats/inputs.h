// Checks of arguments that every statistic makes, with messages that say which argument and where.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace fare::stats {

// Throws NumericError naming `what` and the first index that holds NaN or Inf.
void require_finite(std::span<const double> values, std::string_view what);

// Throws UsageError when the lengths differ.
void require_same_length(size_t a, std::string_view a_name, size_t b, std::string_view b_name);

// Throws UsageError unless 0 < value < 1 (levels, confidences, powers).
void require_open_unit(double value, std::string_view what);

// Throws UsageError unless 0 <= value <= 1.
void require_closed_unit(double value, std::string_view what);

// Throws UsageError unless value is finite and > 0 (margins, effects).
void require_positive(double value, std::string_view what);

// Throws UsageError unless 0 <= k <= n.
void require_count(int64_t k, int64_t n, std::string_view what);

}  // namespace fare::stats
