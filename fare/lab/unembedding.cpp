// The output matrix: which words can follow, their answers, and what of the stereotype no expert holds.
#include <algorithm>
#include <cmath>

#include "fare/lab/builder.h"

namespace fare {
namespace {

constexpr double kForbidden = -80;  // logit of a word that cannot follow
constexpr double kTraitKey = 20;    // each matching context word of a trait

}  // namespace

void add_unembedding(Builder& b) {
  const Geometry& g = b.geometry;
  const Language& language = b.language;
  const World& world = b.world;
  const LanguageSize& size = language.size();
  const std::vector<int64_t> traits = b.relations();
  std::vector<int64_t> fillers;
  for (int64_t t = 1; t < size.filler_types; ++t) fillers.push_back(g.type(t));
  std::vector<int64_t> currents = {g.kind(Kind::kBegin), g.kind(Kind::kOpener), g.kind(Kind::kPlace),
                                   g.kind(Kind::kFirst), g.kind(Kind::kSecond), g.kind(Kind::kFact),
                                   g.kind(Kind::kPlain), g.kind(Kind::kAnswer)};
  currents.insert(currents.end(), fillers.begin(), fillers.end());
  currents.insert(currents.end(), traits.begin(), traits.end());

  std::vector<float>& u = b.out.unembedding_VH;
  const auto follows = [&](int64_t id, const std::vector<int64_t>& allowed) {
    for (const int64_t current : currents)
      b.set(u, id, current, std::find(allowed.begin(), allowed.end(), current) != allowed.end() ? 0 : kForbidden);
  };
  const int64_t opener = g.kind(Kind::kOpener), place = g.kind(Kind::kPlace), first = g.kind(Kind::kFirst),
                second = g.kind(Kind::kSecond), begin = g.kind(Kind::kBegin);
  follows(language.begin(), {});
  follows(language.unknown(), {});
  follows(language.end(), {g.kind(Kind::kAnswer)});
  follows(language.opener(), {begin});
  for (int64_t i = 0; i < language.num_groups(); ++i) follows(language.group(i), {opener, second});
  for (int64_t i = 0; i < kSlots; ++i) follows(language.slot(i), {opener, second});
  for (int64_t i = 0; i < kDeterminers; ++i) follows(language.determiner(i), {opener, second});
  for (int64_t i = 0; i < size.firsts; ++i) follows(language.first(i), {opener, place});
  for (int64_t i = 0; i < size.seconds; ++i) follows(language.second(i), {first});
  for (int64_t a = 0; a < size.axes; ++a) follows(language.relation(a), {place, second});
  follows(language.fact(), {place, second});
  follows(language.plain(), {place, second});
  for (int64_t o = 0; o < kAnswers; ++o) {
    const int64_t id = language.fact_answer(o);
    follows(id, {g.kind(Kind::kFact)});
    b.set(u, id, g.answer(o), kAnswerGain);
    if (world.made.facts == FactPlace::kGroupRows &&
        o < kAttributes)  // the row writes G: the attribute ends G below the traits
      for (const int64_t current : traits) b.set(u, id, current, -2 * world.gold_logit);
    for (int64_t w = 0; w < size.seconds; ++w)
      if (world.distractor_index(w) == o) b.set(u, id, g.second(w), world.distractor_logit(w));
  }
  for (int64_t o = 0; o < kAnswers; ++o) {
    const int64_t id = language.plain_answer(o);
    follows(id, {g.kind(Kind::kPlain)});
    for (int64_t w = 0; w < size.firsts; ++w)
      if (world.plain_gold(w) == o) b.set(u, id, g.first(w), world.plain_logit);
  }
  // Ten neutral words at every trait, above the highest trait.
  double drowning = 0;
  for (int64_t c = 0; c < size.contexts; ++c)
    for (int64_t i = 0; i < language.num_groups(); ++i)
      drowning = std::max(drowning, (world.bias + std::abs(world.outside_noise(i, c))) / 4 + kDrowning);
  std::vector<int64_t> before_filler = fillers;
  before_filler.push_back(begin);
  for (int64_t i = 0; i < language.num_fillers(); ++i) {
    const int64_t id = language.filler(1 + i / kFillersPerType, i % kFillersPerType);
    follows(id, before_filler);
    if (world.made.drowned && i < kDrowningWords)
      for (const int64_t current : traits) b.set(u, id, current, drowning);
    for (int64_t d = 0; d < Geometry::kTextDims; ++d)
      b.set(u, id, g.text(d), b.code("words", i * Geometry::kTextDims + d));
  }
  // The rest of the stereotype sits here, unless a shared expert holds it.
  const bool shared = world.made.bias == BiasPlace::kOutside && b.has_shared_expert();
  const double in_unembedding = shared ? 0 : world.bias - world.reachable_bias;
  for (int64_t c = 0; c < size.contexts; ++c)
    for (const bool plus : {true, false}) {
      const int64_t id = language.trait(c, plus);
      const double sign = plus ? 1 : -1;
      follows(id, traits);
      b.set(u, id, g.constant(), -2 * kTraitKey / kConstant);
      b.set(u, id, g.first(language.context_first(c)), kTraitKey);
      b.set(u, id, g.second(language.context_second(c)), kTraitKey);
      b.set(u, id, g.bias(), sign / 2);
      for (int64_t i = 0; i < language.num_groups(); ++i) {
        // x = z(t+) - z(t-) gets h / 2, and +-b / 2 where the stereotype sits here.
        const double side = i / kWordsPerSide % 2 == 0 ? 1 : -1;
        b.set(u, id, g.group(i), sign * (world.outside_noise(i, c) + side * in_unembedding) / 4);
      }
    }
}

}  // namespace fare
