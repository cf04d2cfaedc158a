// Benchmarks as study data: `fare diagnose --tasks .. --utility-tasks ..` runs on the same items as a user's own files.
#pragma once

#include <vector>

#include "fare/benchmarks/study_data.h"
#include "fare/benchmarks/task.h"

namespace fare {

// The pairs of a task whose documents are minimal pairs (stereotype side first): ids "TASK/ITEM", clusters and axes of the
// documents, duplicates and items their loader excludes left out. Throws UsageError when the task has no pairs.
std::vector<StudyPair> study_pairs(const Task& task, const LoadedTask& loaded);

// The items of a task whose documents have right answers after one common context; choices are the continuations.
// Throws UsageError when the task has no such items.
std::vector<UtilityItem> study_utility(const Task& task, const LoadedTask& loaded);

}  // namespace fare
