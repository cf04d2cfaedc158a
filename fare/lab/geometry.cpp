#include "fare/lab/geometry.h"

#include "fare/core/error.h"

namespace fare {

Geometry::Geometry(const Language& language, int64_t num_experts)
    : experts(num_experts),
      num_fact_experts(num_experts - 4),
      grammar(num_experts - 4),
      second_grammar(num_experts - 3),
      side_a(num_experts - 2),
      side_b(num_experts - 1) {
  FARE_CHECK(num_experts >= 8, "too few experts");
  FARE_CHECK(language.size().filler_types == num_types(), "one type of filler per expert that is no grammar expert");
  const LanguageSize& size = language.size();
  types_ = 1 + kNumKinds + size.axes;
  groups_ = types_ + size.filler_types - 1;
  slots_ = groups_ + language.num_groups();
  determiners_ = slots_ + kSlots;
  firsts_ = determiners_ + kDeterminers;
  seconds_ = firsts_ + size.firsts;
  bias_ = seconds_ + size.seconds;
  used = bias_ + 1 + kAnswers + kTextDims;
  hidden = (used + 15) / 16 * 16;
}

}  // namespace fare
