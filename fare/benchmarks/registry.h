// The benchmarks known to FARE, by name.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fare/benchmarks/task.h"

namespace fare {

// All tasks, in the order in which they are listed. They live as long as the program.
const std::vector<Task>& all_tasks();

// A name that stands for several tasks.
struct TaskGroup {
  std::string name;
  std::vector<std::string> members;  // tasks, or groups listed before
  std::string alias;                 // as tables print it; "" = the name
  std::vector<std::string>
      metrics;  // means over the leaf tasks, weighted by their size; empty = the group has no numbers
  double version = 1;
};
const std::vector<TaskGroup>& all_task_groups();

// The entry of `known` that `name` means: itself, else `fare_` + name, else the one that differs in letter case only.
// None when there is none.
std::optional<std::string> known_name(const std::string& name, const std::vector<std::string>& known);

// From this many tasks of a group on the tasks are its clusters: the subjects of MMLU.
inline constexpr int64_t kTasksAsClusters = 10;

// The group of that name, or null. The tasks of a group, groups within it replaced by their members.
const TaskGroup* find_group(const std::string& name);
std::vector<const Task*> leaf_tasks(const TaskGroup& group);

// The task of that name; the prefix `fare_` may be left out where no other task or group has the rest as its name.
// Throws UsageError offering the nearest names; a group's name is refused with its members.
const Task& find_task(const std::string& name);

// Tasks for the names given, groups replaced by their members, each task once, in the order of first mention.
// Throws UsageError for an unknown or empty name and for an empty list.
std::vector<const Task*> resolve_tasks(const std::vector<std::string>& names);

// What `fare tasks` prints about one task.
struct FileStatus {
  DataFile file;
  std::filesystem::path found;  // empty: not there
  bool matches = false;         // its content has the known hash (or none is known); only if asked for
};
struct TaskStatus {
  const Task* task = nullptr;
  std::vector<FileStatus> files;
  bool ready = false;  // all required files are there
};
// `check_hashes` reads the files; without it only their presence is looked at.
std::vector<TaskStatus> list_tasks(const std::filesystem::path& data, bool check_hashes);

}  // namespace fare
