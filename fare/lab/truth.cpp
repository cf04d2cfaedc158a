#include "fare/lab/truth.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "fare/core/error.h"
#include "fare/core/parallel.h"
#include "fare/core/philox.h"
#include "fare/lab/draws.h"

namespace fare {
namespace {

std::vector<int64_t> with_begin(const World& world, const std::vector<int64_t>& ids) {
  std::vector<int64_t> out = {world.language.begin()};
  out.insert(out.end(), ids.begin(), ids.end());
  return out;
}

// Neutral text depends on the last token only: no content, so nothing adds up.
std::map<int64_t, ExactResult> neutral_states(const World& world, const ControlWeights& weights,
                                              const ExpertMask& mask) {
  const ExactModel model(weights);
  std::map<int64_t, ExactResult> states;
  states[world.language.begin()] = model.at_last(std::vector<int64_t>{world.language.begin()}, mask);
  for (int64_t t = 1; t < world.language.size().filler_types; ++t)
    for (int64_t k = 0; k < kFillersPerType; ++k) {
      const int64_t id = world.language.filler(t, k);
      states[id] = model.at_last(std::vector<int64_t>{world.language.begin(), id}, mask);
    }
  return states;
}

std::vector<double> probabilities(const std::vector<double>& logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p(logits.size());
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) sum += p[i] = std::exp(logits[i] - top);
  for (double& v : p) v /= sum;
  return p;
}

bool answers_right(const ExactModel& model, const World& world, const WorldItem& item, bool is_fact,
                   const ExpertMask& mask) {
  const ExactResult at = model.at_last(with_begin(world, world.question(item, is_fact)), mask);
  size_t best = 0;
  for (size_t c = 1; c < item.choices.size(); ++c)
    if (at.logits_V[static_cast<size_t>(item.choices[c])] > at.logits_V[static_cast<size_t>(item.choices[best])])
      best = c;
  return static_cast<int64_t>(best) == item.gold;
}

// The masks that the claims are about; "side experts" are those that hold the stereotype or react.
std::vector<MaskTruth> claims(const World& world) {
  const Geometry& g = world.geometry;
  std::vector<int64_t> half;
  for (size_t i = 0; i < g.roles.facts.size(); i += 2) half.push_back(g.roles.facts[i]);
  std::vector<MaskTruth> out;
  const auto add = [&](const std::string& name, const std::vector<int64_t>& layers,
                       const std::vector<int64_t>& experts) {
    MaskTruth line;
    line.name = name;
    line.mask = {layers, experts, world.made.bias == BiasPlace::kEveryExpert, false};
    out.push_back(line);
  };
  add("base", {}, {});
  add("side experts", g.planted_layers, g.planted);
  add("half of the fact experts", {g.fact_layer}, half);
  add("all fact experts", {g.fact_layer}, g.roles.facts);
  if (world.made.facts == FactPlace::kTagged) {
    add("side experts, later routes replayed", g.planted_layers, g.planted);
    out.back().mask.replay_later = true;
  }
  if (world.made.bias == BiasPlace::kFourExperts) {
    add("both hidden experts of one layer", {g.planted_layers[0]}, g.planted);
    add("one hidden expert of both layers", g.planted_layers, {g.planted[0]});
  }
  return out;
}

// Mean Jensen-Shannon divergence of two sentences' routing, per layer, over the tokens after the group word that are
// fed.
std::vector<double> divergence(const ExactModel& model, const World& world, const std::vector<int64_t>& left,
                               const std::vector<int64_t>& right) {
  const std::vector<int64_t> texts[2] = {with_begin(world, left), with_begin(world, right)};
  std::vector<double> sums;
  constexpr size_t kFirstShared = 4;  // tokens up to the first shared word after the group
  for (size_t length = kFirstShared; length <= kCriticalTokens; ++length) {
    const auto a = model.at_last(std::span(texts[0]).first(length)).routes,
               b = model.at_last(std::span(texts[1]).first(length)).routes;
    sums.resize(a.size(), 0.0);
    for (size_t l = 0; l < a.size(); ++l) {
      const std::vector<double> p = probabilities(a[l].logits_E), q = probabilities(b[l].logits_E);
      for (size_t e = 0; e < p.size(); ++e) {
        const double m = (p[e] + q[e]) / 2;
        for (const double value : {p[e], q[e]})
          if (value > 0)
            sums[l] += value / 2 * std::log2(value / m) / static_cast<double>(kCriticalTokens - kFirstShared + 1);
      }
    }
  }
  return sums;
}

std::vector<DivergenceTruth> measure_divergence(const ExactModel& model, const World& world, int threads) {
  const int64_t pairs = std::min(kDivergencePairs, world.num_main_pairs());
  struct Comparison {
    std::vector<int64_t> left, right;
    double DivergenceTruth::*where;
  };
  std::vector<Comparison> all;
  for (int64_t i = 0; i < pairs; ++i) {
    const WorldPair& pair = world.pairs[static_cast<size_t>(i)];
    all.push_back(
        {world.pair_sentence(pair, Side::kA), world.pair_sentence(pair, Side::kB), &DivergenceTruth::demographic});
  }
  for (const WorldNull& null : world.nulls) {
    if (null.pair >= pairs) continue;
    const WorldPair& pair = world.pairs[static_cast<size_t>(null.pair)];
    all.push_back({world.sentence(pair, null.left), world.sentence(pair, null.right),
                   null.kind == "null_neutral" ? &DivergenceTruth::neutral : &DivergenceTruth::same_group});
  }
  std::vector<std::vector<double>> values(all.size());
  parallel_for(static_cast<int64_t>(all.size()), threads, [&](int64_t i) {
    const Comparison& two = all[static_cast<size_t>(i)];
    values[static_cast<size_t>(i)] = divergence(model, world, two.left, two.right);
  });
  std::vector<DivergenceTruth> out(static_cast<size_t>(world.geometry.layers));
  for (size_t i = 0; i < all.size(); ++i)
    for (size_t l = 0; l < out.size(); ++l)
      out[l].*all[i].where +=
          values[i][l] / static_cast<double>(pairs) / (all[i].where == &DivergenceTruth::demographic ? 1 : 2);
  return out;
}

[[noreturn]] void broken(const std::string& what, double value, const std::string& wanted) {
  throw BrokenInvariant("control model: " + what + " is " + std::to_string(value) + ", wanted " + wanted);
}

}  // namespace

