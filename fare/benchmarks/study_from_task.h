// Benchmarks as study data: `fare diagnose --tasks .. --utility-tasks ..` runs on the same items as a user's own files.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "fare/benchmarks/study_data.h"
#include "fare/benchmarks/task.h"

namespace fare {

// The pairs of a task whose documents are minimal pairs (stereotype side first): ids "TASK/ITEM", clusters and axes of
// the documents, duplicates and items their loader excludes left out. Throws UsageError when the task has no pairs.
std::vector<StudyPair> study_pairs(const Task& task, const LoadedTask& loaded);

// WinoBias and BBQ are never searched on: named beside other tasks of pairs, they are the transfer set.
bool is_transfer_task(const Task& task);

// Their pairs, as a transfer set: WinoBias pro and anti sentences; BBQ's ambiguous questions that name one stereotyped
// answer, that answer against the other group's. The axis is renamed to the one of `axes` (those of the main set) that
// means the same; pairs whose axis has none keep their own name. Duplicates, items their loader excludes and BBQ's
// questions of two axes at once (Race_x_..) are left out. More than `most` pairs: evenly spread over the file, ends
// kept.
std::vector<StudyPair> transfer_pairs(const Task& task, const LoadedTask& loaded, const std::set<std::string>& axes,
                                      size_t most);

// Whether subjects of MMLU are the clusters of their questions: where enough of them are named that train, validation
// and test parts each hold whole subjects (ten, the number of buckets of splits.h). Fewer are split within subjects.
bool clusters_by_subject(const std::vector<const Task*>& tasks);

// The items of a task whose documents have right answers after one common context; choices are the continuations.
// Clusters are the documents' under the task's name ("piqa/7"), or with `by_subject` and a subject of MMLU the task
// itself. Duplicates are left out. Throws UsageError when the task has no such items.
std::vector<UtilityItem> study_utility(const Task& task, const LoadedTask& loaded, bool by_subject = false);

}  // namespace fare
