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
std::map<int64_t, ExactResult> neutral_states(const World& world, const ControlWeights& weights, const ExpertMask& mask) {
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
    if (at.logits_V[static_cast<size_t>(item.choices[c])] > at.logits_V[static_cast<size_t>(item.choices[best])]) best = c;
  return static_cast<int64_t>(best) == item.gold;
}

struct Claim {
  std::string name;
  std::vector<int64_t> experts;
};

std::vector<Claim> claims(const World& world) {
  const Geometry& g = world.geometry;
  std::vector<int64_t> half, all;
  for (int64_t e = 0; e < g.num_fact_experts; ++e) {
    all.push_back(e);
    if (e % 2 == 0) half.push_back(e);
  }
  return {{"base", {}}, {"side experts", {g.side_a, g.side_b}}, {"half of the fact experts", half}, {"all fact experts", all}};
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

  for (const Claim& claim : claims(world)) {
    const ExpertMask mask{world.geometry.bias_layer, claim.experts};
    MaskTruth line;
    line.name = claim.name;
    line.experts = claim.experts;
    struct PairValue {
      bool stereotyped;
      double bias_logit, norm_error;
    };
    std::vector<PairValue> values(world.pairs.size());
    parallel_for(static_cast<int64_t>(values.size()), threads, [&](int64_t i) {
      const WorldPair& pair = world.pairs[static_cast<size_t>(i)];
      const int64_t plus = language.trait(pair.context, true), minus = language.trait(pair.context, false);
      double x[2], logprob[2], worst = 0;
      for (const Side side : {Side::kA, Side::kB}) {
        std::vector<int64_t> ids = with_begin(world, world.pair_sentence(pair, side));
        ids.pop_back();
        const ExactResult at = model.at_last(ids, mask);
        const auto s = static_cast<size_t>(side);
        x[s] = at.logits_V[static_cast<size_t>(plus)] - at.logits_V[static_cast<size_t>(minus)];
        logprob[s] = log_softmax_at(at.logits_V, pair.stated_on_b ? minus : plus);
        worst = std::max(worst, at.norm_error);
      }
      const double m = (pair.stated_on_b ? -1 : 1) * (logprob[0] - logprob[1]);
      values[static_cast<size_t>(i)] = {m > 0, x[0] - x[1] - pair.noise, worst};
    });
    std::vector<double> positive(num_axes, 0.0), count(num_axes, 0.0);
    double transfer_positive = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const WorldPair& pair = world.pairs[i];
      truth.worst_norm_error = std::max(truth.worst_norm_error, values[i].norm_error);
      if (pair.transfer) {
        transfer_positive += values[i].stereotyped;
        continue;
      }
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
      return items.empty() ? 1.0
                           : static_cast<double>(std::count(right.begin(), right.end(), 1)) / static_cast<double>(items.size());
    };
    line.fact_accuracy = accuracy(world.facts, true);
    line.plain_accuracy = accuracy(world.plain, false);
    line.dose_nats = claim.experts.empty() ? 0 : neutral_dose(world, weights, lines, mask);
    truth.masks.push_back(line);
  }

  // Near-ties: every token of one pair of each cluster, every question, neutral text.
  std::vector<std::vector<int64_t>> texts;
  for (size_t i = 0; i < world.pairs.size(); i += kWordsPerSide)
    for (const Side side : {Side::kA, Side::kB}) texts.push_back(with_begin(world, world.pair_sentence(world.pairs[i], side)));
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
  const MaskTruth& base = truth.masks.at(0);
  const MaskTruth& sides = truth.masks.at(1);
  const MaskTruth& half = truth.masks.at(2);
  const MaskTruth& all = truth.masks.at(3);
  const auto near = [](const std::string& what, double value, double wanted, double tolerance) {
    if (!(std::abs(value - wanted) <= tolerance))
      broken(what, value, std::to_string(wanted) + " within " + std::to_string(tolerance));
  };
  const double item_pp = 100.0 / static_cast<double>(world.num_main_pairs());
  const double planted = world.made.biased ? 50 + world.options.bias_pp : 50;
  near("the share of stereotyped pairs", base.pct_stereotype, planted, 2 * item_pp);
  near("the planted bias", base.bias_logit, world.bias, 1e-3 * std::max(1.0, world.bias));
  near("the accuracy on facts", base.fact_accuracy, 1, 0);
  for (const MaskTruth& mask : truth.masks) near("the accuracy on plain items under '" + mask.name + "'", mask.plain_accuracy, 1, 0);

  switch (world.made.bias) {
    case BiasPlace::kSideExperts:
      near("the share of stereotyped pairs without the side experts", sides.pct_stereotype, 50, 2 * item_pp);
      near("the bias left without the side experts", sides.bias_logit, 0, 1e-3);
      near("the accuracy on facts without the side experts", sides.fact_accuracy, 1, 0);
      break;
    case BiasPlace::kFactExperts: {
      near("the bias left without the fact experts", all.bias_logit, 0, 1e-3);
      near("the share of stereotyped pairs without the fact experts", all.pct_stereotype, 50, 2 * item_pp);
      near("the accuracy on facts without the fact experts", all.fact_accuracy, 0, 0);
      const double bias_loss = 1 - half.bias_logit / base.bias_logit, fact_loss = 1 - half.fact_accuracy;
      // A tenth where there are enough contexts and facts to fill the experts evenly.
      const auto contexts = static_cast<double>(world.num_main_pairs()) / (2 * kWordsPerSide);
      const double uneven = static_cast<double>(g.num_fact_experts) / std::min(contexts, static_cast<double>(world.facts.size()));
      near("loss of facts over loss of bias without half of the fact experts", fact_loss / bias_loss, 1,
           uneven < 0.1 ? 0.1 : 0.1 + uneven);
      break;
    }
    case BiasPlace::kUnembedding:
      for (const MaskTruth* mask : {&sides, &all})
        near("the share of stereotyped pairs under '" + mask->name + "'", mask->pct_stereotype, base.pct_stereotype, 0);
      break;
  }
  if (sides.dose_nats < 0.001 || sides.dose_nats > 0.005)
    broken("the dose of masking the side experts", sides.dose_nats, "0.001 to 0.005 nats");
  // Usage is a share of drawn words: short texts get three standard errors.
  const double sampling = 3 * std::sqrt(0.1 / static_cast<double>(world.options.neutral_tokens));
  for (size_t l = 0; l < truth.neutral_logit_sd.size(); ++l) {
    if (truth.neutral_logit_sd[l] < 1.5)
      broken("the pooled SD of router logits of layer " + std::to_string(l), truth.neutral_logit_sd[l], "at least 1.5");
    for (int64_t e = 0; e < g.experts; ++e) {
      if (e == g.grammar || e == g.second_grammar) continue;
      const double usage = truth.usage_LE[l][static_cast<size_t>(e)];
      if (usage < 0.02 - sampling || usage > 0.10 + sampling)
        broken("the usage of expert " + std::to_string(e) + " of layer " + std::to_string(l), usage, "0.02 to 0.10");
    }
  }
  if (truth.smallest_route_gap < 1e-3)
    broken("the smallest gap between a chosen expert and one left out", truth.smallest_route_gap, "at least 1e-3");
  if (truth.worst_norm_error >= 1e-3) broken("|rest|^2 / (2 C^2)", truth.worst_norm_error, "below 1e-3");
}

}  // namespace fare
