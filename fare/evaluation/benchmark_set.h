// The named tasks of one evaluation, loaded whole before any model is opened.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fare/benchmarks/harness_layout.h"
#include "fare/benchmarks/task.h"

namespace fare {

struct BenchmarkOptions {
  std::vector<std::string> names;                   // tasks and groups, as typed
  std::vector<std::filesystem::path> descriptions;  // TOML files of the user's own tasks (toml_task.h)
  LoadOptions load;
  std::optional<int64_t> limit;        // the first documents of each task, in file order; none = all
  std::optional<int64_t> num_fewshot;  // none = the task's own
};

struct LoadedBenchmark {
  const Task* task = nullptr;
  LoadedTask data;           // `documents` are those to evaluate
  int64_t num_original = 0;  // documents the task has
  int64_t num_fewshot = 0;
};

struct BenchmarkSet {
  std::vector<std::shared_ptr<const Task>> own;  // the tasks of the descriptions
  std::vector<LoadedBenchmark> tasks;            // in the order of first mention, each once
  std::vector<GroupResults> groups;              // the groups among the names; without metrics of their own
};

// Throws UsageError (unknown name with the nearest known ones, a limit below 1, a number of shots that a task cannot
// have), IoError (a file that is not there), FormatError (a broken or changed file).
BenchmarkSet load_benchmarks(const BenchmarkOptions& options);

// One hash over the data files read: path below the data folder, SHA-256 of the content. Independent of where they lie.
std::string data_sha256(const BenchmarkSet& set);

}  // namespace fare
