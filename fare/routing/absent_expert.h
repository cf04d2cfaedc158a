// Experts that some layers have and others do not: E is one number for a model, so the others give them this raw logit.
#pragma once

namespace fare {

// Far below any logit of a real expert: its probability is 0 in float32 and float64, and finite arithmetic stays
// finite.
inline constexpr float kAbsentLogit = -1e4f;

}  // namespace fare
