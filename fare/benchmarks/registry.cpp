#include "fare/benchmarks/registry.h"

#include <algorithm>

#include "fare/benchmarks/crows_pairs.h"
#include "fare/benchmarks/truthfulqa.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/sha256.h"

namespace fare {
namespace {

std::vector<Task> make_tasks() {
  std::vector<Task> tasks;
  tasks.push_back(crows_pairs_english(""));
  for (const auto& category : crows_pairs_categories()) tasks.push_back(crows_pairs_english(category));
  tasks.push_back(fare_crows_pairs());
  tasks.push_back(truthfulqa_mc1());
  tasks.push_back(truthfulqa_mc2());
  return tasks;
}

std::vector<TaskGroup> make_groups() {
  TaskGroup crows{"crows_pairs", {}};
  for (const auto& task : all_tasks())
    if (task.info.name.rfind("crows_pairs_english", 0) == 0) crows.members.push_back(task.info.name);
  return {crows, {"truthfulqa", {"truthfulqa_mc1", "truthfulqa_mc2"}}};
}

std::vector<std::string> all_names() {
  std::vector<std::string> names;
  for (const auto& task : all_tasks()) names.push_back(task.info.name);
  for (const auto& group : all_task_groups()) names.push_back(group.name);
  return names;
}

template <typename Entries, typename NameOf>
auto* entry_or_null(const Entries& entries, const std::string& name, const NameOf& name_of) {
  for (const auto& entry : entries)
    if (name_of(entry) == name) return &entry;
  return static_cast<decltype(&*entries.begin())>(nullptr);
}

const Task* task_or_null(const std::string& name) {
  return entry_or_null(all_tasks(), name, [](const Task& task) { return task.info.name; });
}

const TaskGroup* group_or_null(const std::string& name) {
  return entry_or_null(all_task_groups(), name, [](const TaskGroup& group) { return group.name; });
}

std::string full_name(const std::string& name) {
  const auto known = all_names();
  if (const auto found = known_name(name, known)) return *found;
  throw UsageError("unknown task '" + name + "'" + did_you_mean(name, known) + " (fare tasks lists them all)");
}

}  // namespace

const std::vector<Task>& all_tasks() {
  static const std::vector<Task> tasks = make_tasks();
  return tasks;
}

const std::vector<TaskGroup>& all_task_groups() {
  static const std::vector<TaskGroup> groups = make_groups();
  return groups;
}

std::optional<std::string> known_name(const std::string& name, const std::vector<std::string>& known) {
  for (const auto& candidate : {name, "fare_" + name})
    if (std::find(known.begin(), known.end(), candidate) != known.end()) return candidate;
  return std::nullopt;
}

const Task& find_task(const std::string& name) {
  const std::string full = full_name(name);
  if (const Task* task = task_or_null(full)) return *task;
  std::string members;
  for (const auto& member : group_or_null(full)->members) members += (members.empty() ? "" : ", ") + member;
  throw UsageError("'" + name + "' is a group of tasks; name one of " + members);
}

std::vector<const Task*> resolve_tasks(const std::vector<std::string>& names) {
  std::vector<const Task*> tasks;
  const auto add = [&](const Task& task) {
    if (std::find(tasks.begin(), tasks.end(), &task) == tasks.end()) tasks.push_back(&task);
  };
  for (const auto& name : names) {
    const std::string full = full_name(name);
    if (const Task* task = task_or_null(full)) add(*task);
    else
      for (const auto& member : group_or_null(full)->members) add(find_task(member));
  }
  if (tasks.empty()) throw UsageError("no task was named (fare tasks lists them all)");
  return tasks;
}

std::vector<TaskStatus> list_tasks(const std::filesystem::path& data, bool check_hashes) {
  std::vector<TaskStatus> list;
  for (const auto& task : all_tasks()) {
    TaskStatus status{&task, {}, true};
    for (const auto& file : task.info.files) {
      FileStatus one{file, {}, false};
      if (const auto found = locate(file, data)) {
        one.found = *found;
        if (check_hashes) one.matches = file.sha256.empty() || sha256_hex(read_file(*found)) == file.sha256;
      } else if (file.required) {
        status.ready = false;
      }
      status.files.push_back(std::move(one));
    }
    list.push_back(std::move(status));
  }
  return list;
}

}  // namespace fare
