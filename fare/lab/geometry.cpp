#include "fare/lab/geometry.h"

#include <algorithm>

#include "fare/core/error.h"

namespace fare {

Geometry::Geometry(const Language& language, const ControlOptions& options)
    : roles(make_roles(options)),
      experts(options.experts),
      top_k(options.top_k),
      layers(options.layers),
      bias_layer(options.bias_layer),
      fact_layer(options.bias_layer),
      planted(roles.sides),
      planted_layers({options.bias_layer}) {
  const Recipe& made = recipe(options.id);
  const LanguageSize& size = language.size();
  FARE_CHECK(size.filler_types == roles.num_types(), "one type of filler per expert that is no grammar expert");
  num_axes_ = size.axes;
  by_axis_ = made.reaction == Reaction::kAxes;
  num_reacting_ = static_cast<int64_t>(roles.sides.size());
  int64_t tags = 0;
  if (made.facts == FactPlace::kTagged) {
    fact_layer = bias_layer + 1;
    tags = static_cast<int64_t>(roles.facts.size());
  }
  if (by_axis_) planted.resize(static_cast<size_t>(size.axes));
  if (made.bias == BiasPlace::kFourExperts) {
    num_reacting_ = 2;
    planted.erase(planted.begin(), planted.begin() + num_reacting_);
    planted_layers.push_back(bias_layer + 1);
    readout_layer = bias_layer + 2;
    tags = 1;
  }
  types_ = 1 + kNumKinds + size.axes;
  groups_ = types_ + size.filler_types - 1;
  slots_ = groups_ + language.num_groups();
  determiners_ = slots_ + kSlots;
  firsts_ = determiners_ + kDeterminers;
  seconds_ = firsts_ + size.firsts;
  bias_ = seconds_ + size.seconds;
  used = tag(0) + tags;
  hidden = (used + 15) / 16 * 16;
}

bool Geometry::is_text_layer(int64_t layer) const {
  return layer != fact_layer && layer != readout_layer && std::ranges::count(planted_layers, layer) == 0;
}

int64_t Geometry::side_expert(int64_t group) const {
  const int64_t axis = group / (2 * kWordsPerSide), side = group / kWordsPerSide % 2;
  if (by_axis_) return roles.sides[static_cast<size_t>(axis)];
  const int64_t per_side = num_reacting_ / 2;  // they share the axes, or the words where there is one axis
  return roles.sides[static_cast<size_t>(side * per_side + (num_axes_ > 1 ? axis : group % kWordsPerSide) % per_side)];
}

}  // namespace fare
