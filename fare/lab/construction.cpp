// The construction: every number of a control model follows from its world and the levels here.
#include <algorithm>
#include <cmath>
#include <string>

#include "fare/core/error.h"
#include "fare/core/philox.h"
#include "fare/lab/control_weights.h"
#include "fare/lab/draws.h"

namespace fare {
namespace {

using Entries = std::vector<std::pair<int64_t, double>>;  // (coordinate, value)

// A row of an expert: fires (20 before SiLU) when its keys are there, otherwise lies so far below zero that SiLU is
// exactly 0 in float32.
constexpr double kGateStep = 130;
constexpr double kGateOn = 20;
constexpr double kRelationKey = 3;  // the relation counts as three words: words alone never reach the threshold

constexpr double kForbidden = -80;   // logit of a word that cannot follow
constexpr double kTraitKey = 20;     // each matching context word of a trait
constexpr double kAnswerGain = 8;    // unembedding of an answer's coordinate, so that experts write about 1
constexpr double kCodeSize = 0.3;    // router code of a group or slot word

double silu(double x) { return x / (1 + std::exp(-x)); }

struct Row {
  Entries gate, up, down;
};

class Builder {
 public:
  Builder(const World& world, const TextScale& text)
      : world_(world),
        language_(world.language),
        geometry_(world.geometry),
        text_(text),
        rows_(2, std::vector<std::vector<Row>>(static_cast<size_t>(world.geometry.experts))) {}

  ControlWeights build() {
    add_text_rows();
    add_bias_rows();
    add_fact_rows();
    set_shape();
    embed();
    add_up_content();
    route_text();
    route_content();
    unembed();
    place_rows();
    return std::move(out_);
  }

 private:
  // --- small helpers ---
  double code(const std::string& label, int64_t i) const {  // uniform in (-1, 1)
    return 2 * RandomStream(world_.options.seed, "lab/code/" + label).uniform(static_cast<uint64_t>(i)) - 1;
  }

  Row row(Entries keys, double required, Entries down, Entries up = {}) const {
    for (auto& key : keys) key.second *= kGateStep;
    keys.push_back({geometry_.constant(), (kGateOn - kGateStep * required) / kConstant});
    if (up.empty()) up.push_back({geometry_.constant(), 1 / kConstant});
    for (auto& place : down) place.second /= silu(kGateOn);
    return {std::move(keys), std::move(up), std::move(down)};
  }

  std::vector<Row>& rows(int64_t layer, int64_t expert) {
    return rows_[static_cast<size_t>(layer)][static_cast<size_t>(expert)];
  }

  void set(std::vector<float>& matrix, int64_t r, int64_t c, double value) const {
    matrix[static_cast<size_t>(r * geometry_.hidden + c)] = static_cast<float>(value);
  }
  void add(std::vector<float>& matrix, int64_t r, int64_t c, double value) const {
    matrix[static_cast<size_t>(r * geometry_.hidden + c)] += static_cast<float>(value);
  }

  // --- what experts write ---
  void add_text_rows() {
    // Each expert writes a code when its type of neutral word is the current token; grammar experts at every one.
    for (const int64_t layer : {geometry_.text_layer, geometry_.bias_layer}) {
      const double scale = layer == geometry_.text_layer ? text_.text_layer : text_.bias_layer;
      for (int64_t e = 0; e < geometry_.experts; ++e) {
        Entries keys, down;
        for (int64_t t = 0; t < geometry_.num_types(); ++t) {
          const bool own = geometry_.type_expert(t) == e;
          const bool grammar = e == geometry_.grammar || e == geometry_.second_grammar;
          if (own || grammar) keys.push_back({t == 0 ? geometry_.kind(Kind::kBegin) : geometry_.type(t), 1.0});
        }
        const std::string label = "text/" + std::to_string(layer);
        for (int64_t d = 0; d < Geometry::kTextDims; ++d)
          down.push_back({geometry_.text(d), scale * code(label, e * Geometry::kTextDims + d)});
        rows(layer, e).push_back(row(keys, 1, down));
      }
    }
  }

