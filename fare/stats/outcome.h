// A statistic that may be undefined: either a value or the reason why there is none. Never 0 or NaN in its place.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "fare/core/error.h"

namespace fare::stats {

template <typename T>
struct Outcome {
  std::optional<T> number;  // Empty when undefined.
  std::string reason;       // Why it is undefined; empty otherwise.

  Outcome(T defined) : number(std::move(defined)) {}  // NOLINT: a value is an outcome
  static Outcome undefined(std::string why) { return Outcome(std::nullopt, std::move(why)); }

  explicit operator bool() const { return number.has_value(); }
  const T* operator->() const { return &value(); }
  const T& operator*() const { return value(); }
  // Throws NumericError with the reason when undefined.
  const T& value() const {
    if (!number) throw NumericError("undefined statistic: " + reason);
    return *number;
  }

 private:
  Outcome(std::optional<T> none, std::string why) : number(std::move(none)), reason(std::move(why)) {}
};

struct Interval {
  double low = 0;
  double high = 0;
};

// How an interval is read off bootstrap replicates: their quantiles, or quantiles corrected for bias and skew (BCa).
enum class IntervalKind { kPercentile, kBca };
inline const char* interval_name(IntervalKind kind) { return kind == IntervalKind::kBca ? "bca" : "percentile"; }

}  // namespace fare::stats
