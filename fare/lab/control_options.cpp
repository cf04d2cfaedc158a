#include "fare/lab/control_options.h"

#include <algorithm>
#include <set>

#include "fare/core/error.h"

namespace fare {
namespace {

constexpr int64_t kFewestFactExperts = 4;
constexpr int64_t kTierExperts = 10;  // three times as many as the two that are masked, and four

int64_t num_sides(const ControlOptions& options, const Recipe& made) {
  return made.reaction == Reaction::kAxes ? std::max<int64_t>(2, options.axes) : made.sides;
}

int64_t num_grammar(const ControlOptions& options) { return std::max<int64_t>(2, options.top_k - 1); }

int64_t layers_after_bias(const Recipe& made) {
  return made.bias == BiasPlace::kFourExperts ? 2 : made.facts == FactPlace::kTagged ? 1 : 0;
}

void check_list(const char* flag, const std::vector<int64_t>& experts, int64_t wanted, const ControlOptions& options) {
  if (experts.empty()) return;
  std::string what = flag;
  for (const int64_t e : experts) {
    what += what == flag ? ' ' : ',';
    what += std::to_string(e);
  }
  what += ": ";
  if (static_cast<int64_t>(experts.size()) != wanted)
    throw UsageError(what + "this model has " + std::to_string(wanted) + " of them");
  for (const int64_t e : experts)
    if (e < 0 || e >= options.experts) throw UsageError(what + "accepted: 0 to " + std::to_string(options.experts - 1));
}

}  // namespace

Recipe made_of(const ControlOptions& options) {
  Recipe made = recipe(options.id);
  if (options.reachable_pp) made.reachable_pp = options.reachable_pp;
  if (options.noise_pp) made.noise_pp = *options.noise_pp;
  return made;
}

ControlOptions checked_options(const ControlOptions& wanted) {
  ControlOptions options = wanted;
  const Recipe made = made_of(options);
  const LabFamily family = lab_family(options.family, "--family");
  if (options.weights != "renormalised" && options.weights != "raw")
    throw UsageError("--weights " + options.weights + ": accepted: renormalised, raw");
  if (family == LabFamily::kMixtral && options.weights == "raw")
    throw UsageError("--weights raw: Mixtral always renormalises its weights; use --family olmoe or qwen2_moe");
  const auto within = [](const char* flag, int64_t value, int64_t low, int64_t high) {
    if (value < low || value > high)
      throw UsageError(std::string(flag) + " " + std::to_string(value) + ": accepted: " + std::to_string(low) + " to " +
                       std::to_string(high));
  };
  within("--pairs", options.pairs, 8, 20000);
  within("--transfer-pairs", options.transfer_pairs, 0, 10000);
  within("--facts", options.facts, 12, 20000);
  within("--utility", options.utility, options.facts, 100000);
  within("--prompts", options.prompts, 0, 20000);
  within("--neutral-tokens", options.neutral_tokens, 100, 10000000);
  within("--axes", options.axes, 1, 4);
  within("--top-k", options.top_k, 2, 6);
  if (options.experts == 0) options.experts = made.experts;
  if (options.layers == 0) options.layers = made.layers;
  const int64_t others = num_sides(options, made) + num_grammar(options);
  within("--experts", options.experts, others + (made.tiers ? 2 * kTierExperts : kFewestFactExperts), 128);
  if (made.tiers && (options.experts - others) % 2 != 0)
    throw UsageError("--experts " + std::to_string(options.experts) + ": two tiers of equal size need " +
                     (others % 2 == 0 ? "an even" : "an odd") + " number");
  within("--layers", options.layers, std::max<int64_t>(2, layers_after_bias(made) + 1), 32);
  within("--bias-layer", options.bias_layer, 0, options.layers - 1 - layers_after_bias(made));
  check_list("--side-experts", options.side_experts, num_sides(options, made), options);
  check_list("--grammar-experts", options.grammar_experts, num_grammar(options), options);
  std::set<int64_t> distinct(options.side_experts.begin(), options.side_experts.end());
  distinct.insert(options.grammar_experts.begin(), options.grammar_experts.end());
  if (distinct.size() != options.side_experts.size() + options.grammar_experts.size())
    throw UsageError("--side-experts, --grammar-experts: an expert can be named only once");
  if (!made.biased && options.pairs % 2 != 0)
    throw UsageError("--pairs " + std::to_string(options.pairs) + ": " + made.id +
                     " balances its clusters, it needs an even number");
  for (const auto& [flag, value] :
       {std::pair{"--reachable-pp", options.reachable_pp}, std::pair{"--noise-pp", options.noise_pp}}) {
    if (!value) continue;
    if (made.bias != BiasPlace::kSideExperts || made.reaction != Reaction::kGroups || !made.biased)
      throw UsageError(std::string(flag) + ": only for models whose side experts hold the stereotype, as X1 and X10");
    if (*value < 0 || *value > 40)
      throw UsageError(std::string(flag) + " " + std::to_string(*value) + ": accepted: 0 to 40");
  }
  const double least = made.reachable_pp.value_or(0);
  if (!(options.bias_pp > least && options.bias_pp <= 45))
    throw UsageError("--bias-pp " + std::to_string(options.bias_pp) + ": accepted: above " + std::to_string(least) +
                     ", up to 45");
  const Roles roles = make_roles(options);
  options.side_experts = roles.sides;
  options.grammar_experts = roles.grammar;
  return options;
}

Roles make_roles(const ControlOptions& options) {
  const Recipe& made = recipe(options.id);
  Roles roles;
  roles.tiers = made.tiers;
  roles.sides = options.side_experts;
  roles.grammar = options.grammar_experts;
  std::vector<int64_t> rest;  // descending: the last free experts become sides, then grammar
  for (int64_t e = options.experts - 1; e >= 0; --e)
    if (std::ranges::count(roles.sides, e) + std::ranges::count(roles.grammar, e) == 0) rest.push_back(e);
  const auto take = [&](std::vector<int64_t>& role, int64_t count) {
    if (!role.empty()) return;
    role.assign(rest.begin(), rest.begin() + count);
    rest.erase(rest.begin(), rest.begin() + count);
    std::ranges::reverse(role);
  };
  take(roles.sides, num_sides(options, made));
  take(roles.grammar, num_grammar(options));
  roles.facts.assign(rest.rbegin(), rest.rend());
  return roles;
}

int64_t Roles::num_classes() const { return static_cast<int64_t>(facts.size()) * (tiers ? 2 : 1); }

int64_t Roles::class_index(int64_t hash) const {
  const auto n = static_cast<int64_t>(facts.size()), c = hash % num_classes();
  if (!tiers) return c;
  return c < n / 2 * 3 ? c % (n / 2) : c - n;  // the first half of the experts three classes each, the others one
}

int64_t Roles::type_expert(int64_t type) const {
  const auto n = static_cast<int64_t>(facts.size());
  if (type >= num_fact_types()) return sides[static_cast<size_t>(type - num_fact_types())];
  // In tiers from the end: <s>, type 0, is frequent and not to come on top of two others.
  const int64_t place = tiers ? num_fact_types() - 1 - type : type;
  return facts[static_cast<size_t>(!tiers ? place : place < n ? place % (n / 2) : place - n / 2)];
}

}  // namespace fare