  void add_bias_rows() {
    const double half = world_.bias / 2;
    const int64_t layer = geometry_.bias_layer;
    const double weight = specialist_weight(world_, true);
    if (world_.made.bias == BiasPlace::kSideExperts) {
      // One row per group word: relation of its axis and the word.
      for (int64_t axis = 0; axis < language_.size().axes; ++axis)
        for (const Side side : {Side::kA, Side::kB})
          for (int64_t k = 0; k < kWordsPerSide; ++k)
            rows(layer, geometry_.side_expert(side))
                .push_back(row({{geometry_.relation(axis), kRelationKey},
                                {geometry_.group(Language::group_number(axis, side, k)), 1}},
                               kRelationKey + 1, {{geometry_.bias(), (side == Side::kA ? half : -half) / weight}}));
    } else if (world_.made.bias == BiasPlace::kFactExperts) {
      // One row per context, in the expert of its first word; `up` is +1 after an A word and -1 after a B word.
      Entries sides;
      for (int64_t g = 0; g < language_.num_groups(); ++g)
        sides.push_back({geometry_.group(g), g / kWordsPerSide % 2 == 0 ? 1.0 : -1.0});
      for (int64_t c = 0; c < language_.size().contexts; ++c) {
        Entries keys;
        for (int64_t axis = 0; axis < language_.size().axes; ++axis)
          keys.push_back({geometry_.relation(axis), kRelationKey});
        keys.push_back({geometry_.first(language_.context_first(c)), 1});
        keys.push_back({geometry_.second(language_.context_second(c)), 1});
        rows(layer, geometry_.fact_expert(language_.context_first(c)))
            .push_back(row(keys, kRelationKey + 2, {{geometry_.bias(), half / weight}}, sides));
      }
    }
  }

  void add_fact_rows() {
    const double weight = specialist_weight(world_, false);
    for (const WorldItem& fact : world_.facts) {
      const int64_t gold = fact.choices[static_cast<size_t>(fact.gold)] - language_.fact_answer(0);
      rows(geometry_.bias_layer, geometry_.fact_expert(fact.first))
          .push_back(row({{geometry_.kind(Kind::kFact), kRelationKey},
                          {geometry_.first(fact.first), 1},
                          {geometry_.second(fact.second), 1}},
                         kRelationKey + 2, {{geometry_.answer(gold), fact.strength / kAnswerGain / weight}}));
    }
  }

  void set_shape() {
    ModelShape& shape = out_.shape;
    shape.family = lab_family(world_.options.family, "--family");
    shape.vocab = language_.vocab();
    shape.hidden = geometry_.hidden;
    shape.layers = 2;
    shape.experts = geometry_.experts;
    shape.top_k = geometry_.top_k;
    size_t widest = 0;
    for (const auto& layer : rows_)
      for (const auto& expert : layer) widest = std::max(widest, expert.size());
    shape.expert_width = (static_cast<int64_t>(widest) + 15) / 16 * 16;
    shape.heads = shape.kv_heads = 4;
    shape.max_positions = 256;
    shape.renormalise = world_.options.weights == "renormalised";
    shape.bos = language_.begin();
    shape.eos = language_.end();
    shape.pad = language_.end();
    check_shape(shape);

    const auto square = static_cast<size_t>(shape.hidden * shape.hidden);
    out_.norm = static_cast<float>(kConstant / std::sqrt(static_cast<double>(shape.hidden)));
    out_.embedding_VH.assign(static_cast<size_t>(shape.vocab * shape.hidden), 0.f);
    out_.unembedding_VH = out_.embedding_VH;
    out_.layers.resize(2);
    for (LayerWeights& layer : out_.layers) {
      layer.value_HH.assign(square, 0.f);
      layer.out_HH.assign(square, 0.f);
      layer.router_EH.assign(static_cast<size_t>(shape.experts * shape.hidden), 0.f);
      layer.experts.resize(static_cast<size_t>(shape.experts));
      for (ControlExpertWeights& expert : layer.experts) {
        expert.gate_IH.assign(static_cast<size_t>(shape.expert_width * shape.hidden), 0.f);
        expert.up_IH = expert.gate_IH;
        expert.down_HI = expert.gate_IH;
      }
    }
  }

