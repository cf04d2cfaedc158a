// Replays as rows of the store: one of each task, whole.
#include "fare/core/sha256.h"
#include "fare/diagnosis/replay.h"

namespace fare {
namespace {

// Everything that a task's result depends on beside the model.
std::string name_of(const Study& study, const Items& items, const ReplayTask& task, const ReplayOptions& options) {
  Json group = Json::array();
  for (const RoutedExpert& expert : task.group) group.push_back({expert.layer, expert.expert});
  Json about = {{"group", group},
                {"seed", options.seed},
                {"neutral_tokens", options.neutral_tokens},
                {"demographic_tokens", options.demographic_tokens},
                {"items", Json::array()}};
  for (const int64_t i : items.pairs) about["items"].push_back(study.pairs[static_cast<size_t>(i)].item);
  for (const int64_t i : items.utility) about["items"].push_back(study.utility[static_cast<size_t>(i)].key);
  constexpr const char* kKinds[] = {"refill", "mean", "resample", "conditional"};
  return std::string(kKinds[static_cast<size_t>(task.kind)]) + "/" + sha256_hex(about.dump());
}

Json result_json(const ReplayResult& result) {
  Json json = {{"total", outcomes_json(result.total)}, {"later", Json::array()}};
  if (result.direct) json["direct"] = outcomes_json(*result.direct);
  if (result.routing_only) json["routing_only"] = outcomes_json(*result.routing_only);
  for (const RoutingChange& c : result.later)
    json["later"].push_back(
        {c.layer, c.js_bits, c.set_distance, c.changed_share, c.load_entropy_base, c.load_entropy_masked});
  return json;
}

ReplayResult result_from(const Json& json) {
  ReplayResult result;
  result.total = outcomes_from(json.at("total"));
  if (json.contains("direct")) result.direct = outcomes_from(json.at("direct"));
  if (json.contains("routing_only")) result.routing_only = outcomes_from(json.at("routing_only"));
  for (const Json& c : json.at("later")) result.later.push_back({c.at(0), c.at(1), c.at(2), c.at(3), c.at(4), c.at(5)});
  return result;
}

std::vector<ReplayTask> some_of(std::span<const ReplayTask> tasks, std::span<const size_t> which) {
  std::vector<ReplayTask> some;
  for (const size_t i : which) some.push_back(tasks[i]);
  return some;
}

}  // namespace

Json outcomes_json(const Outcomes& outcomes) {
  Json json = {{"pairs", Json::array()}, {"utility", Json::array()}};
  for (const Margins& pair : outcomes.pairs)
    json["pairs"].push_back({pair.sum, pair.mean, pair.shared ? Json(*pair.shared) : Json(nullptr)});
  for (const UtilityOutcome& item : outcomes.utility) json["utility"].push_back({item.correct, item.margin});
  return json;
}

Outcomes outcomes_from(const Json& json) {
  Outcomes outcomes;
  for (const Json& pair : json.at("pairs")) {
    Margins margins{pair.at(0), pair.at(1), std::nullopt};
    if (!pair.at(2).is_null()) margins.shared = pair.at(2).get<double>();
    outcomes.pairs.push_back(margins);
  }
  for (const Json& item : json.at("utility")) outcomes.utility.push_back({item.at(0), item.at(1)});
  return outcomes;
}

std::vector<ReplayResult> replay(Measurer& measurer, const Items& items, std::span<const ReplayTask> tasks,
                                 const ReplayOptions& options) {
  std::vector<std::string> names;
  std::vector<double> costs;  // passes of the items
  for (const ReplayTask& task : tasks) {
    names.push_back(name_of(measurer.study(), items, task, options));
    costs.push_back(task.kind == ReplayKind::kRefill ? 3 : 1);
  }
  std::vector<ReplayResult> results;
  for (const std::string& text : measurer.kept("replay", names, costs, [&](std::span<const size_t> missing) {
         std::vector<std::string> texts;
         for (const ReplayResult& result : compute_replay(measurer, items, some_of(tasks, missing), options))
           texts.push_back(result_json(result).dump());
         return texts;
       }))
    results.push_back(result_from(Json::parse(text)));
  return results;
}

std::vector<std::optional<double>> stand_in_doses(Measurer& measurer, std::span<const ReplayTask> tasks,
                                                  const ReplayOptions& options) {
  std::vector<std::string> names;
  for (const ReplayTask& task : tasks) names.push_back(name_of(measurer.study(), {}, task, options));
  const std::vector<double> costs(tasks.size(), 1);
  std::vector<std::optional<double>> doses;
  for (const std::string& text : measurer.kept("replay-dose", names, costs, [&](std::span<const size_t> missing) {
         std::vector<std::string> texts;
         for (const auto& dose : compute_stand_in_doses(measurer, some_of(tasks, missing), options))
           texts.push_back(dose ? Json(*dose).dump() : "null");
         return texts;
       }))
    doses.push_back(text == "null" ? std::nullopt : std::optional(Json::parse(text).get<double>()));
  return doses;
}

}  // namespace fare