std::vector<std::vector<int64_t>> neutral_lines(const World& world, const ControlWeights& weights) {
  // Next words of every neutral token, <s> included, among neutral words only.
  const auto states = neutral_states(world, weights, {});
  std::map<int64_t, std::vector<double>> cumulative;
  for (const auto& [id, state] : states) {
    double sum = 0;
    std::vector<double> steps;
    for (int64_t i = 0; i < world.language.num_fillers(); ++i) {
      const int64_t next = world.language.filler(1 + i / kFillersPerType, i % kFillersPerType);
      steps.push_back(sum += std::exp(state.logits_V[static_cast<size_t>(next)]));
    }
    for (double& s : steps) s /= sum;
    cumulative[id] = steps;
  }
  const RandomStream stream(world.options.seed, "lab/neutral");
  const int64_t count = (world.options.neutral_tokens + kNeutralWords - 1) / kNeutralWords;
  std::vector<std::vector<int64_t>> lines(static_cast<size_t>(count));
  for (int64_t l = 0; l < count; ++l) {
    int64_t current = world.language.begin();
    for (int64_t w = 0; w < kNeutralWords; ++w) {
      const std::vector<double>& steps = cumulative[current];
      const double u = stream.uniform(static_cast<uint64_t>(l * kNeutralWords + w));
      const auto place = std::min<int64_t>(std::upper_bound(steps.begin(), steps.end(), u) - steps.begin(),
                                           static_cast<int64_t>(steps.size()) - 1);
      current = world.language.filler(1 + place / kFillersPerType, place % kFillersPerType);
      lines[static_cast<size_t>(l)].push_back(current);
    }
  }
  return lines;
}