  void place_rows() {
    const int64_t width = out_.shape.expert_width;
    for (size_t l = 0; l < rows_.size(); ++l)
      for (size_t e = 0; e < rows_[l].size(); ++e) {
        ControlExpertWeights& expert = out_.layers[l].experts[e];
        for (size_t r = 0; r < rows_[l][e].size(); ++r) {
          const Row& placed = rows_[l][e][r];
          for (const auto& [c, value] : placed.gate) add(expert.gate_IH, static_cast<int64_t>(r), c, value);
          for (const auto& [c, value] : placed.up) add(expert.up_IH, static_cast<int64_t>(r), c, value);
          for (const auto& [c, value] : placed.down)
            expert.down_HI[static_cast<size_t>(c * width) + r] += static_cast<float>(value);
        }
      }
  }

  // --- tokens ---
  // The one coordinate that says what the current token is, and its content coordinate or -1.
  void embed() {
    const auto token = [&](int64_t id, int64_t current, int64_t content = -1) {
      set(out_.embedding_VH, id, geometry_.constant(), kConstant);
      set(out_.embedding_VH, id, current, 1);
      if (content >= 0) set(out_.embedding_VH, id, content, 1);
    };
    const Geometry& g = geometry_;
    const LanguageSize& size = language_.size();
    token(language_.begin(), g.kind(Kind::kBegin));
    token(language_.end(), g.kind(Kind::kAnswer));
    token(language_.unknown(), g.kind(Kind::kAnswer));
    token(language_.opener(), g.kind(Kind::kOpener));
    for (int64_t i = 0; i < language_.num_groups(); ++i) token(language_.group(i), g.kind(Kind::kPlace), g.group(i));
    for (int64_t i = 0; i < kSlots; ++i) token(language_.slot(i), g.kind(Kind::kPlace), g.slot(i));
    for (int64_t i = 0; i < kDeterminers; ++i)
      token(language_.determiner(i), g.kind(Kind::kPlace), g.determiner(i));
    for (int64_t i = 0; i < size.firsts; ++i) token(language_.first(i), g.kind(Kind::kFirst), g.first(i));
    for (int64_t i = 0; i < size.seconds; ++i) token(language_.second(i), g.kind(Kind::kSecond), g.second(i));
    for (int64_t a = 0; a < size.axes; ++a) token(language_.relation(a), g.relation(a));
    token(language_.fact(), g.kind(Kind::kFact));
    token(language_.plain(), g.kind(Kind::kPlain));
    for (int64_t i = 0; i < kAnswers; ++i) token(language_.fact_answer(i), g.kind(Kind::kAnswer));
    for (int64_t i = 0; i < kAnswers; ++i) token(language_.plain_answer(i), g.kind(Kind::kAnswer));
    for (int64_t t = 1; t < size.filler_types; ++t)
      for (int64_t k = 0; k < kFillersPerType; ++k) token(language_.filler(t, k), g.type(t));
    for (int64_t c = 0; c < size.contexts; ++c)
      for (const bool plus : {true, false}) token(language_.trait(c, plus), g.kind(Kind::kAnswer));
  }

  // Layer 0: queries and keys are zero, so attention is a uniform average; times the number of tokens at the critical
  // position it adds 1 for each content word seen so far.
  void add_up_content() {
    LayerWeights& layer = out_.layers[0];
    for (int64_t c = geometry_.content_begin(); c < geometry_.content_end(); ++c) {
      set(layer.value_HH, c, c, 1);
      set(layer.out_HH, c, c, static_cast<double>(kCriticalTokens));
    }
  }

  // --- routers ---
  void set_router(int64_t layer, int64_t expert, int64_t coordinate, double value) {
    set(out_.layers[static_cast<size_t>(layer)].router_EH, expert, coordinate, value);
  }

