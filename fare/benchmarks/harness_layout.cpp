#include "fare/benchmarks/harness_layout.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <map>
#include <set>

#include "fare/benchmarks/python_json.h"
#include "fare/core/error.h"
#include "fare/core/sha256.h"
#include "fare/stats/harness_stderr.h"

namespace fare {
namespace {

std::optional<double> mean(const std::vector<double>& values) {
  if (values.empty()) return std::nullopt;
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

OrderedJson text_or_null(const std::string& text) { return text.empty() ? OrderedJson(nullptr) : OrderedJson(text); }

OrderedJson text_or_null(const std::optional<std::string>& text) {
  return text ? OrderedJson(*text) : OrderedJson(nullptr);
}

OrderedJson number_or_null(const std::optional<int64_t>& number) {
  return number ? OrderedJson(*number) : OrderedJson(nullptr);
}

OrderedJson token(const std::optional<std::pair<std::string, int64_t>>& entry) {
  if (!entry) return OrderedJson::array({nullptr, "None"});  // as the harness spells a missing token
  return OrderedJson::array({entry->first, std::to_string(entry->second)});
}

void add_metrics(const std::vector<MetricAggregate>& metrics, OrderedJson& out) {
  for (const auto& metric : metrics) {
    out[metric.name + "," + metric.filter] = metric.value ? OrderedJson(*metric.value) : OrderedJson(nullptr);
    out[metric.name + "_stderr," + metric.filter] =
        metric.stderr_value ? OrderedJson(*metric.stderr_value) : OrderedJson("N/A");
  }
}

// Entries in alphabetical order of their key.
OrderedJson sorted(const std::map<std::string, OrderedJson>& entries) {
  OrderedJson out = OrderedJson::object();
  for (const auto& [key, value] : entries) out[key] = value;
  return out;
}

OrderedJson without_nulls(const OrderedJson& object) {
  OrderedJson out = OrderedJson::object();
  for (const auto& [key, value] : object.items())
    if (!value.is_null()) out[key] = value;
  return out;
}

// What the harness passes up to a group: the shots where its members agree, and the direction of each of their metrics,
// null where they do not. Groups in the order given, so that one whose members are groups that follow has neither.
void pass_up(std::span<const GroupResults> groups, std::map<std::string, OrderedJson>& num_shots,
             std::map<std::string, OrderedJson>& higher_is_better) {
  for (const auto& group : groups) {
    std::set<OrderedJson> shots;
    OrderedJson directions = OrderedJson::object();
    for (const auto& member : group.members) {
      if (const auto found = num_shots.find(member); found != num_shots.end()) shots.insert(found->second);
      const auto higher = higher_is_better.find(member);
      if (higher == higher_is_better.end()) continue;
      for (const auto& [metric, direction] : higher->second.items())
        if (!directions.contains(metric)) directions[metric] = direction;
        else if (directions[metric] != direction) directions[metric] = nullptr;
    }
    if (shots.size() == 1) num_shots[group.name] = *shots.begin();
    if (!directions.empty()) higher_is_better[group.name] = std::move(directions);
  }
}

}  // namespace

std::vector<MetricAggregate> aggregate_metrics(const TaskInfo& task, std::span<const SampleMetrics> samples) {
  std::vector<MetricAggregate> aggregates;
  for (const auto& info : task.metrics) {
    MetricAggregate aggregate;
    aggregate.name = info.name;
    aggregate.filter = info.filter;
    std::vector<double> values;
    for (const auto& sample : samples) {
      for (const auto& metric : sample) {
        if (metric.name != info.name || metric.filter != info.filter || info.pooled) continue;
        if (metric.value) values.push_back(*metric.value);
        else if (aggregate.reason.empty()) aggregate.reason = metric.reason;
      }
    }
    aggregate.num_values = static_cast<int64_t>(values.size());
    if (std::any_of(values.begin(), values.end(), [](double value) { return std::isnan(value); })) {
      aggregate.value = std::nan("");
      if (values.size() > 1) aggregate.stderr_value = std::nan("");
    } else {
      aggregate.value = mean(values);
      aggregate.stderr_value = stats::harness_mean_stderr(values).number;
    }
    if (aggregate.value) aggregate.reason.clear();
    else if (aggregate.reason.empty()) aggregate.reason = "no document was scored";
    aggregates.push_back(std::move(aggregate));
  }
  return aggregates;
}

OrderedJson run_config(const RunConfig& config) {
  return {{"model", config.model},
          {"model_args", config.model_args},
          {"model_num_parameters", config.model_num_parameters},
          {"model_dtype", config.model_dtype},
          {"model_revision", config.model_revision},
          {"model_sha", config.model_sha},
          {"batch_size", config.batch_size},
          {"batch_sizes", OrderedJson::array()},
          {"device", text_or_null(config.device)},
          {"use_cache", nullptr},
          {"limit", config.limit},
          {"bootstrap_iters", 0},
          {"gen_kwargs", OrderedJson::object()},
          {"random_seed", config.random_seed},
          {"numpy_seed", config.numpy_seed},
          {"torch_seed", config.torch_seed},
          {"fewshot_seed", config.fewshot_seed}};
}

OrderedJson results_object(const RunDescription& run, std::span<const TaskResults> tasks,
                           std::span<const GroupResults> groups, const OrderedJson& fare) {
  OrderedJson results = OrderedJson::object();
  OrderedJson group_results = OrderedJson::object();
  OrderedJson group_subtasks = OrderedJson::object();
  OrderedJson num_samples = OrderedJson::object();
  std::map<std::string, OrderedJson> configs, versions, num_shots, higher_is_better;
  for (const auto& task : tasks) {
    OrderedJson entry{{"name", task.name}, {"alias", task.alias}, {"sample_len", task.num_effective}};
    add_metrics(task.metrics, entry);
    results[task.name] = std::move(entry);
    configs[task.name] = without_nulls(task.config);
    versions[task.name] = task.version;
    num_shots[task.name] = task.num_fewshot;
    OrderedJson higher = OrderedJson::object();
    for (const auto& info : task.infos) {
      const bool reported =
          std::any_of(task.metrics.begin(), task.metrics.end(), [&](const auto& m) { return m.name == info.name; });
      if (reported)
        higher[info.name] = info.higher_is_better ? OrderedJson(*info.higher_is_better) : OrderedJson(nullptr);
    }
    higher_is_better[task.name] = std::move(higher);
    num_samples[task.name] = {{"original", task.num_original}, {"effective", task.num_effective}};
  }
  for (const auto& group : groups) {
    group_subtasks[group.name] = group.members;
    if (group.metrics.empty()) continue;
    OrderedJson entry{{"alias", group.alias}, {"name", group.name}, {"sample_len", group.num_samples}};
    add_metrics(group.metrics, entry);
    OrderedJson counts = OrderedJson::object();
    for (const auto& metric : group.metrics) counts[metric.name + "," + metric.filter] = metric.num_values;
    entry["sample_count"] = std::move(counts);
    results[group.name] = entry;
    group_results[group.name] = std::move(entry);
    versions[group.name] = group.version;
  }
  pass_up(groups, num_shots, higher_is_better);
  OrderedJson out{{"results", std::move(results)}};
  if (!group_results.empty()) out["groups"] = std::move(group_results);
  out["group_subtasks"] = std::move(group_subtasks);
  out["configs"] = sorted(configs);
  out["versions"] = sorted(versions);
  out["n-shot"] = sorted(num_shots);
  out["higher_is_better"] = sorted(higher_is_better);
  out["n-samples"] = std::move(num_samples);
  out["config"] = run.config;
  out["git_hash"] = text_or_null(run.git_hash);
  out["date"] = run.date;
  out["pretty_env_info"] = run.pretty_env_info;
  out["transformers_version"] = run.transformers_version.empty() ? "N/A" : run.transformers_version;
  out["lm_eval_version"] = run.lm_eval_version.empty() ? "N/A" : run.lm_eval_version;
  out["upper_git_hash"] = nullptr;
  out["tokenizer_pad_token"] = token(run.pad_token);
  out["tokenizer_eos_token"] = token(run.eos_token);
  out["tokenizer_bos_token"] = token(run.bos_token);
  out["eot_token_id"] = number_or_null(run.eot_token_id);
  out["max_length"] = number_or_null(run.max_length);
  OrderedJson hashes = OrderedJson::object();
  for (const auto& [task, hash] : run.task_hashes) hashes[task] = hash;
  out["task_hashes"] = std::move(hashes);
  out["model_source"] = run.model_source;
  out["model_name"] = run.model_name;
  out["model_name_sanitized"] = sanitize_model_name(run.model_name);
  out["system_instruction"] = text_or_null(run.system_instruction);
  out["system_instruction_sha"] =
      run.system_instruction ? OrderedJson(sha256_hex(*run.system_instruction)) : OrderedJson(nullptr);
  out["fewshot_as_multiturn"] = run.fewshot_as_multiturn;
  out["chat_template"] = text_or_null(run.chat_template);
  out["chat_template_sha"] = run.chat_template ? OrderedJson(sha256_hex(*run.chat_template)) : OrderedJson(nullptr);
  out["total_evaluation_time_seconds"] = python_float_text(run.total_seconds);
  if (!fare.is_null()) out["fare"] = fare;
  return out;
}

std::string results_text(const OrderedJson& results) { return python_json_dumps(results, 2); }

std::string sample_line(const Document& document, std::span<const RequestResult> results, const SampleMetrics& metrics,
                        const OrderedJson& fare, const TextFilter& filter) {
  check_result_count(document, results);
  OrderedJson arguments = OrderedJson::object();
  OrderedJson responses = OrderedJson::array();
  OrderedJson filtered = OrderedJson::array();
  for (size_t i = 0; i < results.size(); ++i) {
    const TextRequest& request = document.requests[i];
    if (request.extra) continue;
    OrderedJson argument = OrderedJson::object();
    OrderedJson leaf;
    if (request.kind == RequestKind::kGenerate) {
      argument = {{"arg_0", request.context}, {"arg_1", request.generation}};
      responses.push_back(OrderedJson::array({results[i].text}));
      filtered.push_back(filter.apply(results[i].text));
    } else if (request.kind == RequestKind::kRolling) {
      argument = {{"arg_0", request.continuation}};
      responses.push_back(OrderedJson::array({python_float_text(results[i].logprob_nats)}));
      filtered.push_back(python_float_text(results[i].logprob_nats));
    } else {
      argument = {{"arg_0", request.context}, {"arg_1", request.continuation}};
      const OrderedJson pair = OrderedJson::array(
          {python_float_text(results[i].logprob_nats), std::string(results[i].is_greedy ? "True" : "False")});
      responses.push_back(OrderedJson::array({pair}));
      filtered.push_back(pair);
    }
    arguments["gen_args_" + std::to_string(arguments.size())] = std::move(argument);
  }
  OrderedJson names = OrderedJson::array();
  for (const auto& metric : metrics)
    if (metric.filter == filter.name) names.push_back(metric.name);
  OrderedJson line{{"doc_id", document.doc_id},
                   {"doc", document.doc},
                   {"target", document.target},
                   {"arguments", std::move(arguments)},
                   {"resps", std::move(responses)},
                   {"filtered_resps", std::move(filtered)},
                   {"filter", filter.name},
                   {"metrics", std::move(names)},
                   {"doc_hash", doc_hash(document.doc)},
                   {"prompt_hash", prompt_hash(document)},
                   {"target_hash", target_hash(document.target)}};
  for (const auto& metric : metrics) {
    if (metric.filter != filter.name) continue;
    if (!metric.printed.is_null()) line[metric.name] = metric.printed;
    else line[metric.name] = metric.value ? OrderedJson(*metric.value) : OrderedJson(nullptr);
  }
  if (!fare.is_null()) line["fare"] = fare;
  return python_json_dumps(line);
}

std::string sample_lines(const Task& task, std::span<const Document> documents,
                         std::span<const std::vector<RequestResult>> results, std::span<const SampleMetrics> samples,
                         std::string& hash) {
  std::string lines;
  std::vector<SampleHashes> hashes;
  for (const TextFilter& filter : filters_of(task)) {
    for (size_t d = 0; d < documents.size(); ++d) {
      OrderedJson fare = sample_extension(documents[d], results[d], samples[d]);
      if (task.extension) fare.update(task.extension(documents[d], results[d]));
      lines += sample_line(documents[d], results[d], samples[d], fare, filter) + "\n";
      hashes.push_back({doc_hash(documents[d].doc), prompt_hash(documents[d]), target_hash(documents[d].target)});
    }
  }
  hash = task_hash(hashes);
  return lines;
}

OrderedJson sample_extension(const Document& document, std::span<const RequestResult> results,
                             const SampleMetrics& metrics) {
  OrderedJson counts = OrderedJson::array();
  OrderedJson truncated = OrderedJson::array();
  bool boundary_merge = false, generated = false, cut_off = false;
  for (size_t i = 0; i < results.size(); ++i) {
    boundary_merge = boundary_merge || results[i].boundary_merge;
    generated = generated || document.requests[i].kind == RequestKind::kGenerate;
    cut_off = cut_off || results[i].cut_off;
    if (document.requests[i].extra) continue;
    counts.push_back(results[i].token_ids.size());
    truncated.push_back(results[i].truncated_tokens);
  }
  OrderedJson reasons = OrderedJson::object();
  for (const auto& metric : metrics)
    if (!metric.value && metric.printed.is_null()) reasons[metric.name] = metric.reason;
  OrderedJson extension{{"item", document.item},
                        {"cluster", document.cluster},
                        {"axis", document.axis},
                        {"token_counts", std::move(counts)},
                        {"truncated_tokens", std::move(truncated)},
                        {"boundary_merge", boundary_merge},
                        {"flags", document.flags}};
  if (generated) extension["cut_off"] = cut_off;
  if (!reasons.empty()) extension["reasons"] = std::move(reasons);
  return extension;
}

std::string doc_hash(const OrderedJson& doc) { return sha256_hex(python_json_dumps(doc, 2)); }

std::string prompt_hash(const Document& document) {
  FARE_CHECK(!document.requests.empty(), "item '" + document.item + "' has no request");
  const TextRequest& first = document.requests.front();
  return sha256_hex(first.kind == RequestKind::kRolling ? first.continuation : first.context);
}

std::string target_hash(const std::string& target) { return sha256_hex(target); }

std::string task_hash(std::span<const SampleHashes> samples) {
  Sha256 hash;
  for (const auto& sample : samples) hash.add(sample.doc).add(sample.prompt).add(sample.target);
  return hash.hex();
}

std::string sanitize_model_name(const std::string& name) {
  constexpr std::string_view kReplaced = "\"<>:/|\\?*[]";
  std::string out;
  bool in_run = false;
  for (const char c : name) {
    const bool replaced = kReplaced.find(c) != std::string_view::npos;
    if (!replaced) out += c;
    else if (!in_run) out += "__";
    in_run = replaced;
  }
  return out;
}

std::string file_stamp(int64_t unix_microseconds) {
  std::time_t seconds = unix_microseconds / 1'000'000;
  int64_t micros = unix_microseconds % 1'000'000;
  if (micros < 0) micros += 1'000'000, --seconds;
  std::tm local{};
  localtime_r(&seconds, &local);
  char buffer[64];
  std::strftime(buffer, sizeof buffer, "%Y-%m-%dT%H-%M-%S", &local);
  std::string stamp = buffer;
  if (micros != 0) {
    std::snprintf(buffer, sizeof buffer, ".%06d", static_cast<int>(micros));
    stamp += buffer;
  }
  return stamp;
}

}  // namespace fare
