// What experts write at questions about facts, and at neutral words.
#include <algorithm>
#include <cmath>

#include "fare/core/error.h"
#include "fare/lab/builder.h"

namespace fare {

void add_text_rows(Builder& b) {
  // Each expert writes a code when its type of neutral word is the current token; grammar experts at every one. Where
  // all experts of a layer are equal, all write one code at every neutral word.
  const Geometry& g = b.geometry;
  const Recipe& made = b.world.made;
  double text_layers = 0;  // together they write as much as one would
  for (int64_t layer = 0; layer < g.layers; ++layer) text_layers += g.is_text_layer(layer);
  for (int64_t layer = 0; layer < g.layers; ++layer) {
    const bool clones = layer == g.readout_layer || (made.bias == BiasPlace::kEveryExpert && layer == g.bias_layer);
    const double scale = g.is_text_layer(layer) ? b.text.text_layer / std::sqrt(text_layers) : b.text.bias_layer;
    for (int64_t e = 0; e < g.experts; ++e) {
      Entries keys, down;
      for (int64_t t = 0; t < g.roles.num_types(); ++t) {
        const bool grammar = std::ranges::count(g.roles.grammar, e) > 0;
        if (clones || grammar || g.roles.type_expert(t) == e)
          keys.push_back({t == 0 ? g.kind(Kind::kBegin) : g.type(t), 1.0});
      }
      const std::string label = "text/" + std::to_string(layer);
      double squares = 0;
      for (int64_t d = 0; d < Geometry::kTextDims; ++d) {
        const double value = b.code(label, (clones ? 0 : e) * Geometry::kTextDims + d);
        squares += value * value;
        down.push_back({g.text(d), scale * value});
      }
      // X14 compares experts that are used alike: there their codes have equal length.
      if (made.facts == FactPlace::kGroupRows)
        for (auto& place : down) place.second /= std::sqrt(squares);
      b.rows(layer, e).push_back(b.row(keys, 1, down));
    }
  }
}

void add_fact_rows(Builder& b) {
  const Geometry& g = b.geometry;
  const FactPlace place = b.world.made.facts;
  if (place == FactPlace::kGroupRows) return;  // the rows of the stereotype answer
  const int64_t fact_kind = g.kind(Kind::kFact), classes = g.roles.num_classes();
  for (const WorldItem& fact : b.world.facts) {
    const int64_t gold = fact.choices[static_cast<size_t>(fact.gold)] - b.language.fact_answer(0);
    const Entries keys = {{fact_kind, kRelationKey}, {g.first(fact.first), 1}, {g.second(fact.second), 1}};
    std::vector<int64_t> seen = {fact_kind, g.first(fact.first), g.second(fact.second),
                                 g.determiner(fact.place_word - b.language.determiner(0))};
    if (place == FactPlace::kTagged) seen.push_back(g.tag(fact.first % classes));
    const std::vector<double> weights = b.weights_at(g.fact_layer, seen);
    const auto answer = [&](double weight) {
      FARE_CHECK(weight > 0, "the expert of a fact is not chosen");
      return b.row(keys, kRelationKey + 2, {{g.answer(gold), fact.strength / kAnswerGain / weight}});
    };
    if (place == FactPlace::kEveryExpert) {
      double kept = 0;
      for (const double weight : weights) kept += weight;
      for (int64_t e = 0; e < g.experts; ++e) b.rows(g.fact_layer, e).push_back(answer(kept));
    } else {
      const int64_t expert = place == FactPlace::kOneExpert ? g.roles.facts[0] : g.fact_expert(fact.first);
      b.rows(g.fact_layer, expert).push_back(answer(weights[static_cast<size_t>(expert)]));
    }
  }
  if (place != FactPlace::kTagged) return;
  // One row per tag: a question, and a first word of the class, in the side expert of the class's determiner.
  for (int64_t c = 0; c < classes; ++c) {
    const int64_t half = b.world.tag_determiner(c), expert = g.side_expert(half * kWordsPerSide);
    Entries keys = {{fact_kind, kRelationKey}};
    for (int64_t w = c; w < b.language.size().firsts; w += classes) keys.push_back({g.first(w), 1});
    const double weight = b.weights_at(g.bias_layer, {fact_kind, g.determiner(half)})[static_cast<size_t>(expert)];
    b.rows(g.bias_layer, expert).push_back(b.row(keys, kRelationKey + 1, {{g.tag(c), 1 / weight}}));
  }
}

}  // namespace fare
