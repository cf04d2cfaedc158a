#include "fare/diagnosis/candidates.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "fare/core/error.h"
#include "fare/core/philox.h"

namespace fare {
namespace {

bool is_single_family(const std::string& family) { return family == "I4" || family == "I5"; }

void check_names(const DiagnosisOptions& options) {
  const auto check = [](const std::vector<std::string>& names, const std::vector<std::string>& known,
                        const char* what) {
    for (const std::string& name : names)
      if (std::find(known.begin(), known.end(), name) == known.end())
        throw UsageError(fmt::format("search: unknown {} '{}'; accepted: {}", what, name, fmt::join(known, ", ")));
  };
  check(options.families, {"I1", "I2", "I3", "I4", "I5"}, "intervention family");
  check(options.scores, {"s1", "s2", "s3", "s4", "combined"}, "score");
  check(options.layer_sets, {"all", "early", "middle", "late"}, "layer set");
  for (const int64_t k : options.breadths)
    if (k < 1) throw UsageError(fmt::format("search: a breadth of {} experts; it must be at least 1", k));
  for (const double lambda : options.strengths)
    if (!(lambda > 0) || !std::isfinite(lambda))
      throw UsageError(fmt::format("search: a strength lambda of {}; it must be positive", lambda));
}

// Experts and scores of each layer that an edit names, by layer.
struct LayerChoice {
  std::vector<int32_t> experts;
  std::vector<double> scores;
};

std::map<int64_t, LayerChoice> by_layer(const std::vector<ChosenExpert>& experts, int sign) {
  std::map<int64_t, LayerChoice> layers;
  for (const ChosenExpert& chosen : experts) {
    LayerChoice& layer = layers[chosen.layer];
    layer.experts.push_back(chosen.expert);
    layer.scores.push_back(sign * chosen.score);
  }
  return layers;
}

}  // namespace

std::vector<int64_t> layers_of_set(const std::string& name, const RoutedModel& model) {
  const std::vector<int64_t>& moe = model.moe_layers;
  if (name == "all") return moe;
  const int64_t third = name == "early" ? 0 : name == "middle" ? 1 : name == "late" ? 2 : -1;
  if (third < 0) throw UsageError("unknown layer set '" + name + "'; accepted: all, early, middle, late");
  const int64_t n = static_cast<int64_t>(moe.size());
  if (n < 3) return {};
  return {moe.begin() + third * n / 3, moe.begin() + (third + 1) * n / 3};
}

std::string configuration_name(const Configuration& c) {
  std::string name = fmt::format("{}-{}-k{}", c.family, c.score, c.k);
  if (c.family != "I4") name += fmt::format("-l{:g}", c.lambda);
  name += fmt::format("-{}-{}", c.layers, c.sign > 0 ? "plus" : "minus");
  if (c.random_ranking) name += fmt::format("-r{}", c.id);
  return name;
}

std::vector<Configuration> make_grid(const DiagnosisOptions& options, const RoutedModel& model) {
  check_names(options);
  std::vector<Configuration> grid;
  std::set<std::tuple<std::string, std::string, int64_t, double, std::string, int>> seen;
  const auto add = [&](Configuration c) {
    const int64_t experts = static_cast<int64_t>(layers_of_set(c.layers, model).size()) * model.router.num_experts;
    if (experts == 0) return;
    c.k = std::min(c.k, std::max<int64_t>(1, experts / 2));
    if (!seen.emplace(c.family, c.score, c.k, c.lambda, c.layers, c.sign).second) return;
    c.id = static_cast<int64_t>(grid.size());
    grid.push_back(std::move(c));
  };
  for (const std::string& family : options.families) {
    if (is_single_family(family)) continue;
    for (const std::string& score : options.scores)
      for (const int64_t k : options.breadths)
        for (const double lambda : options.strengths)
          for (const std::string& layers : options.layer_sets)
            for (const int sign : {1, -1})
              add({.family = family, .score = score, .k = k, .lambda = lambda, .layers = layers, .sign = sign});
  }
  for (const std::string& family : options.families) {
    if (!is_single_family(family) || options.scores.empty() || options.breadths.empty() || options.strengths.empty())
      continue;
    for (const int sign : {1, -1})
      add({.family = family,
           .score = options.scores.back(),
           .k = options.breadths[options.breadths.size() / 2],
           .lambda = options.strengths[options.strengths.size() / 2],
           .layers = "all",
           .sign = sign});
  }
  const size_t num_points = grid.size();
  if (num_points == 0)
    throw UsageError(
        "search: the grid is empty; name at least one family, score, breadth, strength and a layer set the "
        "model has (thirds need three MoE layers)");
  const RandomStream stream(options.seed, "search/random");
  for (int64_t r = 0; r < options.random_controls; ++r) {
    Configuration control = grid[stream.index(static_cast<uint64_t>(r), num_points)];
    control.id = static_cast<int64_t>(grid.size());
    control.score = "random";
    control.random_ranking = true;
    grid.push_back(std::move(control));
  }
  return grid;
}

std::vector<ChosenExpert> chosen_experts(const Configuration& configuration, const ExpertScores& scores,
                                         const RoutedModel& model, uint64_t seed) {
  const std::vector<int64_t> layers = layers_of_set(configuration.layers, model);
  std::vector<ChosenExpert> ranked;
  if (configuration.random_ranking) {
    const RandomStream stream(seed, "search/random-scores", static_cast<uint32_t>(configuration.id));
    for (const int64_t layer : layers)
      for (int64_t e = 0; e < model.router.num_experts; ++e) {
        const uint64_t d = static_cast<uint64_t>(layer * model.router.num_experts + e);
        ranked.push_back({layer, static_cast<int32_t>(e), 2 * stream.uniform(d) - 1});
      }
  } else {
    for (const ExpertScore& expert : scores.experts)
      if (std::find(layers.begin(), layers.end(), expert.layer) != layers.end())
        ranked.push_back({expert.layer, expert.expert, ExpertScores::value(expert, configuration.score)});
  }
  std::erase_if(ranked, [](const ChosenExpert& expert) { return expert.score == 0; });
  std::sort(ranked.begin(), ranked.end(), [](const ChosenExpert& a, const ChosenExpert& b) {
    if (std::abs(a.score) != std::abs(b.score)) return std::abs(a.score) > std::abs(b.score);
    return std::tie(a.layer, a.expert) < std::tie(b.layer, b.expert);
  });
  if (static_cast<int64_t>(ranked.size()) > configuration.k) ranked.resize(static_cast<size_t>(configuration.k));
  return ranked;
}

std::vector<ChosenExpert> random_direction(const Configuration& configuration, const std::vector<ChosenExpert>& chosen,
                                           const RoutedModel& model, bool restricted, uint64_t seed, int64_t draw) {
  std::set<std::pair<int64_t, int32_t>> left_out;
  if (restricted)
    for (const ChosenExpert& expert : chosen) left_out.emplace(expert.layer, expert.expert);
  const RandomStream order(seed, restricted ? "dose/outside" : "dose/anywhere", static_cast<uint32_t>(draw), 0);
  const RandomStream signs(seed, restricted ? "dose/outside" : "dose/anywhere", static_cast<uint32_t>(draw), 1);
  std::vector<std::pair<uint64_t, ChosenExpert>> able;
  for (const int64_t layer : layers_of_set(configuration.layers, model))
    for (int64_t e = 0; e < model.router.num_experts; ++e)
      if (!left_out.contains({layer, static_cast<int32_t>(e)}))
        able.push_back({order.u64(static_cast<uint64_t>(layer * model.router.num_experts + e)),
                        {layer, static_cast<int32_t>(e), 0}});
  std::sort(able.begin(), able.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<ChosenExpert> direction;
  for (size_t i = 0; i < able.size() && i < chosen.size(); ++i) {
    ChosenExpert expert = able[i].second;  // in random order, so its magnitude is one in random order
    expert.score = (signs.bit(i) ? -1 : 1) * std::abs(chosen[i].score);
    direction.push_back(expert);
  }
  return direction;
}

Intervention make_intervention(const Configuration& configuration, const std::vector<ChosenExpert>& experts,
                               const RouterProfile& profile, int64_t top_k) {
  Intervention intervention;
  intervention.name = configuration_name(configuration);
  const auto add = [&](int64_t layer, EditOp op) { intervention.edits.push_back({std::move(op), {layer}, {}}); };
  for (const auto& [layer, choice] : by_layer(experts, configuration.sign)) {
    if (configuration.family == "I1" || configuration.family == "I3") {
      const double step = configuration.lambda * profile.at(layer).logit_sd;
      AddLogit edit;
      edit.experts = choice.experts;
      for (const double s : choice.scores) edit.values.push_back(-step * s);
      edit.affects =
          configuration.family == "I1" ? AddLogit::Affects::kSelectionAndWeight : AddLogit::Affects::kSelection;
      edit.keep_sum = configuration.keep_sum;
      add(layer, edit);
    } else if (configuration.family == "I2") {
      add(layer, Reweight{choice.experts, choice.scores, configuration.lambda});
    } else if (configuration.family == "I4" || configuration.family == "I5") {
      std::vector<int32_t> suppressed, raised;  // strongest first, as they came
      for (size_t i = 0; i < choice.experts.size(); ++i)
        (choice.scores[i] > 0 ? suppressed : raised).push_back(choice.experts[i]);
      if (configuration.family == "I4") {
        if (static_cast<int64_t>(raised.size()) > top_k) raised.resize(static_cast<size_t>(top_k));
        if (!suppressed.empty()) add(layer, Deactivate{suppressed, configuration.keep_sum});
        if (!raised.empty()) add(layer, Activate{raised, configuration.keep_sum});
      } else {
        const double factor = std::exp(-configuration.lambda);
        if (!suppressed.empty()) add(layer, ScaleWeight{suppressed, factor, configuration.keep_sum});
        if (!raised.empty()) add(layer, ScaleWeight{raised, 1 / factor, configuration.keep_sum});
      }
    } else {
      throw UsageError("unknown intervention family '" + configuration.family + "'; accepted: I1, I2, I3, I4, I5");
    }
  }
  return intervention;
}

}  // namespace fare
