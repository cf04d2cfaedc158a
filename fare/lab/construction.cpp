// The construction: every number of a control model follows from its world and the levels here.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "fare/core/error.h"
#include "fare/core/philox.h"
#include "fare/lab/builder.h"

namespace fare {
namespace {

constexpr double kSwitchOn = 40;  // before the sigmoid that scales a shared expert: 1 in every precision

double silu(double x) { return x / (1 + std::exp(-x)); }

ModelShape shape_of(const World& world) {
  ModelShape shape;
  shape.family = lab_family(world.options.family, "--family");
  shape.vocab = world.language.vocab();
  shape.hidden = world.geometry.hidden;
  shape.layers = world.geometry.layers;
  shape.experts = world.geometry.experts;
  shape.top_k = world.geometry.top_k;
  shape.heads = shape.kv_heads = 4;
  shape.max_positions = 256;
  shape.renormalise = world.options.weights == "renormalised";
  shape.bos = world.language.begin();
  shape.eos = world.language.end();
  shape.pad = world.language.end();
  return shape;
}

// The one coordinate that says what the current token is, and its content coordinate or -1.
void embed(Builder& b) {
  const Geometry& g = b.geometry;
  const Language& language = b.language;
  const LanguageSize& size = language.size();
  const auto token = [&](int64_t id, int64_t current, int64_t content = -1) {
    b.set(b.out.embedding_VH, id, g.constant(), kConstant);
    b.set(b.out.embedding_VH, id, current, 1);
    if (content >= 0) b.set(b.out.embedding_VH, id, content, 1);
  };
  token(language.begin(), g.kind(Kind::kBegin));
  token(language.end(), g.kind(Kind::kAnswer));
  token(language.unknown(), g.kind(Kind::kAnswer));
  token(language.opener(), g.kind(Kind::kOpener));
  for (int64_t i = 0; i < language.num_groups(); ++i) token(language.group(i), g.kind(Kind::kPlace), g.group(i));
  for (int64_t i = 0; i < kSlots; ++i) token(language.slot(i), g.kind(Kind::kPlace), g.slot(i));
  for (int64_t i = 0; i < kDeterminers; ++i) token(language.determiner(i), g.kind(Kind::kPlace), g.determiner(i));
  for (int64_t i = 0; i < size.firsts; ++i) token(language.first(i), g.kind(Kind::kFirst), g.first(i));
  for (int64_t i = 0; i < size.seconds; ++i) token(language.second(i), g.kind(Kind::kSecond), g.second(i));
  for (int64_t a = 0; a < size.axes; ++a) token(language.relation(a), g.relation(a));
  token(language.fact(), g.kind(Kind::kFact));
  token(language.plain(), g.kind(Kind::kPlain));
  for (int64_t i = 0; i < kAnswers; ++i) token(language.fact_answer(i), g.kind(Kind::kAnswer));
  for (int64_t i = 0; i < kAnswers; ++i) token(language.plain_answer(i), g.kind(Kind::kAnswer));
  for (int64_t t = 1; t < size.filler_types; ++t)
    for (int64_t k = 0; k < kFillersPerType; ++k) token(language.filler(t, k), g.type(t));
  for (int64_t c = 0; c < size.contexts; ++c)
    for (const bool plus : {true, false}) token(language.trait(c, plus), g.kind(Kind::kAnswer));
}

// Layer 0: queries and keys are zero, so attention is a uniform average; times the number of tokens at the critical
// position it adds 1 for each content word seen so far.
void add_up_content(Builder& b) {
  LayerWeights& layer = b.out.layers[0];
  for (int64_t c = b.geometry.content_begin(); c < b.geometry.content_end(); ++c) {
    b.set(layer.value_HH, c, c, 1);
    b.set(layer.out_HH, c, c, static_cast<double>(kCriticalTokens));
  }
}

ControlExpertWeights dense(const std::vector<ExpertRow>& rows, int64_t width, int64_t hidden) {
  ControlExpertWeights expert;
  expert.gate_IH.assign(static_cast<size_t>(width * hidden), 0.f);
  expert.up_IH = expert.down_HI = expert.gate_IH;
  for (size_t r = 0; r < rows.size(); ++r) {
    const size_t row = r * static_cast<size_t>(hidden);
    for (const auto& [c, value] : rows[r].gate)
      expert.gate_IH[row + static_cast<size_t>(c)] += static_cast<float>(value);
    for (const auto& [c, value] : rows[r].up) expert.up_IH[row + static_cast<size_t>(c)] += static_cast<float>(value);
    for (const auto& [c, value] : rows[r].down)
      expert.down_HI[static_cast<size_t>(c * width) + r] += static_cast<float>(value);
  }
  return expert;
}

// Every expert as wide as the widest, rounded up; the shared one as its own.
void place_rows(Builder& b) {
  ModelShape& shape = b.out.shape;
  size_t widest = 0, widest_shared = 1;
  for (const auto& layer : b.rows_LE)
    for (size_t e = 0; e < layer.size(); ++e) {
      size_t& width = static_cast<int64_t>(e) == b.shared_expert() ? widest_shared : widest;
      width = std::max(width, layer[e].size());
    }
  shape.expert_width = (static_cast<int64_t>(widest) + 15) / 16 * 16;
  if (b.has_shared_expert()) shape.shared_width = (static_cast<int64_t>(widest_shared) + 15) / 16 * 16;
  check_shape(shape);
  for (int64_t l = 0; l < shape.layers; ++l) {
    LayerWeights& layer = b.out.layers[static_cast<size_t>(l)];
    for (int64_t e = 0; e < shape.experts; ++e)
      layer.experts.push_back(dense(b.rows(l, e), shape.expert_width, shape.hidden));
    if (!b.has_shared_expert()) continue;
    layer.shared = dense(b.rows(l, b.shared_expert()), shape.shared_width, shape.hidden);
    layer.shared_switch_H.assign(static_cast<size_t>(shape.hidden), 0.f);
    layer.shared_switch_H[0] = static_cast<float>(kSwitchOn / kConstant);
  }
}

}  // namespace

Builder::Builder(const World& made_world, const TextScale& scale)
    : world(made_world), language(made_world.language), geometry(made_world.geometry), text(scale) {
  out.shape = shape_of(world);
  const auto hidden = static_cast<size_t>(out.shape.hidden);
  out.norm = static_cast<float>(kConstant / std::sqrt(static_cast<double>(out.shape.hidden)));
  out.embedding_VH.assign(static_cast<size_t>(out.shape.vocab) * hidden, 0.f);
  out.unembedding_VH = out.embedding_VH;
  out.layers.resize(static_cast<size_t>(out.shape.layers));
  for (LayerWeights& layer : out.layers) {
    layer.value_HH.assign(hidden * hidden, 0.f);
    layer.out_HH = layer.value_HH;
    layer.router_EH.assign(static_cast<size_t>(out.shape.experts) * hidden, 0.f);
  }
  rows_LE.assign(out.layers.size(), std::vector<std::vector<ExpertRow>>(static_cast<size_t>(geometry.experts) + 1));
}

double Builder::code(const std::string& label, int64_t i) const {
  return 2 * RandomStream(world.options.seed, "lab/code/" + label).uniform(static_cast<uint64_t>(i)) - 1;
}

ExpertRow Builder::row(Entries keys, double required, Entries down, Entries up) const {
  for (auto& key : keys) key.second *= kGateStep;
  keys.push_back({geometry.constant(), (kGateOn - kGateStep * required) / kConstant});
  if (up.empty()) up.push_back({geometry.constant(), 1 / kConstant});
  for (auto& place : down) place.second /= silu(kGateOn);
  return {std::move(keys), std::move(up), std::move(down)};
}

void Builder::set(std::vector<float>& matrix, int64_t r, int64_t c, double value) const {
  matrix[static_cast<size_t>(r * geometry.hidden + c)] = static_cast<float>(value);
}

void Builder::set_router(int64_t layer, int64_t expert, int64_t coordinate, double value) {
  set(out.layers[static_cast<size_t>(layer)].router_EH, expert, coordinate, value);
}

std::vector<double> Builder::weights_at(int64_t layer, const std::vector<int64_t>& coordinates) const {
  const std::vector<float>& router = out.layers[static_cast<size_t>(layer)].router_EH;
  std::vector<double> exponentials(static_cast<size_t>(geometry.experts));
  for (size_t e = 0; e < exponentials.size(); ++e) {
    double z = 0;
    for (const int64_t c : coordinates)
      z += double{router[e * static_cast<size_t>(geometry.hidden) + static_cast<size_t>(c)]};
    exponentials[e] = std::exp(z);
  }
  std::vector<double> sorted = exponentials;
  std::ranges::sort(sorted, std::greater<>());
  const auto k = static_cast<size_t>(geometry.top_k);
  const double kept = std::accumulate(sorted.begin(), sorted.begin() + geometry.top_k, 0.0);
  const double sum = out.shape.renormalise ? kept : std::accumulate(sorted.begin(), sorted.end(), 0.0);
  for (double& value : exponentials) value = value >= sorted[k - 1] ? value / sum : 0;
  return exponentials;
}

std::vector<int64_t> Builder::relations() const {
  std::vector<int64_t> all;
  for (int64_t axis = 0; axis < language.size().axes; ++axis) all.push_back(geometry.relation(axis));
  return all;
}

ControlWeights construct(const World& world, const TextScale& text) {
  Builder builder(world, text);
  embed(builder);
  add_up_content(builder);
  add_routers(builder);
  add_unembedding(builder);
  add_text_rows(builder);
  add_bias_rows(builder);
  add_fact_rows(builder);
  place_rows(builder);
  return std::move(builder.out);
}

}  // namespace fare
