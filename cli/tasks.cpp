#include "cli/tasks.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>

#include "cli/flags.h"
#include "fare/benchmarks/registry.h"
#include "fare/core/error.h"

namespace fare::cli {
namespace {

struct TasksFlags {
  CommonFlags common;
  bool check_hashes = false;
};

std::string state_of(const FileStatus& status, bool check_hashes) {
  if (status.found.empty()) return status.file.required ? "missing" : "missing (optional)";
  if (!check_hashes) return "there";
  return status.matches ? "there, as published" : "there, but CHANGED";
}

int list(const TasksFlags& flags) {
  const std::filesystem::path data = data_folder(flags.common);
  if (!flags.common.data.empty() && !std::filesystem::is_directory(data))
    throw IoError(data.string() + ": is not a folder; --data names the folder of benchmark data (docs/data.md)");
  const std::vector<TaskStatus> tasks = list_tasks(data, flags.check_hashes);
  size_t name_width = 4, licence_width = 7, state_width = 5;
  for (const TaskStatus& task : tasks) {
    name_width = std::max(name_width, task.task->info.name.size());
    licence_width = std::max(licence_width, task.task->info.licence.size());
    for (const FileStatus& file : task.files)
      state_width = std::max(state_width, state_of(file, flags.check_hashes).size());
  }
  fmt::print("benchmark data in {}{}\n\n", data.string(), std::filesystem::is_directory(data) ? "" : " (not there)");
  fmt::print("{:<{}}  ready  {:<{}}  {:<{}}  file\n", "task", name_width, "licence", licence_width, "state",
             state_width);
  bool changed = false;
  for (const TaskStatus& task : tasks) {
    bool first = true;
    for (const FileStatus& file : task.files) {
      fmt::print("{:<{}}  {:<5}  {:<{}}  {:<{}}  {}\n", first ? task.task->info.name : "", name_width,
                 first ? (task.ready ? "yes" : "no") : "", first ? task.task->info.licence : "", licence_width,
                 state_of(file, flags.check_hashes), state_width, file.file.path);
      changed = changed || (flags.check_hashes && !file.found.empty() && !file.matches);
      first = false;
    }
  }
  // Word lists belong to no task: an association test needs vectors of words, which no task asks of a model.
  int64_t lists = 0;
  if (std::filesystem::is_directory(data / "seat"))
    for (const auto& entry : std::filesystem::directory_iterator(data / "seat")) {
      const std::string name = entry.path().filename().string();
      lists += name.starts_with("weat") && name.ends_with(".jsonl");
    }
  fmt::print(
      "\nword lists: seat/weat*.jsonl (WEAT; licence none stated): {}; null pairs of the kind N2 are built from them "
      "(docs/study-data.md)\n\n",
      lists == 0 ? "missing" : fmt::format("{} files there", lists));
  for (const TaskGroup& group : all_task_groups()) {
    std::string members;
    for (const std::string& member : group.members) members += (members.empty() ? "" : ", ") + member;
    fmt::print("group {}: {}\n", group.name, members);
  }
  return changed ? 1 : 0;
}

}  // namespace

void add_tasks_command(CLI::App& program, int& exit_status) {
  auto flags = std::make_shared<TasksFlags>();
  CLI::App* command =
      program.add_subcommand("tasks", "The benchmarks known here: data files, licences, whether they are there");
  add_data_flag(*command, flags->common);
  command->add_flag("--check-hashes", flags->check_hashes,
                    "Also read the files and compare them with the published ones; "
                    "status 1 when one differs");
  command->footer(
      "Examples:\n"
      "  fare tasks --data DIR\n"
      "  fare tasks --data DIR --check-hashes");
  command->callback([flags, &exit_status] { exit_status = list(*flags); });
}

}  // namespace fare::cli
