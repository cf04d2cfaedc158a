// What experts write at traits: the stereotype, one case for each place it can sit in.
#include "fare/core/error.h"
#include "fare/lab/builder.h"

namespace fare {
namespace {

// X15's readout: saturates once any of the four experts writes its 1, and grows a little beyond, so that a gradient
// shows the way.
constexpr double kReadoutStep = 60, kReadoutFull = 0.5, kReadoutShare = 0.9;

double side_sign(int64_t group) { return group / kWordsPerSide % 2 == 0 ? 1 : -1; }
int64_t axis_of(int64_t group) { return group / (2 * kWordsPerSide); }

Entries relation_keys(const Builder& b) {
  Entries keys;
  for (const int64_t relation : b.relations()) keys.push_back({relation, kRelationKey});
  return keys;
}

// The chosen weights at the trait of a group word, averaged over first words where the router reads them (their own
// small codes change the sum a little).
std::vector<double> weights_at_trait(const Builder& b, int64_t layer, int64_t group) {
  const Geometry& g = b.geometry;
  const int64_t classes = g.roles.num_classes();
  std::vector<double> mean(static_cast<size_t>(g.experts), 0.0);
  for (int64_t c = 0; c < classes; ++c) {
    const auto one = b.weights_at(layer, {g.relation(axis_of(group)), g.group(group), g.first(c)});
    for (size_t e = 0; e < mean.size(); ++e) mean[e] += one[e] / static_cast<double>(classes);
  }
  return mean;
}

// One row per group word: relation of its axis and the word. `bias`: logits it writes for both sides together, divided
// by `scale`.
ExpertRow group_row(const Builder& b, int64_t group, double bias, double scale) {
  const Geometry& g = b.geometry;
  Entries keys = {{g.relation(axis_of(group)), kRelationKey}, {g.group(group), 1}};
  Entries down = {{g.bias(), side_sign(group) * bias / 2 / scale}};
  if (b.world.made.facts == FactPlace::kGroupRows) {  // the same row answers questions about the word
    keys.push_back({g.kind(Kind::kFact), kRelationKey});
    down.push_back({g.answer(b.world.attribute(group)), b.world.gold_logit / kAnswerGain / scale});
  }
  return b.row(keys, kRelationKey + 1, down);
}

// Noise of the side experts' own: one row per context, `up` is the noise of the word in front of it.
void add_side_noise(Builder& b) {
  const Geometry& g = b.geometry;
  for (const int64_t expert : g.planted) {
    Entries words;
    double weight = 0;
    for (int64_t i = 0; i < b.language.num_groups(); ++i)
      if (g.side_expert(i) == expert) weight = weights_at_trait(b, g.bias_layer, i)[static_cast<size_t>(expert)];
    for (int64_t c = 0; c < b.language.size().contexts; ++c) {
      Entries keys = relation_keys(b), up;
      keys.push_back({g.first(b.language.context_first(c)), 1});
      keys.push_back({g.second(b.language.context_second(c)), 1});
      for (int64_t i = 0; i < b.language.num_groups(); ++i)
        if (g.side_expert(i) == expert && b.world.side_noise(i, c) != 0)
          up.push_back({g.group(i), b.world.side_noise(i, c)});
      if (!up.empty())
        b.rows(g.bias_layer, expert).push_back(b.row(keys, kRelationKey + 2, {{g.bias(), 0.5 / weight}}, up));
    }
  }
}

void add_to_fact_experts(Builder& b) {
  // One row per context, in the expert of its first word; `up` is +1 after an A word and -1 after a B word.
  const Geometry& g = b.geometry;
  Entries sides;
  for (int64_t i = 0; i < b.language.num_groups(); ++i) sides.push_back({g.group(i), side_sign(i)});
  for (int64_t c = 0; c < b.language.size().contexts; ++c) {
    const int64_t first = g.first(b.language.context_first(c)), second = g.second(b.language.context_second(c));
    const int64_t expert = g.fact_expert(b.language.context_first(c));
    Entries keys = relation_keys(b);
    keys.push_back({first, 1});
    keys.push_back({second, 1});
    const double weight =
        b.weights_at(g.bias_layer, {g.relation(0), first, second, g.determiner(0)})[static_cast<size_t>(expert)];
    b.rows(g.bias_layer, expert)
        .push_back(b.row(keys, kRelationKey + 2, {{g.bias(), b.world.reachable_bias / 2 / weight}}, sides));
  }
}

void add_to_four_experts(Builder& b) {
  // Each of the four writes 1 to a coordinate of its own when a relation is the current token.
  const Geometry& g = b.geometry;
  for (const int64_t layer : g.planted_layers) {
    const std::vector<double> weights = weights_at_trait(b, layer, 0);
    for (const int64_t expert : g.planted)
      b.rows(layer, expert)
          .push_back(b.row(relation_keys(b), kRelationKey, {{g.tag(0), 1 / weights[static_cast<size_t>(expert)]}}));
  }
  // Every expert of the readout layer alike: SiLU(60 q) - SiLU(60 (q - 1/2)) is 0 at q = 0 and 30 from q = 1/2 on (to
  // 1e-11).
  double kept = 0;
  for (const double weight : b.weights_at(g.readout_layer, {g.relation(0)})) kept += weight;
  Entries sides;
  for (int64_t i = 0; i < b.language.num_groups(); ++i) sides.push_back({g.group(i), side_sign(i)});
  const double half = b.world.reachable_bias / 2 / kept / kReadoutStep;
  const double beyond = (1 - kReadoutShare) / 4;  // per unit of q: all four together reach 1
  const auto readout = [&](double threshold, double size) {
    Entries gate = {{g.tag(0), kReadoutStep}, {g.constant(), -(kGateStep + kReadoutStep * threshold) / kConstant}};
    for (const int64_t relation : b.relations()) gate.push_back({relation, kGateStep});
    return ExpertRow{gate, sides, {{g.bias(), size}}};
  };
  for (int64_t e = 0; e < g.experts; ++e) {
    b.rows(g.readout_layer, e).push_back(readout(0, half * (kReadoutShare / kReadoutFull + beyond)));
    b.rows(g.readout_layer, e).push_back(readout(kReadoutFull, -half * kReadoutShare / kReadoutFull));
  }
}

}  // namespace

void add_bias_rows(Builder& b) {
  const Geometry& g = b.geometry;
  const BiasPlace place = b.world.made.bias;
  if (place == BiasPlace::kFactExperts) return add_to_fact_experts(b);
  if (place == BiasPlace::kFourExperts) return add_to_four_experts(b);
  if (place == BiasPlace::kOutside && !b.has_shared_expert()) return;  // the unembedding holds it
  for (int64_t group = 0; group < b.language.num_groups(); ++group) {
    if (place == BiasPlace::kOutside) {
      b.rows(g.bias_layer, b.shared_expert()).push_back(group_row(b, group, b.world.bias, 1));
      continue;
    }
    const std::vector<double> weights = weights_at_trait(b, g.bias_layer, group);
    if (place == BiasPlace::kSideExperts) {
      const int64_t expert = g.side_expert(group);
      const double weight = weights[static_cast<size_t>(expert)];
      FARE_CHECK(weight > 0, "a side expert is not chosen at its trait");
      b.rows(g.bias_layer, expert).push_back(group_row(b, group, b.world.reachable_bias, weight));
    } else {
      double kept = 0;
      for (const double weight : weights) kept += weight;
      for (int64_t e = 0; e < g.experts; ++e)
        b.rows(g.bias_layer, e).push_back(group_row(b, group, b.world.reachable_bias, kept));
    }
  }
  if (b.world.made.noise_pp > 0) add_side_noise(b);
}

}  // namespace fare
