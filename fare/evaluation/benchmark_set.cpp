#include "fare/evaluation/benchmark_set.h"

#include <map>

#include "fare/benchmarks/registry.h"
#include "fare/core/error.h"
#include "fare/core/sha256.h"

namespace fare {
namespace {

std::vector<GroupResults> groups_among(const std::vector<std::string>& names) {
  std::vector<std::string> known;
  for (const TaskGroup& group : all_task_groups()) known.push_back(group.name);
  for (const Task& task : all_tasks()) known.push_back(task.info.name);
  std::vector<GroupResults> groups;
  for (const std::string& name : names) {
    const auto full = known_name(name, known);
    for (const TaskGroup& group : all_task_groups()) {
      const bool listed = std::any_of(groups.begin(), groups.end(), [&](const auto& g) { return g.name == group.name; });
      if (full == group.name && !listed) groups.push_back({group.name, group.name, group.members});
    }
  }
  return groups;
}

}  // namespace

BenchmarkSet load_benchmarks(const BenchmarkOptions& options) {
  const std::vector<const Task*> tasks = resolve_tasks(options.names);
  if (options.limit && *options.limit < 1)
    throw UsageError("--limit " + std::to_string(*options.limit) + ": at least one document is needed");
  for (const Task* task : tasks) {
    if (!options.num_fewshot || *options.num_fewshot == task->info.num_fewshot) continue;
    throw UsageError("--num-fewshot " + std::to_string(*options.num_fewshot) + ": task '" + task->info.name +
                     "' has no pool of examples and is always run with " + std::to_string(task->info.num_fewshot) +
                     "; leave the flag out or give --num-fewshot " + std::to_string(task->info.num_fewshot));
  }
  BenchmarkSet set;
  set.groups = groups_among(options.names);
  for (const Task* task : tasks) {
    LoadedBenchmark loaded{task, task->load(options.load), 0};
    loaded.num_original = static_cast<int64_t>(loaded.data.documents.size());
    if (loaded.data.documents.empty()) throw FormatError("task " + task->info.name, "", "its files hold no document");
    if (options.limit && *options.limit < loaded.num_original)
      loaded.data.documents.resize(static_cast<size_t>(*options.limit));
    set.tasks.push_back(std::move(loaded));
  }
  return set;
}

std::string data_sha256(const BenchmarkSet& set) {
  std::map<std::string, std::string> files;
  for (const LoadedBenchmark& task : set.tasks)
    for (const LoadedFile& file : task.data.files) files[file.path] = file.sha256;
  Sha256 hash;
  for (const auto& [path, sha256] : files) hash.add(path).add(std::string_view("\0", 1)).add(sha256).add("\n");
  return hash.hex();
}

}  // namespace fare
