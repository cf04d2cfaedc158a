#include "fare/evaluation/task_evaluation.h"

#include <algorithm>

#include "fare/benchmarks/metric_errors.h"
#include "fare/benchmarks/pooled_metrics.h"

namespace fare {
namespace {

void add(RequestResult& result, const Request& request, const Score& score) {
  result.logprob_nats += score.logprob_nats;
  result.is_greedy = score.is_greedy;
  result.token_ids.insert(result.token_ids.end(), request.continuation.begin(), request.continuation.end());
  result.token_logprobs_nats.insert(result.token_logprobs_nats.end(), score.token_logprobs_nats.begin(),
                                    score.token_logprobs_nats.end());
  result.truncated_tokens += score.truncated_tokens;
}

// The answer to one text request in both cuts.
struct Answer {
  RequestResult compat, fair;
  bool near_tie = false;
};

Answer answer_of(const PooledRequest& request, const RequestPool& pool, const PoolScores& scores) {
  Answer answer;
  if (request.prompt) {
    const GeneratedText& text = scores.texts[*request.prompt];
    answer.compat.text = text.text;
    answer.compat.token_ids = text.token_ids;
    answer.compat.truncated_tokens = text.truncated_tokens;
    answer.compat.cut_off = text.finish == Finish::kLength;
    answer.fair = answer.compat;
    return answer;
  }
  const auto add_to = [&](RequestResult& result, size_t index) {
    add(result, pool.requests[index], scores.scores[index]);
  };
  for (const size_t window : request.windows) {
    add_to(answer.compat, window);
    answer.near_tie = answer.near_tie || scores.near_tie[window] != 0;
  }
  answer.fair = answer.compat;
  if (request.first_is_bos) {
    answer.fair.logprob_nats -= answer.fair.token_logprobs_nats.front();
    answer.fair.token_logprobs_nats.erase(answer.fair.token_logprobs_nats.begin());
    answer.fair.token_ids.erase(answer.fair.token_ids.begin());
  }
  if (request.compat != kNoRequest) {
    add_to(answer.compat, request.compat);
    add_to(answer.fair, request.fair);
    answer.near_tie = scores.near_tie[request.compat] != 0;
  }
  answer.compat.boundary_merge = answer.fair.boundary_merge = request.boundary_merge;
  return answer;
}

// The values asked for: compat metrics from the harness's cut, fair ones from the prompt's own tokens.
SampleMetrics metrics_of(const Task& task, const Document& document, const std::vector<RequestResult>& compat,
                         const std::vector<RequestResult>& fair, bool differ, const TaskInfo& wanted) {
  const std::vector<MetricValue> from_compat = task.score(document, compat);
  const std::vector<MetricValue> from_fair = differ ? task.score(document, fair) : from_compat;
  SampleMetrics metrics;
  for (size_t i = 0; i < from_compat.size(); ++i) {
    const MetricValue& value = is_fair_metric(from_compat[i].name) ? from_fair[i] : from_compat[i];
    const auto asked = [&](const MetricInfo& info) { return info.name == value.name && info.filter == value.filter; };
    if (std::any_of(wanted.metrics.begin(), wanted.metrics.end(), asked)) metrics.push_back(value);
  }
  return metrics;
}

// Items of one cluster are no independent ones: the standard error of a fair mean is that over clusters.
void use_clustered_errors(TaskEvaluation& evaluation) {
  for (MetricAggregate& metric : evaluation.metrics) {
    const auto error =
        evaluation.errors.find(metric.filter == "none" ? metric.name : metric.name + "," + metric.filter);
    if (error == evaluation.errors.end()) continue;  // the harness's own metrics keep the harness's error
    const OrderedJson& se = error->at("se_cr1");
    metric.stderr_value = se.is_null() ? std::nullopt : std::optional(se.get<double>());
  }
}

}  // namespace

TaskEvaluation evaluate_task(const BenchmarkSet& set, size_t task, const RequestPool& pool, const PoolScores& scores,
                             Profiles profiles) {
  const LoadedBenchmark& loaded = set.tasks[task];
  TaskEvaluation evaluation;
  evaluation.info = loaded.task->info;
  if (loaded.num_fewshot != evaluation.info.num_fewshot) evaluation.info.config["num_fewshot"] = loaded.num_fewshot;
  evaluation.info.num_fewshot = static_cast<int>(loaded.num_fewshot);
  std::erase_if(evaluation.info.metrics, [&](const MetricInfo& info) {
    return info.profile == Profile::kFair ? !profiles.fair : !profiles.compat;
  });
  TaskCounts& counts = evaluation.counts;
  auto& fair_results = evaluation.fair_results;
  for (size_t d = 0; d < loaded.data.documents.size(); ++d) {
    const Document& document = loaded.data.documents[d];
    std::vector<RequestResult> compat, fair;
    bool merged = false, truncated = false, near_tie = false, differ = false;
    for (const PooledRequest& request : pool.of[task][d]) {
      Answer answer = answer_of(request, pool, scores);
      ++counts.num_requests;
      counts.boundary_merge_requests += request.boundary_merge ? 1 : 0;
      counts.truncated_requests += answer.compat.truncated_tokens > 0 ? 1 : 0;
      counts.truncated_tokens += answer.compat.truncated_tokens;
      counts.cut_off_texts += answer.compat.cut_off ? 1 : 0;
      merged = merged || request.boundary_merge;
      differ = differ || request.boundary_merge || request.first_is_bos;
      truncated = truncated || answer.compat.truncated_tokens > 0;
      near_tie = near_tie || answer.near_tie;
      compat.push_back(std::move(answer.compat));
      fair.push_back(std::move(answer.fair));
    }
    counts.boundary_merge_documents += merged ? 1 : 0;
    counts.truncated_documents += truncated ? 1 : 0;
    counts.routing_near_tie_documents += near_tie ? 1 : 0;
    evaluation.samples.push_back(metrics_of(*loaded.task, document, compat, fair, differ, evaluation.info));
    std::vector<double> lls;
    for (size_t r = 0; r < compat.size(); ++r)
      if (document.requests[r].kind == RequestKind::kLoglikelihood && !document.requests[r].extra)
        lls.push_back(compat[r].logprob_nats);
    std::sort(lls.rbegin(), lls.rend());
    if (lls.size() > 1) evaluation.decision_margins_nats.push_back(lls[0] - lls[1]);
    evaluation.results.push_back(std::move(compat));
    fair_results.push_back(std::move(fair));
  }
  evaluation.metrics = aggregate_metrics(evaluation.info, evaluation.samples);
  add_pooled(*loaded.task, loaded.data.documents, evaluation.results, fair_results, evaluation.metrics);
  if (profiles.fair) {
    evaluation.errors = metric_errors(evaluation.info, loaded.data.documents, evaluation.samples);
    use_clustered_errors(evaluation);
    evaluation.errors.update(
        pooled_errors(*loaded.task, evaluation.info, loaded.data.documents, evaluation.results, fair_results));
  }
  if (loaded.task->summarise) evaluation.tables = loaded.task->summarise(loaded.data.documents, fair_results);
  if (!loaded.data.missing.empty()) evaluation.tables["missing_files"] = loaded.data.missing;
  return evaluation;
}

}  // namespace fare
