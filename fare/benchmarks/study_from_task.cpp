#include "fare/benchmarks/study_from_task.h"

#include <algorithm>
#include <map>

#include "fare/benchmarks/registry.h"
#include "fare/core/error.h"

namespace fare {
namespace {

// What an axis of WinoBias or BBQ is called in CrowS-Pairs and StereoSet.
std::string axis_in(const std::set<std::string>& axes, const std::string& axis) {
  static const std::map<std::string, std::vector<std::string>> kSame = {
      {"type1", {"gender"}},
      {"type2", {"gender"}},
      {"Gender_identity", {"gender"}},
      {"Race_ethnicity", {"race-color", "race"}},
      {"Age", {"age"}},
      {"Religion", {"religion"}},
      {"Nationality", {"nationality"}},
      {"Disability_status", {"disability"}},
      {"Physical_appearance", {"physical-appearance"}},
      {"SES", {"socioeconomic"}},
      {"Sexual_orientation", {"sexual-orientation"}}};
  if (const auto found = kSame.find(axis); found != kSame.end())
    for (const std::string& name : found->second)
      if (axes.contains(name)) return name;
  return axis;
}

bool is_set(const Document& document, const char* flag) {
  return document.flags.contains(flag) && !document.flags[flag].is_null();
}

// Two documents with the same text count once, and what the loader excludes not at all.
bool is_left_out(const Document& document) { return is_set(document, "duplicate_of") || is_set(document, "excluded"); }

bool is_subject(const Task& task) { return task.info.name.starts_with("mmlu_"); }

}  // namespace

bool is_transfer_task(const Task& task) {
  return task.info.name.find("winobias") != std::string::npos || task.info.name.find("bbq") != std::string::npos;
}

std::vector<StudyPair> transfer_pairs(const Task& task, const LoadedTask& loaded, const std::set<std::string>& axes,
                                      size_t most) {
  std::vector<StudyPair> pairs;
  for (const auto& document : loaded.documents) {
    if (is_left_out(document) || document.axis.starts_with("Race_x_")) continue;
    size_t stereo = 0, anti = 1;
    if (!document.pair.empty()) {
      stereo = document.pair[0];
      anti = document.pair[1];
    } else {
      if (document.requests.size() < 2 || document.flags.value("condition", "") != "ambig") continue;
      const auto& biased = document.flags.at("biased");
      if (biased.size() != 1 || biased[0].get<size_t>() > 1) continue;  // the first two choices name the two groups
      stereo = biased[0].get<size_t>();
      anti = 1 - stereo;
    }
    const TextRequest &first = document.requests[stereo], &second = document.requests[anti];
    if (first.continuation == second.continuation) continue;
    StudyPair pair;
    pair.id = task.info.name + "/" + document.item;
    pair.cluster = document.cluster;
    pair.axis = axis_in(axes, document.axis);
    pair.stereo = first.continuation;
    pair.anti = second.continuation;
    pair.context = first.context;
    pair.set = PairSet::kTransfer;
    pairs.push_back(std::move(pair));
  }
  if (pairs.empty())
    throw UsageError("task '" + task.info.name + "' has no pairs for a transfer set; drop it from --tasks");
  if (pairs.size() <= most || most < 2) return pairs;
  std::vector<StudyPair> some;
  for (size_t i = 0; i < most; ++i) some.push_back(std::move(pairs[i * (pairs.size() - 1) / (most - 1)]));
  return some;
}

std::vector<StudyPair> study_pairs(const Task& task, const LoadedTask& loaded) {
  std::vector<StudyPair> pairs;
  for (const auto& document : loaded.documents) {
    if (document.pair.empty())
      throw UsageError("task '" + task.info.name +
                       "' has no stereotype pairs; give it to --utility-tasks, or name a task "
                       "of pairs such as fare_crows_pairs");
    if (is_left_out(document)) continue;
    StudyPair pair;
    pair.id = task.info.name + "/" + document.item;
    pair.cluster = document.cluster;
    pair.axis = document.axis;
    pair.stereo = document.requests[document.pair[0]].continuation;
    pair.anti = document.requests[document.pair[1]].continuation;
    pair.context = document.requests[document.pair[0]].context;
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

bool clusters_by_subject(const std::vector<const Task*>& tasks) {
  return std::count_if(tasks.begin(), tasks.end(), [](const Task* task) { return is_subject(*task); }) >=
         kTasksAsClusters;
}

std::vector<UtilityItem> study_utility(const Task& task, const LoadedTask& loaded, bool by_subject) {
  std::vector<UtilityItem> items;
  for (const auto& document : loaded.documents) {
    std::vector<TextRequest> choices;
    for (const auto& request : document.requests)
      if (!request.extra) choices.push_back(request);
    const bool one_context = std::all_of(choices.begin(), choices.end(), [&](const TextRequest& request) {
      return request.context == choices.front().context && request.kind == RequestKind::kLoglikelihood;
    });
    if (document.gold.empty() || choices.size() < 2 || !one_context)
      throw UsageError("task '" + task.info.name + "' has no questions with right answers; it cannot measure utility");
    if (is_left_out(document)) continue;
    const std::string& name = task.info.name;
    UtilityItem item{name + "/" + document.item,
                     by_subject && is_subject(task) ? name : name + "/" + document.cluster,
                     name,
                     choices.front().context,
                     {},
                     document.gold};
    for (const auto& request : choices) item.choices.push_back(request.continuation);
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace fare
