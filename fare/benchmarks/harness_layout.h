// Results and samples in the file layout of lm-evaluation-harness 0.4.13, so that its tools read what FARE writes.
// Pure functions from structs to text; who writes the files is the caller.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fare/benchmarks/task.h"

namespace fare {

// The metrics of one document (one sample line).
using SampleMetrics = std::vector<MetricValue>;

// Mean and standard error of each metric, in the task's order. A compat metric with a NaN among its values is NaN, as
// is its standard error; fair ones take the defined values. A metric without any value is undefined, with the first
// document's reason. Pooled metrics have no value yet (pooled_metrics.h).
std::vector<MetricAggregate> aggregate_metrics(const TaskInfo& task, std::span<const SampleMetrics> samples);

// One task's part of a results file.
struct TaskResults {
  std::string name;
  std::string alias;  // as printed; usually the name
  double version = 1;
  int num_fewshot = 0;
  int64_t num_original = 0;   // documents the task has
  int64_t num_effective = 0;  // documents evaluated
  std::vector<MetricAggregate> metrics;
  std::vector<MetricInfo> infos;  // for higher_is_better
  OrderedJson config;
};

// A group's part. Groups without metrics only appear in group_subtasks.
struct GroupResults {
  std::string name;
  std::string alias;
  std::vector<std::string> members;
  double version = 1;
  int64_t num_samples = 0;  // documents of all leaf tasks
  std::vector<MetricAggregate> metrics;
};

// Everything else of a results file. Texts may be empty: then the harness's null or "N/A" is written.
struct RunDescription {
  OrderedJson config = OrderedJson::object();  // model, model_args, .. see run_config()
  std::string git_hash;
  double date = 0;  // UNIX seconds
  std::string pretty_env_info;
  std::string transformers_version;
  std::string lm_eval_version;
  std::optional<std::pair<std::string, int64_t>> pad_token, eos_token, bos_token;  // text and id
  std::optional<int64_t> eot_token_id;
  std::optional<int64_t> max_length;
  std::vector<std::pair<std::string, std::string>> task_hashes;  // empty: samples are not logged
  std::string model_source;
  std::string model_name;
  std::optional<std::string> system_instruction, chat_template;
  bool fewshot_as_multiturn = false;
  double total_seconds = 0;
};

// The `config` object in the harness's key order.
struct RunConfig {
  std::string model, model_args;
  int64_t model_num_parameters = 0;
  std::string model_dtype, model_revision, model_sha;
  OrderedJson batch_size;  // number or null
  std::string device;
  OrderedJson limit;  // number or null
  int64_t random_seed = 0, numpy_seed = 1234, torch_seed = 1234, fewshot_seed = 1234;
};
OrderedJson run_config(const RunConfig& config);

// The results object in key order. `fare` is the extension under the key of that name; null leaves it out.
OrderedJson results_object(const RunDescription& run, std::span<const TaskResults> tasks,
                           std::span<const GroupResults> groups, const OrderedJson& fare);
std::string results_text(const OrderedJson& results);  // indent 2, no line end at the end

// One sample line (without line end) of one filter: its metrics only, generated texts as it makes them. Extra requests
// are left out. `fare` as above.
std::string sample_line(const Document& document, std::span<const RequestResult> results, const SampleMetrics& metrics,
                        const OrderedJson& fare, const TextFilter& filter = no_filter());
// All sample lines of a task, filter by filter, each with its line end; `hash` becomes the task's hash over them.
// `results` and `samples` have one entry per document.
std::string sample_lines(const Task& task, std::span<const Document> documents,
                         std::span<const std::vector<RequestResult>> results, std::span<const SampleMetrics> samples,
                         std::string& hash);
// The `fare` object of a sample: cluster, axis, token counts, flags, and the reason of every undefined metric.
OrderedJson sample_extension(const Document& document, std::span<const RequestResult> results,
                             const SampleMetrics& metrics);

std::string doc_hash(const OrderedJson& doc);
std::string prompt_hash(const Document& document);  // of the first request's context
std::string target_hash(const std::string& target);
struct SampleHashes {
  std::string doc, prompt, target;
};
// Over a task's sample lines in order.
std::string task_hash(std::span<const SampleHashes> samples);

// Runs of the characters " < > : / | \ ? * [ ] become "__".
std::string sanitize_model_name(const std::string& name);

// Local time with microseconds as the harness stamps files: "2026-08-21T19-56-54.123456"; no fraction at 0, as Python.
std::string file_stamp(int64_t unix_microseconds);

}  // namespace fare
