#include "fare/benchmarks/study_from_task.h"

#include <algorithm>

#include "fare/core/error.h"

namespace fare {

std::vector<StudyPair> study_pairs(const Task& task, const LoadedTask& loaded) {
  std::vector<StudyPair> pairs;
  for (const auto& document : loaded.documents) {
    if (document.pair.empty())
      throw UsageError("task '" + task.info.name + "' has no stereotype pairs; give it to --utility-tasks, or name a task "
                       "of pairs such as fare_crows_pairs");
    if (document.flags.contains("duplicate_of") && !document.flags["duplicate_of"].is_null()) continue;
    if (document.flags.contains("excluded") && !document.flags["excluded"].is_null()) continue;
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

std::vector<UtilityItem> study_utility(const Task& task, const LoadedTask& loaded) {
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
    UtilityItem item{task.info.name + "/" + document.item, document.cluster, task.info.name,
                     choices.front().context, {}, document.gold};
    for (const auto& request : choices) item.choices.push_back(request.continuation);
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace fare
