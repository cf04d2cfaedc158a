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

const Task* task_or_null(const std::string& name) {
  for (const auto& task : all_tasks())
    if (task.info.name == name) return &task;
  return nullptr;
}

const TaskGroup* group_or_null(const std::string& name) {
  for (const auto& group : all_task_groups())
    if (group.name == name) return &group;
  return nullptr;
}

[[noreturn]] void refuse(const std::string& name) {
  std::vector<std::string> known;
  for (const auto& task : all_tasks()) known.push_back(task.info.name);
  for (const auto& group : all_task_groups()) known.push_back(group.name);
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

const Task& find_task(const std::string& name) {
  if (const Task* task = task_or_null(name)) return *task;
  if (const TaskGroup* group = group_or_null(name)) {
    std::string members;
    for (const auto& member : group->members) members += (members.empty() ? "" : ", ") + member;
    throw UsageError("'" + name + "' is a group of tasks; name one of " + members);
  }
  if (const Task* task = task_or_null("fare_" + name)) return *task;
  refuse(name);
}

std::vector<const Task*> resolve_tasks(const std::vector<std::string>& names) {
  std::vector<const Task*> tasks;
  const auto add = [&](const Task& task) {
    if (std::find(tasks.begin(), tasks.end(), &task) == tasks.end()) tasks.push_back(&task);
  };
  for (const auto& name : names) {
    const TaskGroup* group = group_or_null(name);
    if (group == nullptr) group = group_or_null("fare_" + name);
    if (task_or_null(name) == nullptr && group != nullptr)
      for (const auto& member : group->members) add(find_task(member));
    else
      add(find_task(name));
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
