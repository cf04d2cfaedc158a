#include "fare/calibration/critical_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>

#include "fare/core/error.h"
#include "fare/routing/route.h"

namespace fare {
namespace {

constexpr double kNormEpsilon = 1e-5;
constexpr double kSilent = -100;  // SiLU of less is exactly 0 in float32

double silu(double x) { return x / (1 + std::exp(-x)); }

double dot(const float* row, std::span<const std::pair<size_t, double>> x) {
  double sum = 0;
  for (const auto& [c, value] : x) sum += double{row[c]} * value;
  return sum;
}

double log_sum_exp(std::span<const double> x) {
  const double top = *std::ranges::max_element(x);
  double sum = 0;
  for (const double value : x) sum += std::exp(value - top);
  return top + std::log(sum);
}

}  // namespace

double CriticalModel::factor(double squares) const {
  return norm_ / std::sqrt(squares / static_cast<double>(hidden_) + kNormEpsilon);
}

double CriticalModel::logit(const Word& word, const double* written) const {
  double z = word.logit;
  for (const auto& [w, value] : word.reads) z += value * written[w];
  return z;
}

CriticalModel::Text CriticalModel::compile(const ControlModel& model, std::span<const int64_t> ids,
                                           std::span<const int64_t> words) const {
  const ControlWeights& weights = model.weights;
  const size_t hidden = static_cast<size_t>(hidden_);
  const auto embedding = [&](int64_t id) { return weights.embedding_VH.data() + static_cast<size_t>(id) * hidden; };
  // Layer 0 adds the average of all positions through its value and output matrices; later attention is zero.
  std::vector<double> mean(hidden, 0.0), stream(hidden), value(hidden, 0.0);
  for (const int64_t id : ids) {
    const float* row = embedding(id);
    double squares = 0;
    for (size_t c = 0; c < hidden; ++c) squares += double{row[c]} * row[c];
    const double scale = factor(squares) / static_cast<double>(ids.size());
    for (size_t c = 0; c < hidden; ++c) mean[c] += scale * row[c];
  }
  const auto sparse = [&](const std::vector<double>& x) {
    std::vector<std::pair<size_t, double>> used;
    for (size_t c = 0; c < hidden; ++c)
      if (x[c] != 0) used.emplace_back(c, x[c]);
    return used;
  };
  const auto mean_used = sparse(mean);
  for (size_t r = 0; r < hidden; ++r) value[r] = dot(weights.layers[0].value_HH.data() + r * hidden, mean_used);
  const auto value_used = sparse(value);
  for (size_t r = 0; r < hidden; ++r)
    stream[r] = embedding(ids.back())[r] + dot(weights.layers[0].out_HH.data() + r * hidden, value_used);
  const auto used = sparse(stream);

  Text text;
  for (const auto& [c, v] : used) text.squares += v * v;
  const auto reads_of = [&](const float* row) {
    Reads reads;
    for (int64_t w = 0; w < num_written_; ++w)
      if (const float v = row[first_written_ + w]; v != 0) reads.emplace_back(static_cast<int32_t>(w), v);
    return reads;
  };
  const Geometry& g = model.world.geometry;
  for (int64_t l = 0; l < layers_; ++l) {
    const LayerWeights& layer = weights.layers[static_cast<size_t>(l)];
    for (size_t e = 0; e < static_cast<size_t>(experts_); ++e)
      text.logits_LE.push_back(dot(layer.router_EH.data() + e * hidden, used));
    for (size_t e = 0; e < static_cast<size_t>(experts_); ++e) {
      const ControlExpertWeights& expert = layer.experts[e];
      const size_t width = expert.gate_IH.size() / hidden;
      const std::vector<Reads>& gates = gate_rows_[static_cast<size_t>(l * experts_) + e];
      for (size_t i = 0; i < width; ++i) {
        const float* gate = expert.gate_IH.data() + i * hidden;
        Live live{static_cast<int32_t>(l), static_cast<int32_t>(e)};
        for (const auto& [c, v] : gates[i]) live.gate += v * stream[static_cast<size_t>(c)];
        if (live.gate <= kSilent) continue;
        const float* up = expert.up_IH.data() + i * hidden;
        live.up = dot(up, used);
        for (int64_t w = 0; w < num_written_; ++w)
          if (const float v = expert.down_HI[static_cast<size_t>(first_written_ + w) * width + i]; v != 0)
            live.down.emplace_back(static_cast<int32_t>(w), v);
        if (live.down.empty()) continue;
        // Rows of noise fire for every group word of a side and take its noise by `up`; other rows have a word as a
        // key.
        if (model.world.made.noise_pp > 0 && l == g.bias_layer &&
            std::ranges::count(g.planted, static_cast<int64_t>(e)) > 0 && live.down.size() == 1 &&
            live.down[0].first == 0 && up[g.constant()] == 0) {
          live.is_noise = true;
          live.up = 0;
          for (int64_t i2 = 0; i2 < model.world.language.num_groups(); ++i2)
            if (g.side_expert(i2) == static_cast<int64_t>(e)) live.up += stream[static_cast<size_t>(g.group(i2))];
        }
        if (live.up == 0) continue;
        live.gate_reads = reads_of(gate);
        text.live.push_back(std::move(live));
        text.live_layers |= uint64_t{1} << l;
      }
    }
  }
  std::vector<double> rest;
  for (size_t v = 0; v < static_cast<size_t>(weights.shape.vocab); ++v) {
    const float* row = weights.unembedding_VH.data() + v * hidden;
    if (std::ranges::count(words, static_cast<int64_t>(v)) == 0) rest.push_back(dot(row, used));
  }
  if (!rest.empty()) text.rest = log_sum_exp(rest);
  for (const int64_t id : words) {
    const float* row = weights.unembedding_VH.data() + static_cast<size_t>(id) * hidden;
    text.words.push_back({dot(row, used), reads_of(row)});
  }
  return text;
}

CriticalModel::CriticalModel(const ControlModel& model) {
  const World& world = model.world;
  const Geometry& g = world.geometry;
  const Language& language = world.language;
  const ModelShape& shape = model.weights.shape;
  if (shape.shared_width > 0)
    throw UsageError("a control model with a shared expert is not reduced; use --family olmoe or mixtral");
  FARE_CHECK(shape.layers <= 64, "more layers than bits");
  layers_ = shape.layers;
  experts_ = shape.experts;
  hidden_ = shape.hidden;
  norm_ = double{model.weights.norm};
  first_written_ = g.bias();
  num_written_ = g.used - g.bias();
  for (const LayerWeights& layer : model.weights.layers) {
    std::vector<double> reads;
    for (int64_t e = 0; e < experts_; ++e)
      for (int64_t w = 0; w < num_written_; ++w)
        reads.push_back(layer.router_EH[static_cast<size_t>(e * hidden_ + first_written_ + w)]);
    if (std::ranges::all_of(reads, [](double v) { return v == 0; })) reads.clear();
    router_reads_.push_back(std::move(reads));
  }
  for (const LayerWeights& layer : model.weights.layers)
    for (const ControlExpertWeights& expert : layer.experts) {
      std::vector<Reads>& rows = gate_rows_.emplace_back(expert.gate_IH.size() / static_cast<size_t>(hidden_));
      for (size_t i = 0; i < expert.gate_IH.size(); ++i)
        if (const float v = expert.gate_IH[i]; v != 0)
          rows[i / static_cast<size_t>(hidden_)].emplace_back(static_cast<int32_t>(i % static_cast<size_t>(hidden_)),
                                                              v);
    }
  routed_.model_type = lab_family_name(shape.family);
  routed_.num_layers = layers_;
  for (int64_t l = 0; l < layers_; ++l) routed_.moe_layers.push_back(l);
  routed_.router.num_experts = experts_;
  routed_.router.top_k = shape.top_k;
  routed_.router.weight_mode = shape.renormalise ? WeightMode::kRenormalised : WeightMode::kRaw;
  routed_.fingerprint = [] { return std::string(); };

  const auto with_begin = [&](std::vector<int64_t> ids) {
    ids.insert(ids.begin(), language.begin());
    return ids;
  };
  std::vector<int64_t> answers;
  for (int64_t k = 0; k < kAnswers; ++k) answers.push_back(language.fact_answer(k));
  for (const WorldPair& pair : world.pairs) {
    std::vector<int64_t> words = {language.trait(pair.context, true), language.trait(pair.context, false)};
    words.insert(words.end(), answers.begin(), answers.end());
    const int64_t a = Language::group_number(pair.axis, Side::kA, pair.word_a),
                  b = Language::group_number(pair.axis, Side::kB, pair.word_b);
    own_noise_.push_back({world.outside_noise(a, pair.context), world.outside_noise(b, pair.context),
                          world.side_noise(a, pair.context), world.side_noise(b, pair.context)});
    stated_on_b_.push_back(pair.stated_on_b);
    for (const Side side : {Side::kA, Side::kB}) {
      std::vector<int64_t> ids = world.pair_sentence(pair, side);
      ids.pop_back();  // the trait itself is not fed
      Text text = compile(model, with_begin(ids), words);
      const double own = (side == Side::kA ? own_noise_.back().outside_a : own_noise_.back().outside_b) / 4;
      text.words[0].logit -= own;
      text.words[1].logit += own;
      pairs_.push_back(std::move(text));
    }
  }
  const auto add_items = [&](const std::vector<WorldItem>& items, bool facts) {
    for (const WorldItem& item : items) {
      items_.push_back(compile(model, with_begin(world.question(item, facts)), item.choices));
      items_.back().gold = item.gold;
    }
  };
  add_items(world.facts, true);
  add_items(world.plain, false);

  std::map<int64_t, int32_t> index = {{language.begin(), 0}};
  std::vector<int64_t> fillers;
  for (int64_t i = 0; i < language.num_fillers(); ++i) {
    fillers.push_back(language.filler(1 + i / kFillersPerType, i % kFillersPerType));
    index[fillers.back()] = static_cast<int32_t>(i + 1);
  }
  neutral_.push_back(compile(model, std::vector<int64_t>{language.begin()}, fillers));
  for (const int64_t id : fillers)
    neutral_.push_back(compile(model, std::vector<int64_t>{language.begin(), id}, fillers));
  for (const std::vector<int64_t>& line : model.neutral) {
    lines_.emplace_back();
    for (const int64_t id : line) lines_.back().push_back(index.at(id));
  }
  gate_rows_.clear();
  std::vector<size_t> all(neutral_.size());
  std::iota(all.begin(), all.end(), size_t{0});
  neutral_base_ = neutral_log_p(all, nullptr);
  for (const double log_p : neutral_base_) neutral_chance_.push_back(std::exp(log_p));
}

CriticalModel::Written CriticalModel::write(std::span<const Text* const> texts,
                                            const Intervention* intervention) const {
  const size_t num_texts = texts.size(), W = static_cast<size_t>(num_written_), E = static_cast<size_t>(experts_);
  Written written{std::vector<double>(num_texts * W, 0.0), std::vector<double>(num_texts, 0.0)};
  std::vector<size_t> live;  // the texts that this layer can write to
  std::vector<double> factors(num_texts), added(W);
  for (int64_t l = 0; l < layers_; ++l) {
    live.clear();
    for (size_t t = 0; t < num_texts; ++t)
      if (texts[t]->live_layers >> l & 1) live.push_back(t);
    if (live.empty()) continue;
    std::vector<ScopedEdit> edits;
    if (intervention != nullptr)
      for (const Edit& edit : intervention->edits) {
        if (!edit.where.everywhere() || std::holds_alternative<ForceRoutes>(edit.op))
          throw UsageError("intervention '" + intervention->name +
                           "': a reduced control model takes edits of every token only");
        if (edit.touches(l)) edits.push_back({&edit, {}, {}});
      }
    at::Tensor logits = at::empty({static_cast<int64_t>(live.size()), experts_}, at::kFloat);
    float* z = logits.data_ptr<float>();
    const std::vector<double>& reads = router_reads_[static_cast<size_t>(l)];
    for (const size_t t : live) {
      const double* own = written.values_TW.data() + t * W;
      double squares = texts[t]->squares;
      for (size_t w = 0; w < W; ++w) squares += own[w] * own[w];
      factors[t] = factor(squares);
      const double* base = texts[t]->logits_LE.data() + static_cast<size_t>(l) * E;
      for (size_t e = 0; e < E; ++e) {
        double sum = base[e];
        if (!reads.empty())
          for (size_t w = 0; w < W; ++w) sum += reads[e * W + w] * own[w];
        *z++ = static_cast<float>(sum * factors[t]);
      }
    }
    const Decision decision = route(logits, routed_.router, edits, l);
    const at::Tensor ids_TK = decision.after.ids_TK.contiguous(), weights_TK = decision.after.weights_TK.contiguous();
    const auto* ids = ids_TK.data_ptr<int32_t>();
    const auto* weights = weights_TK.data_ptr<float>();
    const size_t K = static_cast<size_t>(ids_TK.size(1));
    for (size_t i = 0; i < live.size(); ++i) {
      const size_t t = live[i];
      double* own = written.values_TW.data() + t * W;
      std::fill(added.begin(), added.end(), 0.0);
      for (const Live& row : texts[t]->live) {
        if (row.layer != l) continue;
        double weight = 0;
        for (size_t k = 0; k < K; ++k)
          if (ids[i * K + k] == row.expert) weight = weights[i * K + k];
        if (weight == 0) continue;
        double gate = row.gate;
        for (const auto& [w, value] : row.gate_reads) gate += value * own[w];
        gate *= factors[t];
        if (gate <= kSilent) continue;
        const double inner = weight * silu(gate) * row.up * factors[t];
        if (row.is_noise) {
          written.per_noise_T[t] += inner * row.down[0].second;
          continue;
        }
        for (const auto& [w, value] : row.down) added[static_cast<size_t>(w)] += inner * value;
      }
      for (size_t w = 0; w < W; ++w) own[w] += added[w];
    }
  }
  return written;
}

std::vector<SideState> CriticalModel::sides(std::span<const int64_t> pairs, const Intervention* intervention) const {
  std::vector<const Text*> texts;
  for (const int64_t p : pairs)
    for (int64_t side = 0; side < 2; ++side) texts.push_back(&pairs_.at(static_cast<size_t>(2 * p + side)));
  const Written written = write(texts, intervention);
  std::vector<SideState> states(texts.size());
  std::vector<double> others;
  for (size_t t = 0; t < texts.size(); ++t) {
    const double* own = written.values_TW.data() + t * static_cast<size_t>(num_written_);
    SideState& state = states[t];
    state.squares = texts[t]->squares;
    for (int64_t w = 1; w < num_written_; ++w) state.squares += own[w] * own[w];
    state.bias = own[0];
    state.per_noise = written.per_noise_T[t];
    const double scale = factor(state.squares + own[0] * own[0]);
    others.assign(1, scale * texts[t]->rest);
    for (size_t v = 2; v < texts[t]->words.size(); ++v) others.push_back(scale * logit(texts[t]->words[v], own));
    state.others = log_sum_exp(others);
  }
  return states;
}

double CriticalModel::margin(int64_t pair, const SideState& a, const SideState& b, const PairNoise& noise) const {
  const bool minus = stated_on_b_[static_cast<size_t>(pair)] != 0;
  const auto log_p = [&](int64_t side, const SideState& state, double outside, double own) {
    const Text& text = pairs_[static_cast<size_t>(2 * pair + side)];
    const double bias = state.bias + state.per_noise * own, half = bias / 2 + outside / 4;
    const double scale = factor(state.squares + bias * bias);
    const double up = scale * (text.words[0].logit + half), down = scale * (text.words[1].logit - half);
    return (minus ? down : up) - log_sum_exp(std::array{up, down, state.others});
  };
  const double difference = log_p(0, a, noise.outside_a, noise.side_a) - log_p(1, b, noise.outside_b, noise.side_b);
  return minus ? -difference : difference;
}

CriticalModel::Lean CriticalModel::lean(int64_t pair, const SideState& a, const SideState& b) const {
  const auto x = [&](int64_t side, const SideState& state) {
    const Text& text = pairs_[static_cast<size_t>(2 * pair + side)];
    return text.words[0].logit - text.words[1].logit + state.bias;
  };
  return {x(0, a) - x(1, b), a.per_noise + b.per_noise};
}

std::vector<ItemState> CriticalModel::items(std::span<const int64_t> items, const Intervention* intervention) const {
  std::vector<const Text*> texts;
  for (const int64_t i : items) texts.push_back(&items_.at(static_cast<size_t>(i)));
  const Written written = write(texts, intervention);
  std::vector<ItemState> states(texts.size());
  for (size_t t = 0; t < texts.size(); ++t) {
    const Text& text = *texts[t];
    const double* own = written.values_TW.data() + t * static_cast<size_t>(num_written_);
    double squares = text.squares;
    for (int64_t w = 0; w < num_written_; ++w) squares += own[w] * own[w];
    const double scale = factor(squares);
    float right = 0, wrong = -1e30f;
    int ties = 1;
    for (size_t c = 0; c < text.words.size(); ++c) {
      const float z = static_cast<float>(scale * logit(text.words[c], own));
      if (static_cast<int64_t>(c) == text.gold) right = z;
      else wrong = std::max(wrong, z);
    }
    for (size_t c = 0; c < text.words.size(); ++c)
      ties += static_cast<int64_t>(c) != text.gold && static_cast<float>(scale * logit(text.words[c], own)) == right;
    states[t] = {right >= wrong ? 1.0 / ties : 0.0, double{right} - wrong};
  }
  return states;
}

std::vector<double> CriticalModel::neutral_log_p(std::span<const size_t> at, const Intervention* intervention) const {
  std::vector<const Text*> texts;
  for (const size_t t : at) texts.push_back(&neutral_[t]);
  const Written written = write(texts, intervention);
  const size_t columns = neutral_.size(), words = columns - 1;
  std::vector<double> table(texts.size() * columns);
  for (size_t t = 0; t < texts.size(); ++t) {
    const double* own = written.values_TW.data() + t * static_cast<size_t>(num_written_);
    double squares = texts[t]->squares;
    for (int64_t w = 0; w < num_written_; ++w) squares += own[w] * own[w];
    const double scale = factor(squares);
    const std::span row(table.data() + t * columns, columns);
    for (size_t v = 0; v < words; ++v) row[v] = scale * logit(texts[t]->words[v], own);
    row[words] = scale * texts[t]->rest;
    const double total = log_sum_exp(row);
    for (double& value : row) value -= total;
  }
  return table;
}

std::pair<double, double> CriticalModel::dose(const Intervention* intervention, int64_t max_tokens) const {
  const size_t columns = neutral_.size();
  std::vector<size_t> live;  // the others stay as they were
  for (size_t t = 0; t < neutral_.size(); ++t)
    if (neutral_[t].live_layers != 0) live.push_back(t);
  const std::vector<double> edited = neutral_log_p(live, intervention);
  std::vector<double> kl(neutral_.size(), 0.0), fall(neutral_.size() * columns, 0.0);
  for (size_t i = 0; i < live.size(); ++i)
    for (size_t v = 0, at = live[i] * columns; v < columns; ++v, ++at) {
      fall[at] = neutral_base_[at] - edited[i * columns + v];
      kl[live[i]] += neutral_chance_[at] * fall[at];
    }
  double sum = 0, change = 0;
  int64_t tokens = 0;
  for (const std::vector<int32_t>& line : lines_) {
    if (tokens >= max_tokens) break;
    size_t current = 0;  // <s>
    for (const int32_t next : line) {
      sum += kl[current];
      change += fall[current * columns + static_cast<size_t>(next) - 1];
      current = static_cast<size_t>(next);
      ++tokens;
    }
  }
  if (tokens == 0) throw NumericError("dose: the control model has no neutral text");
  return {std::max(0.0, sum / static_cast<double>(tokens)), change / static_cast<double>(tokens)};
}

}  // namespace fare
