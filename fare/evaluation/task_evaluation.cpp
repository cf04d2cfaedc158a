#include "fare/evaluation/task_evaluation.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "fare/benchmarks/metric_errors.h"

namespace fare {
namespace {

RequestResult result_of(const Request& request, const Score& score, bool boundary_merge) {
  RequestResult result;
  result.logprob_nats = score.logprob_nats;
  result.is_greedy = score.is_greedy;
  result.token_ids = request.continuation;
  result.token_logprobs_nats = score.token_logprobs_nats;
  result.truncated_tokens = score.truncated_tokens;
  result.boundary_merge = boundary_merge;
  return result;
}

// The values asked for: compat metrics from the harness's cut, fair ones from the prompt's own tokens.
SampleMetrics metrics_of(const Task& task, const Document& document, const std::vector<RequestResult>& compat,
                         const std::vector<RequestResult>& fair, bool differ, const TaskInfo& wanted) {
  const std::vector<MetricValue> from_compat = task.score(document, compat);
  const std::vector<MetricValue> from_fair = differ ? task.score(document, fair) : from_compat;
  SampleMetrics metrics;
  for (const MetricInfo& info : wanted.metrics)
    for (const MetricValue& value : info.profile == Profile::kFair ? from_fair : from_compat)
      if (value.name == info.name) metrics.push_back(value);
  return metrics;
}

// aggregate_metrics, where a compat metric with an undefined value becomes NaN with its standard error, as in the harness.
std::vector<MetricAggregate> aggregates_of(const TaskInfo& info, const std::vector<SampleMetrics>& samples) {
  std::map<std::string, int64_t> undefined;  // compat metrics with a NaN -> their number of values
  const auto is_nan = [](const MetricValue& metric) { return metric.value && std::isnan(*metric.value); };
  for (const SampleMetrics& sample : samples)
    for (const MetricValue& metric : sample)
      if (is_nan(metric) && !is_fair_metric(metric.name)) undefined[metric.name] = 0;
  std::vector<SampleMetrics> defined = samples;
  for (SampleMetrics& sample : defined)
    std::erase_if(sample, [&](const MetricValue& metric) {
      const auto found = undefined.find(metric.name);
      if (found != undefined.end() && metric.value) ++found->second;
      return found != undefined.end();
    });
  std::vector<MetricAggregate> aggregates = aggregate_metrics(info, defined);
  for (MetricAggregate& aggregate : aggregates) {
    const auto found = undefined.find(aggregate.name);
    if (found == undefined.end()) continue;
    aggregate.num_values = found->second;
    aggregate.value = std::nan("");
    if (found->second > 1) aggregate.stderr_value = std::nan("");
    aggregate.reason.clear();
  }
  return aggregates;
}

}  // namespace

TaskEvaluation evaluate_task(const BenchmarkSet& set, size_t task, const RequestPool& pool, const PoolScores& scores,
                             Profiles profiles) {
  const LoadedBenchmark& loaded = set.tasks[task];
  TaskEvaluation evaluation;
  evaluation.info = loaded.task->info;
  std::erase_if(evaluation.info.metrics, [&](const MetricInfo& info) {
    return info.profile == Profile::kFair ? !profiles.fair : !profiles.compat;
  });
  TaskCounts& counts = evaluation.counts;
  std::vector<std::vector<RequestResult>> fair_results;
  for (size_t d = 0; d < loaded.data.documents.size(); ++d) {
    const Document& document = loaded.data.documents[d];
    std::vector<RequestResult> compat, fair;
    bool merged = false, truncated = false, near_tie = false;
    for (const PooledRequest& request : pool.of[task][d]) {
      const Score& score = scores.scores[request.compat];
      compat.push_back(result_of(pool.requests[request.compat], score, request.boundary_merge));
      fair.push_back(result_of(pool.requests[request.fair], scores.scores[request.fair], request.boundary_merge));
      ++counts.num_requests;
      counts.boundary_merge_requests += request.boundary_merge ? 1 : 0;
      counts.truncated_requests += score.truncated_tokens > 0 ? 1 : 0;
      counts.truncated_tokens += score.truncated_tokens;
      merged = merged || request.boundary_merge;
      truncated = truncated || score.truncated_tokens > 0;
      near_tie = near_tie || scores.near_tie[request.compat] != 0;
    }
    counts.boundary_merge_documents += merged ? 1 : 0;
    counts.truncated_documents += truncated ? 1 : 0;
    counts.routing_near_tie_documents += near_tie ? 1 : 0;
    evaluation.samples.push_back(metrics_of(*loaded.task, document, compat, fair, merged, evaluation.info));
    std::vector<double> lls;
    for (const RequestResult& result : compat) lls.push_back(result.logprob_nats);
    std::sort(lls.rbegin(), lls.rend());
    if (lls.size() > 1) evaluation.decision_margins_nats.push_back(lls[0] - lls[1]);
    evaluation.results.push_back(std::move(compat));
    fair_results.push_back(std::move(fair));
  }
  evaluation.metrics = aggregates_of(evaluation.info, evaluation.samples);
  if (profiles.fair) {
    evaluation.errors = metric_errors(evaluation.info, loaded.data.documents, evaluation.samples);
    if (loaded.task->summarise) evaluation.tables = loaded.task->summarise(loaded.data.documents, fair_results);
  }
  return evaluation;
}

}  // namespace fare