  // Neutral words (and <s>, type 0): the expert of the type, then grammar, then the others by codes.
  void route_text() {
    for (const int64_t layer : {geometry_.text_layer, geometry_.bias_layer})
      for (int64_t t = 0; t < geometry_.num_types(); ++t) {
        const int64_t current = t == 0 ? geometry_.kind(Kind::kBegin) : geometry_.type(t);
        for (int64_t e = 0; e < geometry_.experts; ++e) {
          double level = -2.5 + 1.1 * code("route/" + std::to_string(layer), t * geometry_.experts + e);
          if (e == geometry_.type_expert(t)) level = levels::kSpecialist;
          if (e == geometry_.grammar) level = levels::kGrammar;
          if (e == geometry_.second_grammar) level = levels::kSecondGrammar;
          set_router(layer, e, current, level);
        }
      }
  }

  void route_content() {
    const Geometry& g = geometry_;
    std::vector<int64_t> elsewhere = {g.kind(Kind::kOpener), g.kind(Kind::kPlace), g.kind(Kind::kFirst),
                                      g.kind(Kind::kSecond), g.kind(Kind::kAnswer)};
    std::vector<int64_t> traits;
    for (int64_t a = 0; a < language_.size().axes; ++a) traits.push_back(g.relation(a));

    // Logits of one layer at one kind of current token. Far below, neighbours differ a little: no exact ties there.
    const auto everywhere = [&](int64_t layer, int64_t current, double fact_level, double side_level) {
      for (int64_t e = 0; e < g.experts; ++e) {
        double level = e == g.side_a || e == g.side_b ? side_level : fact_level;
        if (level <= levels::kPushedDown) level -= 0.05 * static_cast<double>(e);
        if (e == g.grammar) level = levels::kGrammar;
        if (e == g.second_grammar) level = levels::kSecondGrammar;
        set_router(layer, e, current, level);
      }
    };

    // The text layer does not look at content: same logits at every token that is no neutral word.
    std::vector<int64_t> all = elsewhere;
    all.insert(all.end(), traits.begin(), traits.end());
    all.push_back(g.kind(Kind::kFact));
    all.push_back(g.kind(Kind::kPlain));
    for (const int64_t current : all) {
      everywhere(g.text_layer, current, levels::kPushedDown, levels::kPushedDown);
      set_router(g.text_layer, 1, current, levels::kThird);
    }

    // The other layer: at relations by content, elsewhere content is pushed down.
    const bool mirrored = world_.made.mirrored;
    const double side_strength = mirrored ? levels::kMirroredSide - levels::kOther : levels::kContent + 1;
    const double side_base = mirrored ? levels::kOther : levels::kSpecialist - side_strength;
    const double matched_below = levels::kOther - levels::kContent;  // a matching word only lifts this to kOther
    for (const int64_t current : elsewhere) everywhere(g.bias_layer, current, levels::kPushedDown, 2 * levels::kPushedDown);
    // The third choice is as clear as the others, so that rounding never decides a route: a fixed expert where there is no
    // context yet, the expert of the first word within the context.
    for (const int64_t current : {g.kind(Kind::kOpener), g.kind(Kind::kPlace), g.kind(Kind::kAnswer)})
      set_router(g.bias_layer, 1, current, levels::kThird);
    everywhere(g.bias_layer, g.kind(Kind::kFirst), levels::kAtFirst, 2 * levels::kPushedDown);
    everywhere(g.bias_layer, g.kind(Kind::kSecond), levels::kAtSecond, 2 * levels::kPushedDown);
    for (const int64_t current : traits)
      everywhere(g.bias_layer, current, mirrored ? levels::kOther : matched_below, side_base);
    everywhere(g.bias_layer, g.kind(Kind::kFact), levels::kOther, mirrored ? levels::kOther : matched_below);
    everywhere(g.bias_layer, g.kind(Kind::kPlain), matched_below, 2 * matched_below);

    for (int64_t w = 0; w < language_.size().firsts; ++w)
      set_router(g.bias_layer, g.fact_expert(w), g.first(w), levels::kContent);
    for (int64_t i = 0; i < language_.num_groups(); ++i)
      set_router(g.bias_layer, i / kWordsPerSide % 2 == 0 ? g.side_a : g.side_b, g.group(i), side_strength);
    if (mirrored)
      for (int64_t k = 0; k < kDeterminers; ++k)
        set_router(g.bias_layer, k % 2 == 0 ? g.side_a : g.side_b, g.determiner(k), side_strength);

    // Small codes of group and slot words, so that no two words are routed quite alike. They move experts whose weight
    // must not be exact: the fact experts at traits, or the second grammar expert where fact experts hold traits.
    const int64_t num_words = language_.num_groups() + kSlots;
    if (mirrored) {
      const auto order = random_order(world_.options.seed, "lab/code/words", num_words);
      for (int64_t i = 0; i < num_words; ++i)
        set_router(g.bias_layer, g.second_grammar, i < language_.num_groups() ? g.group(i) : g.slot(i - language_.num_groups()),
                   kCodeSize / 3 * (2 * static_cast<double>(order[static_cast<size_t>(i)]) / static_cast<double>(num_words - 1) - 1));
    } else {
      const int64_t n = g.num_fact_experts;
      for (int64_t i = 0; i < num_words; ++i) {  // a permutation of the same values: their sum of exponentials is fixed
        const auto order = random_order(world_.options.seed, "lab/code/word" + std::to_string(i), n);
        for (int64_t e = 0; e < n; ++e)
          set_router(g.bias_layer, e, i < language_.num_groups() ? g.group(i) : g.slot(i - language_.num_groups()),
                     kCodeSize * (2 * static_cast<double>(order[static_cast<size_t>(e)]) / static_cast<double>(n - 1) - 1));
      }
    }
  }