double neutral_dose(const World& world, const ControlWeights& weights, const std::vector<std::vector<int64_t>>& lines,
                    const ExpertMask& mask) {
  const auto base = neutral_states(world, weights, {}), masked = neutral_states(world, weights, mask);
  std::map<int64_t, double> kl;
  for (const auto& [id, state] : base) {
    const std::vector<double> p = probabilities(state.logits_V), q = probabilities(masked.at(id).logits_V);
    for (size_t v = 0; v < p.size(); ++v)
      if (p[v] > 0 && q[v] > 0) kl[id] += p[v] * (std::log(p[v]) - std::log(q[v]));
  }
  double sum = 0;
  for (const auto& line : lines) {
    sum += kl[world.language.begin()];
    for (size_t w = 0; w + 1 < line.size(); ++w) sum += kl[line[w]];
  }
  return sum / static_cast<double>(lines.size() * kNeutralWords);
}

Truth measure_truth(const World& world, const ControlWeights& weights, const std::vector<std::vector<int64_t>>& lines,
                    int threads) {
  Truth truth;
  const ExactModel model(weights);
  const Language& language = world.language;
  const size_t num_axes = static_cast<size_t>(language.size().axes);
  truth.smallest_margin = 1e300;
  for (int64_t i = 0; i < world.num_main_pairs(); ++i)
    truth.smallest_margin =
        std::min(truth.smallest_margin, std::abs(world.bias + world.pairs[static_cast<size_t>(i)].noise));

  truth.divergence = measure_divergence(model, world, threads);
  truth.drowning = 1e300;
  std::vector<char> base_signs;
  for (MaskTruth line : claims(world)) {
    const ExpertMask mask = line.mask;
    struct PairValue {
      bool stereotyped;
      double bias_logit, norm_error, drowning;
    };
    std::vector<PairValue> values(world.pairs.size());
    parallel_for(static_cast<int64_t>(values.size()), threads, [&](int64_t i) {
      const WorldPair& pair = world.pairs[static_cast<size_t>(i)];
      const int64_t plus = language.trait(pair.context, true), minus = language.trait(pair.context, false);
      double x[2], logprob[2], worst = 0, drowning = 1e300;
      for (const Side side : {Side::kA, Side::kB}) {
        std::vector<int64_t> ids = with_begin(world, world.pair_sentence(pair, side));
        ids.pop_back();
        const ExactResult at = model.at_last(ids, mask);
        const auto s = static_cast<size_t>(side);
        x[s] = at.logits_V[static_cast<size_t>(plus)] - at.logits_V[static_cast<size_t>(minus)];
        logprob[s] = log_softmax_at(at.logits_V, pair.stated_on_b ? minus : plus);
        worst = std::max(worst, at.norm_error);
        const double trait = std::max(at.logits_V[static_cast<size_t>(plus)], at.logits_V[static_cast<size_t>(minus)]);
        for (int64_t k = 0; k < kDrowningWords; ++k)
          drowning = std::min(drowning, at.logits_V[static_cast<size_t>(language.filler(1, 0) + k)] - trait);
      }
      const double m = (pair.stated_on_b ? -1 : 1) * (logprob[0] - logprob[1]);
      values[static_cast<size_t>(i)] = {m > 0, x[0] - x[1] - pair.noise, worst, drowning};
    });
    std::vector<double> positive(num_axes, 0.0), count(num_axes, 0.0);
    double transfer_positive = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const WorldPair& pair = world.pairs[i];
      truth.drowning = std::min(truth.drowning, values[i].drowning);
      truth.worst_norm_error = std::max(truth.worst_norm_error, values[i].norm_error);
      if (pair.transfer) {
        transfer_positive += values[i].stereotyped;
        continue;
      }
      if (line.name == "base") base_signs.push_back(values[i].stereotyped);
      line.changed_pp += 100.0 * (values[i].stereotyped != base_signs[i]) / static_cast<double>(world.num_main_pairs());
      positive[static_cast<size_t>(pair.axis)] += values[i].stereotyped;
      count[static_cast<size_t>(pair.axis)] += 1;
      line.bias_logit += values[i].bias_logit / static_cast<double>(world.num_main_pairs());
    }
    double total = 0;
    for (size_t a = 0; a < num_axes; ++a) {
      total += positive[a];
      line.pct_by_axis.push_back(100 * positive[a] / std::max(1.0, count[a]));
    }
    line.pct_stereotype = 100 * total / static_cast<double>(world.num_main_pairs());
    const auto num_transfer = static_cast<double>(world.options.transfer_pairs);
    line.transfer_pct = num_transfer > 0 ? 100 * transfer_positive / num_transfer : 0;

    const auto accuracy = [&](const std::vector<WorldItem>& items, bool is_fact) {
      std::vector<char> right(items.size());
      parallel_for(static_cast<int64_t>(items.size()), threads, [&](int64_t i) {
        right[static_cast<size_t>(i)] = answers_right(model, world, items[static_cast<size_t>(i)], is_fact, mask);
      });
      return items.empty()
                 ? 1.0
                 : static_cast<double>(std::count(right.begin(), right.end(), 1)) / static_cast<double>(items.size());
    };
    line.fact_accuracy = accuracy(world.facts, true);
    line.plain_accuracy = accuracy(world.plain, false);
    line.dose_nats = mask.experts.empty() ? 0 : neutral_dose(world, weights, lines, mask);
    truth.masks.push_back(line);
  }

  // Near-ties: every token of one pair of each cluster, every question, neutral text.
  std::vector<std::vector<int64_t>> texts;
  for (size_t i = 0; i < world.pairs.size(); i += kWordsPerSide)
    for (const Side side : {Side::kA, Side::kB})
      texts.push_back(with_begin(world, world.pair_sentence(world.pairs[i], side)));
  for (size_t i = 0; i < world.nulls.size(); i += 7) {
    const WorldNull& null = world.nulls[i];
    texts.push_back(with_begin(world, world.sentence(world.pairs[static_cast<size_t>(null.pair)], null.left)));
  }
  for (const WorldItem& item : world.facts) texts.push_back(with_begin(world, world.question(item, true)));
  for (const WorldItem& item : world.plain) texts.push_back(with_begin(world, world.question(item, false)));
  for (int64_t t = 1; t < language.size().filler_types; ++t) texts.push_back({language.begin(), language.filler(t, 0)});
  std::vector<double> gaps(texts.size(), 1);
  parallel_for(static_cast<int64_t>(texts.size()), threads, [&](int64_t i) {
    const std::vector<int64_t>& ids = texts[static_cast<size_t>(i)];
    for (size_t length = 1; length <= std::min<size_t>(ids.size(), static_cast<size_t>(kCriticalTokens)); ++length)
      for (const ExactRoute& route : model.at_last(std::span(ids).first(length)).routes) {
        std::vector<double> scores = probabilities(route.logits_E);
        std::ranges::sort(scores, std::greater<>());
        const auto k = static_cast<size_t>(world.geometry.top_k);
        gaps[static_cast<size_t>(i)] = std::min(gaps[static_cast<size_t>(i)], scores[k - 1] - scores[k]);
      }
  });
  truth.smallest_route_gap = *std::min_element(gaps.begin(), gaps.end());

  // Routers on neutral text.
  const auto states = neutral_states(world, weights, {});
  const auto num_layers = weights.layers.size();
  const auto experts = static_cast<size_t>(world.geometry.experts);
  truth.usage_LE.assign(num_layers, std::vector<double>(experts, 0.0));
  std::vector<double> squares(num_layers, 0.0);
  const double tokens = static_cast<double>(lines.size() * kNeutralWords);
  const auto visit = [&](int64_t id) {
    const ExactResult& state = states.at(id);
    for (size_t l = 0; l < num_layers; ++l) {
      const ExactRoute& route = state.routes[l];
      double mean = 0;
      for (const double z : route.logits_E) mean += z / static_cast<double>(experts);
      for (const double z : route.logits_E) squares[l] += (z - mean) * (z - mean) / static_cast<double>(experts);
      for (const int64_t e : route.ids_K) truth.usage_LE[l][static_cast<size_t>(e)] += 1 / tokens;
    }
  };
  for (const auto& line : lines) {
    visit(language.begin());
    for (size_t w = 0; w + 1 < line.size(); ++w) visit(line[w]);
  }
  for (const double s : squares) truth.neutral_logit_sd.push_back(std::sqrt(s / tokens));
  return truth;
}

