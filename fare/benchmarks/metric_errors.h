// Errors of a task's fair metrics that respect clusters, for the `fare` part of a results file.
#pragma once

#include <span>

#include "fare/benchmarks/harness_layout.h"
#include "fare/benchmarks/task.h"

namespace fare {

// {metric: {"n", "clusters", "se_naive", "se_cr1", "cr1_over_naive", "icc"}} for every fair metric of the task
// that is a mean; with a filter the key is "metric,filter"; items without a value are left out. Undefined numbers are
// null with a reason beside them. Source: docs/data.md names each task's clusters; errors as in fare/stats/clusters.h.
OrderedJson metric_errors(const TaskInfo& task, std::span<const Document> documents,
                          std::span<const SampleMetrics> samples);

}  // namespace fare
