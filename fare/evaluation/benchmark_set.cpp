#include "fare/evaluation/benchmark_set.h"

#include <algorithm>
#include <map>

#include "fare/benchmarks/registry.h"
#include "fare/benchmarks/toml_task.h"
#include "fare/core/error.h"
#include "fare/core/sha256.h"

namespace fare {
namespace {

// The groups among the names and those within them, the outer one first.
void add_group(const TaskGroup& group, std::vector<GroupResults>& groups) {
  if (std::any_of(groups.begin(), groups.end(), [&](const auto& g) { return g.name == group.name; })) return;
  groups.push_back({group.name, group.alias.empty() ? group.name : group.alias, group.members, group.version});
  for (const std::string& member : group.members)
    if (const TaskGroup* inner = find_group(member)) add_group(*inner, groups);
}

std::vector<GroupResults> groups_among(const std::vector<std::string>& names) {
  std::vector<std::string> known;
  for (const TaskGroup& group : all_task_groups()) known.push_back(group.name);
  for (const Task& task : all_tasks()) known.push_back(task.info.name);
  std::vector<GroupResults> groups;
  for (const std::string& name : names)
    if (const auto full = known_name(name, known))
      if (const TaskGroup* group = find_group(*full)) add_group(*group, groups);
  return groups;
}

}  // namespace

BenchmarkSet load_benchmarks(const BenchmarkOptions& options) {
  BenchmarkSet set;
  std::vector<const Task*> tasks;
  if (!options.names.empty() || options.descriptions.empty()) tasks = resolve_tasks(options.names);
  for (const auto& path : options.descriptions) {
    set.own.push_back(std::make_shared<const Task>(toml_task(path)));
    for (const Task* task : tasks)
      if (task->info.name == set.own.back()->info.name)
        throw UsageError("two descriptions are named '" + task->info.name + "'");
    tasks.push_back(set.own.back().get());
  }
  if (options.limit && *options.limit < 1)
    throw UsageError("--limit " + std::to_string(*options.limit) + ": at least one document is needed");
  for (const Task* task : tasks) {
    const TaskInfo& info = task->info;
    if (!options.num_fewshot || *options.num_fewshot == info.num_fewshot || *options.num_fewshot <= info.max_fewshot)
      continue;
    throw UsageError("--num-fewshot " + std::to_string(*options.num_fewshot) + ": task '" + info.name + "' " +
                     (info.max_fewshot == 0
                          ? "has no pool of examples and is always run with " + std::to_string(info.num_fewshot) +
                                "; leave the flag out or give --num-fewshot " + std::to_string(info.num_fewshot)
                          : "has " + std::to_string(info.max_fewshot) + " examples to choose from"));
  }
  set.groups = groups_among(options.names);
  for (const Task* task : tasks) {
    LoadOptions load = options.load;
    load.num_fewshot = options.num_fewshot;
    LoadedBenchmark loaded{task, task->load(load), 0, options.num_fewshot.value_or(task->info.num_fewshot)};
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
