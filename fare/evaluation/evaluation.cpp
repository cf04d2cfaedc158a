#include "fare/evaluation/evaluation.h"

#include <fmt/format.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "fare/core/philox.h"
#include "fare/evaluation/baseline_comparison.h"
#include "fare/evaluation/fare_block.h"
#include "fare/evaluation/group_metrics.h"
#include "fare/evaluation/pool_texts.h"

namespace fare {
namespace {

// A random hundredth of the requests, at least one and at most 32 (each is a forward pass of its own), in rising order.
std::vector<size_t> rescored_sample(size_t num_requests, uint64_t seed) {
  const RandomStream random(seed, "eval/rescore");
  const size_t count = std::min<size_t>(32, (num_requests + 99) / 100);
  std::set<size_t> chosen;
  for (uint64_t d = 0; chosen.size() < count; ++d) chosen.insert(random.index(d, num_requests));
  return {chosen.begin(), chosen.end()};
}

std::optional<std::pair<std::string, int64_t>> token(const Tokenizer& tokenizer, std::optional<int32_t> id) {
  if (!id) return std::nullopt;
  return std::pair{tokenizer.id_to_token(*id).value_or(""), int64_t{*id}};
}

RunDescription describe(const Model& model, const Tokenizer& tokenizer, const EvaluationOptions& options,
                        int64_t max_length, int64_t start_microseconds) {
  const bool bf16 = model.execution().dtype == at::kBFloat16;
  RunConfig config;
  config.model = "fare";
  config.model_args = "pretrained=" + options.model_name + ",dtype=" + (bf16 ? "bfloat16" : "float32");
  for (const std::string& name : model.checkpoint().names())
    config.model_num_parameters += model.checkpoint().raw_tensor(name).num_elements();
  config.model_dtype = bf16 ? "torch.bfloat16" : "torch.float32";
  config.device = devices_text(model.execution().devices);
  if (options.limit) config.limit = *options.limit;
  config.random_seed = static_cast<int64_t>(options.seed);
  RunDescription run;
  run.config = run_config(config);
  run.date = static_cast<double>(start_microseconds) / 1e6;
  run.pretty_env_info = "FARE " + options.program_version + ", LibTorch " TORCH_VERSION ", products by " +
                        (bf16 ? "onednn" : backend_name(model.execution().backend));
  run.pad_token = token(tokenizer, tokenizer.pad_id());
  run.eos_token = token(tokenizer, tokenizer.eos_id());
  run.bos_token = token(tokenizer, tokenizer.bos_id());
  if (tokenizer.eos_id()) run.eot_token_id = *tokenizer.eos_id();
  run.max_length = max_length;
  run.chat_template = options.chat_template;
  run.fewshot_as_multiturn = options.chat_template.has_value();
  run.model_source = "fare";
  run.model_name = options.model_name;
  return run;
}

}  // namespace

Evaluation run_evaluation(const BenchmarkSet& set, const Model& model, const Tokenizer& tokenizer,
                          const Intervention* intervention, const EvaluationOptions& options,
                          int64_t start_microseconds, Store* store, const Progress& progress) {
  const auto began = std::chrono::steady_clock::now();
  const Scorer scorer(model, options.scorer);
  const RequestPool pool = pool_requests(set, tokenizer,
                                         {.max_length = scorer.max_length(),
                                          .vocab_size = model.spec().vocab_size,
                                          .prefix_token = options.prefix_token,
                                          .share = intervention == nullptr || !selects_requests(*intervention)});
  Evaluation evaluation;
  for (const LoadedBenchmark& task : set.tasks) evaluation.task_names.push_back(task.task->info.name);
  PoolScores baseline;
  if (options.baseline != nullptr) baseline = options.baseline->of(pool, evaluation.task_names, options.seed);
  PoolScores scores = score_pool(scorer, pool, evaluation.task_names, intervention, store, progress);
  write_pool_texts(model, tokenizer, pool, evaluation.task_names, intervention,
                   {scorer.max_length(), options.scorer.unit_rows, options.seed}, store, progress, scores);
  evaluation.receipt = scores.receipt;
  evaluation.num_units = scores.num_units;
  evaluation.num_units_stored = scores.num_units_stored;

  FareBlock block;
  const std::vector<size_t> rescored = rescored_sample(pool.requests.size(), options.seed);
  block.rescored = rescored.size();
  OneRank alone;
  Ranks& ranks = store != nullptr ? store->ranks() : alone;
  if (!rescored.empty())
    block.largest_rescoring_difference_nats =
        rescoring_difference(scorer, pool, rescored, intervention, scores, ranks, progress);

  RunDescription run = describe(model, tokenizer, options, scorer.max_length(), start_microseconds);
  std::vector<TaskResults> task_results;
  for (size_t t = 0; t < set.tasks.size(); ++t) {
    const LoadedBenchmark& loaded = set.tasks[t];
    TaskEvaluation task = evaluate_task(set, t, pool, scores, options.profiles);
    std::string hash;
    evaluation.sample_files.push_back(
        sample_lines(*loaded.task, loaded.data.documents, task.results, task.samples, hash));
    run.task_hashes.emplace_back(task.info.name, hash);
    task_results.push_back({task.info.name, task.info.alias.empty() ? task.info.name : task.info.alias,
                            task.info.version, task.info.num_fewshot, loaded.num_original,
                            static_cast<int64_t>(loaded.data.documents.size()), task.metrics, task.info.metrics,
                            task.info.config});
    for (const std::string& note : loaded.data.notes) evaluation.notes.push_back(task.info.name + ": " + note);
    if (task.counts.cut_off_texts > 0)
      evaluation.notes.push_back(fmt::format("{}: {} of {} texts were cut off at the most tokens allowed",
                                             task.info.name, task.counts.cut_off_texts, task.counts.num_requests));
    for (const LoadedFile& file : loaded.data.files)
      if (file.changed)
        evaluation.notes.push_back(task.info.name + ": " + file.path + " is not the published file; used as accepted");
    block.tasks.push_back(std::move(task));
  }
  block.model_fingerprint = store != nullptr || intervention != nullptr ? model.checkpoint().fingerprint() : "";
  if (options.baseline != nullptr && ranks.rank() == 0)
    block.comparisons = compare_with(set, pool, baseline, block.tasks, options);
  const OrderedJson fare = fare_block(block, set, model, intervention, scores, options, tokenizer);
  run.total_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  std::vector<GroupResults> groups = set.groups;
  for (GroupResults& group : groups) add_group_metrics(block.tasks, group);
  evaluation.results = results_object(run, task_results, groups, fare);
  return evaluation;
}

}  // namespace fare
