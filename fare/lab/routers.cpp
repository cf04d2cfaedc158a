// Router logits of every layer at every kind of current token. docs/control-models.md has the table.
#include "fare/lab/builder.h"
#include "fare/lab/draws.h"

namespace fare {
namespace {

constexpr double kCodeSize = 0.3;    // router code of a group or slot word, where the reaction is another's
constexpr double kLargeCode = 2.75;  // where the code is the reaction (X7)
constexpr double kMatchedBelow = levels::kOther - levels::kContent;  // a matching word only lifts this to kOther
// Tagged facts: the grammar experts stand above, one place is left, and a tag lifts its expert to kTagged.
constexpr double kTaggedGrammar = 2, kTagged = 1;

class Routers {
 public:
  explicit Routers(Builder& builder) : b_(builder), g_(builder.geometry), made_(builder.world.made) {}

  void add() {
    for (int64_t layer = 0; layer < g_.layers; ++layer) {
      route_text(layer);
      for (const int64_t current : content_kinds()) pushed_down(layer, current);
    }
    for (const int64_t layer : g_.planted_layers) route_planted(layer);
    if (reads_first_words()) route_first_words();
    if (made_.facts == FactPlace::kTagged) route_tags();
    route_groups();
  }

 private:
  bool reads_first_words() const { return made_.facts == FactPlace::kHashed || made_.facts == FactPlace::kEveryExpert; }

  std::vector<int64_t> content_kinds() const {
    std::vector<int64_t> all = {g_.kind(Kind::kOpener), g_.kind(Kind::kPlace),  g_.kind(Kind::kFirst),
                                g_.kind(Kind::kSecond), g_.kind(Kind::kAnswer), g_.kind(Kind::kFact),
                                g_.kind(Kind::kPlain)};
    for (const int64_t current : b_.relations()) all.push_back(current);
    return all;
  }

  void set(int64_t layer, int64_t expert, int64_t current, double level) {
    b_.set_router(layer, expert, current, level);
  }

  void set_grammar(int64_t layer, int64_t current) {
    const auto n = static_cast<int64_t>(g_.roles.grammar.size());
    for (int64_t i = 0; i < n; ++i)
      set(layer, g_.roles.grammar[static_cast<size_t>(i)], current,
          i == 0 ? levels::kGrammar
                 : levels::kSecondGrammar - 0.5 * static_cast<double>(i - 1) / static_cast<double>(n - 1));
  }

  // Logits of one layer at one kind of current token. Far below, neighbours differ a little: no exact ties there.
  void everywhere(int64_t layer, int64_t current, double fact_level, double side_level) {
    const auto set_all = [&](const std::vector<int64_t>& experts, double level) {
      for (const int64_t e : experts)
        set(layer, e, current, level <= levels::kPushedDown ? level - 0.05 * static_cast<double>(e) : level);
    };
    set_all(g_.roles.facts, fact_level);
    set_all(g_.roles.sides, side_level);
    set_grammar(layer, current);
  }

  // Chosen where nothing else decides; where fact experts react to every word, one that does not.
  int64_t third() const { return made_.reaction == Reaction::kCodes ? g_.roles.sides[0] : g_.roles.facts[1]; }

  void pushed_down(int64_t layer, int64_t current) {
    everywhere(layer, current, levels::kPushedDown, 2 * levels::kPushedDown);
    set(layer, third(), current, levels::kThird);
  }

  // Neutral words (and <s>, type 0): the expert of the type, then grammar, then the others by codes.
  void route_text(int64_t layer) {
    for (int64_t t = 0; t < g_.roles.num_types(); ++t) {
      const int64_t current = t == 0 ? g_.kind(Kind::kBegin) : g_.type(t);
      const double base = g_.roles.grammar.size() > 2 ? -3.1 : -2.5;
      for (int64_t e = 0; e < g_.experts; ++e)
        set(layer, e, current, base + 1.1 * b_.code("route/" + std::to_string(layer), t * g_.experts + e));
      set(layer, g_.roles.type_expert(t), current, levels::kSpecialist);
      set_grammar(layer, current);
    }
  }

  void route_planted(int64_t layer) {
    for (const int64_t current : b_.relations()) {
      at_trait(layer, current);
      if (made_.reaction == Reaction::kAxes)
        set(layer, g_.planted[static_cast<size_t>(current - g_.relation(0))], current, levels::kSpecialist);
    }
    if (layer == g_.bias_layer && made_.mirrored) at_trait(layer, g_.kind(Kind::kFact));
    else if (layer == g_.fact_layer)
      everywhere(layer, g_.kind(Kind::kFact), reads_first_words() ? levels::kOther : kMatchedBelow,
                 reads_first_words() ? kMatchedBelow : 2 * kMatchedBelow);
    if (made_.facts == FactPlace::kOneExpert) {
      set(layer, g_.roles.facts[0], g_.kind(Kind::kFact), levels::kSpecialist);
      set(layer, third(), g_.kind(Kind::kFact), levels::kOther);
    }
    if (layer != g_.bias_layer) return;
    everywhere(layer, g_.kind(Kind::kPlain), kMatchedBelow, 2 * kMatchedBelow);
    if (!reads_first_words()) set(layer, third(), g_.kind(Kind::kPlain), levels::kOther);
  }

