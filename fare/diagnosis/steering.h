// A dense steering vector (methods A7): one vector added to the residual stream at every token, before one layer. What
// an equally cheap control without routing reaches at the dose of a candidate; it decides nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fare/diagnosis/baselines.h"

namespace fare {

// The vector that raises stereotypes: mean over the pairs of the difference of the mean residual streams behind the
// differing spans, stereotype text minus the other, before each of `layers`. [layers][D] float32; pairs that differ in
// no position of one of their texts are left out. Throws NumericError when none is left.
std::vector<at::Tensor> mean_differences(const Measurer& measurer, std::span<const int64_t> pairs,
                                         std::span<const int64_t> layers);

// Adds the vector of each tried layer with either sign, at the strength whose dose is `candidate`'s; carries on the
// layer and the sign of the largest shift on train. Kept in the measurer's store. `signs` as in search().
Baseline steering_baseline(Measurer& measurer, const SearchCandidate& candidate, const TestOutcomes& test,
                           const std::vector<int>& signs, const DiagnosisOptions& options);

}  // namespace fare
