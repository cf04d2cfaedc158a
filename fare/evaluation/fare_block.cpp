#include "fare/evaluation/fare_block.h"

#include <algorithm>
#include <set>

namespace fare {
namespace {

OrderedJson files_json(const LoadedTask& data) {
  OrderedJson files = OrderedJson::array();
  for (const LoadedFile& file : data.files)
    files.push_back(
        {{"path", file.path}, {"sha256", file.sha256}, {"num_records", file.num_records}, {"changed", file.changed}});
  return files;
}

OrderedJson task_json(const TaskEvaluation& task, const LoadedBenchmark& loaded, double rescoring_difference) {
  OrderedJson profiles = OrderedJson::object(), undefined = OrderedJson::object();
  for (const MetricInfo& info : task.info.metrics)
    profiles[info.name] = info.profile == Profile::kFair ? "fair" : "compat";
  for (const MetricAggregate& metric : task.metrics)
    if (!metric.value) undefined[metric.name] = metric.reason;
  std::set<std::string> clusters;
  for (const Document& document : loaded.data.documents) clusters.insert(document.cluster);
  const auto& margins = task.decision_margins_nats;
  const auto close = std::count_if(margins.begin(), margins.end(), [&](double m) { return m < rescoring_difference; });
  const TaskCounts& counts = task.counts;
  OrderedJson json{{"profiles", std::move(profiles)},
                   {"documents", loaded.data.documents.size()},
                   {"requests", counts.num_requests},
                   {"clusters", clusters.size()},
                   {"boundary_merge",
                    {{"requests", counts.boundary_merge_requests}, {"documents", counts.boundary_merge_documents}}},
                   {"truncated",
                    {{"requests", counts.truncated_requests},
                     {"documents", counts.truncated_documents},
                     {"tokens", counts.truncated_tokens}}},
                   {"cut_off_texts", counts.cut_off_texts},
                   {"near_tie", {{"decisions", close}, {"routing", counts.routing_near_tie_documents}}},
                   {"data", files_json(loaded.data)},
                   {"licence", task.info.licence},
                   {"notes", loaded.data.notes}};
  if (!undefined.empty()) json["undefined"] = std::move(undefined);
  json["errors"] = task.errors;
  json["tables"] = task.tables;
  return json;
}

OrderedJson intervention_json(const Intervention& intervention, const Receipt& receipt) {
  return {{"name", intervention.name},
          {"sha256", intervention.sha256},
          {"edits", intervention.to_json().at("edits")},
          {"receipt", receipt.to_json(intervention.name, intervention.sha256)}};
}

OrderedJson baseline_json(const EvaluationOptions& options, const Model& model) {
  if (options.baseline == nullptr) return nullptr;
  return {{"path", options.baseline->folder().string()},
          {"sha256", "sha256:" + options.baseline->sha256()},
          {"model", options.baseline->model()},
          {"same_model", options.baseline->model() == model.checkpoint().fingerprint()},
          {"edits_sha256", options.baseline->intervention().empty()
                               ? OrderedJson(nullptr)
                               : OrderedJson("sha256:" + options.baseline->intervention())}};
}

}  // namespace

OrderedJson fare_block(const FareBlock& block, const BenchmarkSet& set, const Model& model,
                       const Intervention* intervention, const PoolScores& scores, const EvaluationOptions& options,
                       const Tokenizer& tokenizer) {
  auto prefix = options.prefix_token;
  if (!prefix) prefix = tokenizer.bos_id();
  if (!prefix) prefix = tokenizer.eos_id();
  OrderedJson tasks = OrderedJson::object();
  for (size_t t = 0; t < block.tasks.size(); ++t)
    tasks[block.tasks[t].info.name] = task_json(block.tasks[t], set.tasks[t], block.largest_rescoring_difference_nats);
  const bool bf16 = model.execution().dtype == at::kBFloat16;
  return {
      {"format", "fare-eval/1"},
      {"version", options.program_version},
      {"model",
       {{"name", options.model_name},
        {"model_type", model.spec().model_type},
        {"fingerprint", block.model_fingerprint.empty() ? OrderedJson(nullptr) : OrderedJson(block.model_fingerprint)},
        {"dtype", bf16 ? "bf16" : "f32"},
        {"matmul", bf16 ? "onednn" : backend_name(model.execution().backend)}}},
      {"intervention",
       intervention == nullptr ? OrderedJson(nullptr) : intervention_json(*intervention, scores.receipt)},
      {"baseline_run", baseline_json(options, model)},
      {"baseline_run_reason",
       options.baseline == nullptr ? OrderedJson("no --baseline was named") : OrderedJson(nullptr)},
      {"comparisons", block.comparisons},
      {"seeds", {{"seed", options.seed}}},
      {"prefix_token", prefix ? OrderedJson(*prefix) : OrderedJson(nullptr)},
      {"rescored",
       {{"requests", block.rescored}, {"largest_difference_nats", block.largest_rescoring_difference_nats}}},
      {"data_sha256", data_sha256(set)},
      {"tasks", std::move(tasks)}};
}

}  // namespace fare