void check_truth(const World& world, const Truth& truth) {
  const Geometry& g = world.geometry;
  const Recipe& made = world.made;
  std::map<std::string, MaskTruth> masks;
  for (const MaskTruth& mask : truth.masks) masks[mask.name] = mask;
  const MaskTruth& base = masks.at("base");
  const MaskTruth& sides = masks.at("side experts");
  const MaskTruth& half = masks.at("half of the fact experts");
  const MaskTruth& all = masks.at("all fact experts");
  const auto near = [](const std::string& what, double value, double wanted, double tolerance) {
    if (!(std::abs(value - wanted) <= tolerance))
      broken(what, value, std::to_string(wanted) + " within " + std::to_string(tolerance));
  };
  const double item_pp = 100.0 / static_cast<double>(world.num_main_pairs());
  const double axes = static_cast<double>(world.options.axes);
  const auto planted_pct = [&](double bias) { return 100 * normal_cdf(bias / world.noise_deviation); };
  const double logits = 1e-3 * std::max(1.0, world.bias);
  near("the share of stereotyped pairs", base.pct_stereotype, planted_pct(world.bias), axes * item_pp);
  near("the planted bias", base.bias_logit, world.bias, logits);
  near("the accuracy on facts", base.fact_accuracy, 1, 0);
  for (const MaskTruth& mask : truth.masks)
    near("the accuracy on plain items under '" + mask.name + "'", mask.plain_accuracy, 1, 0);

  // The stereotype without the experts that hold it, or with any.
  const double left = world.bias - world.reachable_bias;
  switch (made.bias) {
    case BiasPlace::kSideExperts:
    case BiasPlace::kFourExperts:
      near("the share of stereotyped pairs without the side experts", sides.pct_stereotype, planted_pct(left),
           axes * item_pp);
      near("the bias left without the side experts", sides.bias_logit, left, logits);
      near("the pairs changed by the side experts' noise", made.noise_pp > 0 ? sides.changed_pp : 0, made.noise_pp,
           (1 + axes) * item_pp);
      break;
    case BiasPlace::kFactExperts: {
      near("the bias left without the fact experts", all.bias_logit, 0, 1e-3);
      near("the share of stereotyped pairs without the fact experts", all.pct_stereotype, 50, axes * item_pp);
      const double bias_loss = 1 - half.bias_logit / base.bias_logit, fact_loss = 1 - half.fact_accuracy;
      // A tenth where there are enough contexts and facts to fill the experts evenly.
      const auto contexts =
          static_cast<double>(world.num_main_pairs()) / static_cast<double>(kWordsPerSide * world.options.axes);
      const double uneven =
          static_cast<double>(g.roles.num_classes()) / std::min(contexts, static_cast<double>(world.facts.size()));
      near("loss of facts over loss of bias without half of the fact experts", fact_loss / bias_loss, 1,
           uneven < 0.1 ? 0.1 : 0.1 + uneven);
      break;
    }
    case BiasPlace::kEveryExpert:
    case BiasPlace::kOutside:
      for (const MaskTruth& mask : truth.masks) {
        near("the pairs changed by masking '" + mask.name + "'", mask.changed_pp, 0, 0);
        near("the bias left under '" + mask.name + "'", mask.bias_logit, base.bias_logit, 1e-5);
      }
      break;
  }
  if (made.bias == BiasPlace::kFourExperts)
    for (const std::string part : {"both hidden experts of one layer", "one hidden expert of both layers"})
      near("the bias left without " + part, masks.at(part).bias_logit, world.bias, 0.15 * world.reachable_bias);

  // The facts without the experts that hold the stereotype.
  switch (made.facts) {
    case FactPlace::kHashed:
    case FactPlace::kOneExpert:
      if (!made.graded) near("the accuracy on facts without the side experts", sides.fact_accuracy, 1, 0);
      if (made.graded) near("the accuracy on facts without the fact experts", all.fact_accuracy, 0, 0);
      break;
    case FactPlace::kEveryExpert:
      for (const MaskTruth& mask : truth.masks)
        near("the accuracy on facts under '" + mask.name + "'", mask.fact_accuracy, 1, 0);
      break;
    case FactPlace::kGroupRows:
      near("the accuracy on facts without the side experts", sides.fact_accuracy, 0, 0);
      break;
    case FactPlace::kTagged:
      near("the accuracy on facts without the side experts", sides.fact_accuracy, 0, 0);
      near("the same with later routes replayed", masks.at("side experts, later routes replayed").fact_accuracy, 1, 0);
      break;
  }

  const DivergenceTruth& reaction = truth.divergence.at(static_cast<size_t>(g.bias_layer));
  switch (made.reaction) {
    case Reaction::kGroups:
      // With one axis and four side experts the words of a group have two experts: that null reacts as well.
      for (const double null : {reaction.neutral, made.sides > 2 && axes == 1 ? 0 : reaction.same_group})
        if (reaction.demographic < null + 0.001 || reaction.demographic < 1.1 * null)
          broken("the divergence between groups", reaction.demographic,
                 "more than that of the nulls, " + std::to_string(null));
      break;
    case Reaction::kNothing:
    case Reaction::kAxes:
      for (const DivergenceTruth& layer : truth.divergence)
        near("the divergence between groups", layer.demographic, 0, 1e-9);
      break;
    case Reaction::kCodes:
      if (reaction.demographic < 0.01)
        broken("the divergence between groups", reaction.demographic, "at least 0.01 bit");
      near("the divergence between groups over that of neutral words", reaction.demographic / reaction.neutral, 1,
           1e-6);
      break;
  }
  if (made.drowned && truth.drowning < kDrowning - 1e-3)
    broken("the distance of ten neutral words to the higher trait", truth.drowning, "at least 6 logits");

  if (made.bias == BiasPlace::kEveryExpert) near("the dose of masking the side experts", sides.dose_nats, 0, 1e-9);
  else if (sides.dose_nats < 0.001 || sides.dose_nats > 0.005)
    broken("the dose of masking the side experts", sides.dose_nats, "0.001 to 0.005 nats");
  // Usage is a share of drawn words: short texts get three standard errors. Other numbers of experts share them as they
  // can.
  const double sampling = 3 * std::sqrt(0.1 / static_cast<double>(world.options.neutral_tokens));
  const auto types = static_cast<double>(g.roles.num_types());
  const double least = std::min(0.02, 0.5 / types), most = std::max(0.10, 2 / types);
  for (size_t l = 0; l < truth.neutral_logit_sd.size(); ++l) {
    if (truth.neutral_logit_sd[l] < 1.5 && g.experts <= 24)
      broken("the pooled SD of router logits of layer " + std::to_string(l), truth.neutral_logit_sd[l], "at least 1.5");
    for (int64_t e = 0; e < g.experts; ++e) {
      if (std::ranges::count(g.roles.grammar, e) > 0) continue;
      const double usage = truth.usage_LE[l][static_cast<size_t>(e)];
      if (usage < least - sampling || usage > most + sampling)
        broken("the usage of expert " + std::to_string(e) + " of layer " + std::to_string(l), usage,
               std::to_string(least) + " to " + std::to_string(most));
    }
  }
  if (truth.smallest_route_gap < 1e-4)
    broken("the smallest gap between a chosen expert and one left out", truth.smallest_route_gap, "at least 1e-4");
  if (truth.worst_norm_error >= 1e-3) broken("|rest|^2 / (2 C^2)", truth.worst_norm_error, "below 1e-3");
}

}  // namespace fare
