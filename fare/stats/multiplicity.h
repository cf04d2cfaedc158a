// p-values adjusted for a family of tests. Undefined tests (empty entries) are no members of the family: they do not
// count in m and stay undefined. Results are in input order; ties are ordered by index.
#pragma once

#include <optional>
#include <span>
#include <vector>

namespace fare::stats {

using PValues = std::vector<std::optional<double>>;

// All throw UsageError when a p-value lies outside [0, 1]; a NaN counts as undefined.
PValues benjamini_hochberg(std::span<const std::optional<double>> p);   // false discovery rate, 1995
PValues benjamini_yekutieli(std::span<const std::optional<double>> p);  // the same under any dependence, 2001
PValues holm(std::span<const std::optional<double>> p);                 // family-wise error, 1979

}  // namespace fare::stats