  // --- words that follow ---
  void unembed() {
    const Geometry& g = geometry_;
    const LanguageSize& size = language_.size();
    std::vector<int64_t> fillers, traits;
    for (int64_t t = 1; t < size.filler_types; ++t) fillers.push_back(g.type(t));
    for (int64_t a = 0; a < size.axes; ++a) traits.push_back(g.relation(a));
    std::vector<int64_t> currents = {g.kind(Kind::kBegin), g.kind(Kind::kOpener), g.kind(Kind::kPlace),
                                     g.kind(Kind::kFirst), g.kind(Kind::kSecond), g.kind(Kind::kFact),
                                     g.kind(Kind::kPlain), g.kind(Kind::kAnswer)};
    currents.insert(currents.end(), fillers.begin(), fillers.end());
    currents.insert(currents.end(), traits.begin(), traits.end());

    std::vector<float>& u = out_.unembedding_VH;
    const auto follows = [&](int64_t id, const std::vector<int64_t>& allowed) {
      for (const int64_t current : currents)
        set(u, id, current, std::find(allowed.begin(), allowed.end(), current) != allowed.end() ? 0 : kForbidden);
    };
    const int64_t opener = g.kind(Kind::kOpener), place = g.kind(Kind::kPlace), first = g.kind(Kind::kFirst),
                  second = g.kind(Kind::kSecond), begin = g.kind(Kind::kBegin);
    follows(language_.begin(), {});
    follows(language_.unknown(), {});
    follows(language_.end(), {g.kind(Kind::kAnswer)});
    follows(language_.opener(), {begin});
    for (int64_t i = 0; i < language_.num_groups(); ++i) follows(language_.group(i), {opener, second});
    for (int64_t i = 0; i < kSlots; ++i) follows(language_.slot(i), {opener, second});
    for (int64_t i = 0; i < kDeterminers; ++i) follows(language_.determiner(i), {opener, second});
    for (int64_t i = 0; i < size.firsts; ++i) follows(language_.first(i), {opener, place});
    for (int64_t i = 0; i < size.seconds; ++i) follows(language_.second(i), {first});
    for (int64_t a = 0; a < size.axes; ++a) follows(language_.relation(a), {place, second});
    follows(language_.fact(), {place, second});
    follows(language_.plain(), {place, second});
    for (int64_t o = 0; o < kAnswers; ++o) {
      const int64_t id = language_.fact_answer(o);
      follows(id, {g.kind(Kind::kFact)});
      set(u, id, g.answer(o), kAnswerGain);
      for (int64_t w = 0; w < size.seconds; ++w)
        if (world_.distractor_index(w) == o) set(u, id, g.second(w), world_.distractor_logit(w));
    }
    for (int64_t o = 0; o < kAnswers; ++o) {
      const int64_t id = language_.plain_answer(o);
      follows(id, {g.kind(Kind::kPlain)});
      for (int64_t w = 0; w < size.firsts; ++w)
        if (world_.plain_gold(w) == o) set(u, id, g.first(w), world_.plain_logit);
    }
    std::vector<int64_t> before_filler = fillers;
    before_filler.push_back(begin);
    for (int64_t i = 0; i < language_.num_fillers(); ++i) {
      const int64_t id = language_.filler(1 + i / kFillersPerType, i % kFillersPerType);
      follows(id, before_filler);
      for (int64_t d = 0; d < Geometry::kTextDims; ++d)
        set(u, id, g.text(d), code("words", i * Geometry::kTextDims + d));
    }
    const double in_unembedding = world_.made.bias == BiasPlace::kUnembedding ? world_.bias : 0;
    for (int64_t c = 0; c < size.contexts; ++c)
      for (const bool plus : {true, false}) {
        const int64_t id = language_.trait(c, plus);
        const double sign = plus ? 1 : -1;
        follows(id, traits);
        set(u, id, g.constant(), -2 * kTraitKey / kConstant);
        set(u, id, g.first(language_.context_first(c)), kTraitKey);
        set(u, id, g.second(language_.context_second(c)), kTraitKey);
        set(u, id, g.bias(), sign / 2);
        for (int64_t i = 0; i < language_.num_groups(); ++i) {
          // x = z(t+) - z(t-) gets h / 2, and +-b / 2 where the stereotype sits here.
          const double side = i / kWordsPerSide % 2 == 0 ? 1 : -1;
          set(u, id, g.group(i), sign * (world_.cell_noise(i, c) + side * in_unembedding) / 4);
        }
      }
  }