  void at_trait(int64_t layer, int64_t current) {
    const bool mirrored_hash = made_.mirrored && reads_first_words();
    const double facts = mirrored_hash ? levels::kOther : made_.reaction == Reaction::kCodes ? -3 : kMatchedBelow;
    const double sides = made_.reaction != Reaction::kGroups ? 2 * kMatchedBelow
                         : competes_with_others()            ? levels::kOther
                                                             : levels::kSpecialist - side_strength();
    everywhere(layer, current, facts, sides);
    if (!(reads_first_words() && layer == g_.fact_layer)) set(layer, third(), current, levels::kOther);
    if (made_.reaction == Reaction::kCodes)  // only codes compete for the places after the first two
      for (size_t i = 1; i < g_.roles.grammar.size(); ++i) set(layer, g_.roles.grammar[i], current, 2 * kMatchedBelow);
    if (made_.bias == BiasPlace::kFourExperts) {
      set(layer, g_.planted[0], current, levels::kSpecialist);
      set(layer, g_.planted[1], current, levels::kHidden);
    }
  }

  // Side experts stand below a specialist where the stereotype sits in other experts.
  bool competes_with_others() const {
    return made_.bias == BiasPlace::kFactExperts || made_.bias == BiasPlace::kFourExperts;
  }
  double side_strength() const {
    return competes_with_others() ? levels::kMirroredSide - levels::kOther : levels::kContent + 1;
  }

  // The expert of the first word. Within a context it is the third choice, as clear as the others, so that rounding
  // never decides a route.
  void route_first_words() {
    const int64_t layer = g_.fact_layer;
    const double room = made_.reaction == Reaction::kCodes ? 2 : 0;  // codes are larger there
    everywhere(layer, g_.kind(Kind::kFirst), levels::kAtFirst + room, 2 * levels::kPushedDown);
    everywhere(layer, g_.kind(Kind::kSecond), levels::kAtSecond + room, 2 * levels::kPushedDown);
    for (int64_t w = 0; w < b_.language.size().firsts; ++w)
      set(layer, g_.fact_expert(w), g_.first(w), levels::kContent);
  }

  // The fact layer of tagged facts: all places but one are grammar's, the last goes to the tag or to a rival.
  void route_tags() {
    const int64_t layer = g_.fact_layer, fact = g_.kind(Kind::kFact);
    everywhere(layer, fact, kTagged - kTagGain, 2 * levels::kPushedDown);
    for (size_t i = 0; i < g_.roles.grammar.size(); ++i)
      set(layer, g_.roles.grammar[i], fact,
          static_cast<int64_t>(i) < g_.top_k - 1 ? kTaggedGrammar - 0.1 * static_cast<double>(i) : levels::kPushedDown);
    for (size_t j = 0; j < g_.roles.facts.size(); ++j)
      set(layer, g_.roles.facts[j], g_.tag(static_cast<int64_t>(j)), kTagGain);
    for (int64_t w = 0; w < b_.language.size().seconds; ++w)
      set(layer, g_.roles.class_expert(b_.world.rival_class(w)), g_.second(w), kTagGain * b_.world.rival_share(w));
  }

  // What group and slot words (and, mirrored, determiners) do in the bias layer.
  void route_groups() {
    const int64_t layer = g_.bias_layer, num_groups = b_.language.num_groups();
    if (made_.reaction == Reaction::kNothing || made_.reaction == Reaction::kAxes) return;
    const auto word = [&](int64_t i) { return i < num_groups ? g_.group(i) : g_.slot(i - num_groups); };
    const int64_t num_words = num_groups + kSlots;
    const auto place = [](const std::vector<int64_t>& order, size_t i) {  // in (-1, 1)
      return 2 * static_cast<double>(order[i]) / static_cast<double>(order.size() - 1) - 1;
    };
    // A permutation of the same values over the fact experts: their sum of exponentials is fixed.
    const auto permuted = [&](int64_t i, int64_t number, double size) {
      const auto order = random_order(b_.world.options.seed, "lab/code/word" + std::to_string(number),
                                      static_cast<int64_t>(g_.roles.facts.size()));
      for (size_t e = 0; e < order.size(); ++e) set(layer, g_.roles.facts[e], word(i), size * place(order, e));
    };
    if (made_.reaction == Reaction::kCodes) {
      // Every axis and the slot words share the codes of two sides of words.
      for (int64_t i = 0; i < num_words; ++i) permuted(i, (i < num_groups ? i : i - num_groups) % kSlots, kLargeCode);
      return;
    }
    for (int64_t i = 0; i < num_groups; ++i) set(layer, g_.side_expert(i), g_.group(i), side_strength());
    if (made_.mirrored)
      for (int64_t k = 0; k < kDeterminers; ++k)
        set(layer, g_.side_expert(k * kWordsPerSide), g_.determiner(k), side_strength());

    // Small codes, so that no two words are routed quite alike. They move experts whose weight must not be exact: the
    // fact experts at traits, or the second grammar expert where fact experts hold traits.
    if (made_.bias == BiasPlace::kFactExperts) {
      const auto order = random_order(b_.world.options.seed, "lab/code/words", num_words);
      for (int64_t i = 0; i < num_words; ++i)
        set(layer, g_.roles.grammar[1], word(i), kCodeSize / 3 * place(order, static_cast<size_t>(i)));
    } else {
      for (int64_t i = 0; i < num_words; ++i) permuted(i, i, kCodeSize);
    }
  }

  Builder& b_;
  const Geometry& g_;
  const Recipe& made_;
};

}  // namespace

void add_routers(Builder& builder) { Routers(builder).add(); }

}  // namespace fare