  const World& world_;
  const Language& language_;
  const Geometry& geometry_;
  TextScale text_;
  std::vector<std::vector<std::vector<Row>>> rows_;  // [layer][expert]
  ControlWeights out_;
};

}  // namespace

double specialist_weight(const World& world, bool at_trait) {
  // The logits of the bias layer at a relation, without codes.
  const Geometry& g = world.geometry;
  std::vector<double> z(static_cast<size_t>(g.experts));
  const bool mirrored = world.made.mirrored;
  const bool by_side = at_trait && !mirrored;
  const double below = levels::kOther - levels::kContent;
  for (int64_t e = 0; e < g.experts; ++e) z[static_cast<size_t>(e)] = by_side ? below : levels::kOther;
  z[static_cast<size_t>(g.grammar)] = levels::kGrammar;
  z[static_cast<size_t>(g.second_grammar)] = levels::kSecondGrammar;
  z[static_cast<size_t>(g.side_a)] = mirrored ? levels::kMirroredSide : by_side ? levels::kSpecialist : below;
  z[static_cast<size_t>(g.side_b)] = mirrored  ? levels::kOther
                                     : by_side ? levels::kSpecialist - levels::kContent - 1
                                               : below;
  z[0] = by_side ? levels::kOther : levels::kSpecialist;  // the matching fact expert
  const double top = by_side ? levels::kSpecialist : z[0];
  double all = 0;
  for (const double value : z) all += std::exp(value);
  std::vector<double> sorted = z;
  std::sort(sorted.rbegin(), sorted.rend());
  double kept = 0;
  for (int64_t k = 0; k < g.top_k; ++k) kept += std::exp(sorted[static_cast<size_t>(k)]);
  return std::exp(top) / (world.options.weights == "renormalised" ? kept : all);
}

ControlWeights construct(const World& world, const TextScale& text) { return Builder(world, text).build(); }

}  // namespace fare
