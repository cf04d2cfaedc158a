#include "cli/eval.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/chat_flags.h"
#include "cli/console.h"
#include "cli/flags.h"
#include "fare/core/error.h"
#include "fare/core/sha256.h"
#include "fare/evaluation/calibration_outputs.h"
#include "fare/evaluation/chat_requests.h"
#include "fare/evaluation/evaluation.h"
#include "fare/evaluation/result_table.h"
#include "fare/store/run_folder.h"

namespace fare::cli {
namespace {

namespace fs = std::filesystem;

struct EvalFlags {
  CommonFlags common;
  std::vector<std::string> tasks, metrics;
  std::optional<int64_t> num_fewshot, limit;
  std::optional<int32_t> prefix_token;
  std::vector<fs::path> config_tasks;
  fs::path intervention, baseline;
  int64_t unit_rows = 4096;
  bool chat_template = false, accept_changed_data = false, allow_no_effect = false;
};

Profiles profiles_of(const std::vector<std::string>& names) {
  if (names.empty()) return {};
  Profiles profiles{false, false};
  for (const std::string& name : names) {
    if (name == "compat") profiles.compat = true;
    else if (name == "fair") profiles.fair = true;
    else throw UsageError("--metrics " + name + ": the profiles are compat and fair");
  }
  return profiles;
}

// Choices that auto flags leave open are made once per run folder.
void keep_stored_choices(CommonFlags& flags, const fs::path& folder) {
  for (const auto& [flag, value] : {std::pair{"dtype", &flags.dtype}, std::pair{"matmul", &flags.matmul}}) {
    if (*value != "auto") continue;
    const auto stored = RunFolder::stored(folder, flag);
    if (stored && std::holds_alternative<std::string>(*stored)) *value = std::get<std::string>(*stored);
  }
}

std::vector<Setting> settings_of(const EvalFlags& flags, const BenchmarkSet& set, const Model& model,
                                 const Intervention* intervention, const ChatTemplate* chat_template,
                                 const StoredScores* baseline) {
  const bool bf16 = model.execution().dtype == at::kBFloat16;
  std::vector<std::string> profiles;
  const Profiles wanted = profiles_of(flags.metrics);
  if (wanted.compat) profiles.push_back("compat");
  if (wanted.fair) profiles.push_back("fair");
  std::vector<Setting> settings{{"model", flags.common.model.string(), model.checkpoint().fingerprint()},
                                {"metrics", profiles, ""},
                                {"data", data_folder(flags.common).string(), "sha256:" + data_sha256(set)},
                                {"out", flags.common.out.string(), ""},
                                {"dtype", std::string(bf16 ? "bf16" : "f32"), ""},
                                {"matmul", bf16 ? std::string("onednn") : backend_name(model.execution().backend), ""},
                                {"max-length", flags.common.max_length, ""},
                                {"threads", int64_t{flags.common.threads}, ""},
                                {"seed", static_cast<int64_t>(flags.common.seed), ""},
                                {"unit-rows", flags.unit_rows, ""}};
  for (const auto& [flag, value] : reading_choices(flags.common)) settings.push_back({flag, value, ""});
  std::vector<std::string> names, descriptions;  // a task of the user's own is named by its file
  for (size_t t = 0; t + set.own.size() < set.tasks.size(); ++t) names.push_back(set.tasks[t].task->info.name);
  for (const fs::path& path : flags.config_tasks) descriptions.push_back(path.string());
  if (!names.empty()) settings.push_back({"tasks", names, ""});
  if (!descriptions.empty()) settings.push_back({"config-task", descriptions, ""});
  if (flags.limit) settings.push_back({"limit", *flags.limit, ""});
  if (flags.num_fewshot) settings.push_back({"num-fewshot", *flags.num_fewshot, ""});
  if (flags.prefix_token) settings.push_back({"prefix-token", int64_t{*flags.prefix_token}, ""});
  if (chat_template != nullptr)
    settings.push_back({"chat-template", true, "sha256:" + sha256_hex(chat_template->source())});
  if (flags.accept_changed_data) settings.push_back({"accept-changed-data", true, ""});
  if (baseline != nullptr) settings.push_back({"baseline", flags.baseline.string(), "sha256:" + baseline->sha256()});
  if (intervention != nullptr)
    settings.push_back({"intervention", flags.intervention.string(), "sha256:" + intervention->sha256});
  return settings;
}

// The path of the model as it names the results: without a slash at its end; of a continued run as it was first
// written.
std::string model_name(const fs::path& model, const fs::path& folder) {
  std::string name = model.string();
  if (const auto stored = RunFolder::stored(folder, "model"); stored && std::holds_alternative<std::string>(*stored))
    name = std::get<std::string>(*stored);
  while (name.size() > 1 && name.ends_with('/')) name.pop_back();
  return name;
}

int evaluate(EvalFlags& flags) {
  const Progress progress = console(flags.common);
  const Profiles profiles = profiles_of(flags.metrics);
  BenchmarkSet set =
      load_benchmarks({flags.tasks,
                       flags.config_tasks,
                       {data_folder(flags.common), flags.accept_changed_data, std::nullopt, profiles.fair},
                       flags.limit,
                       flags.num_fewshot});
  std::optional<Intervention> intervention;
  if (!flags.intervention.empty()) intervention = Intervention::read(flags.intervention);
  const Intervention* edits = intervention ? &*intervention : nullptr;

  const fs::path folder_path = run_folder_of(flags.common.out);
  std::optional<StoredScores> baseline;
  if (!flags.baseline.empty()) {
    std::error_code failed;
    if (fs::equivalent(run_folder_of(flags.baseline), folder_path, failed))
      throw UsageError("--baseline and --out name the same folder; a run is compared with another one");
    baseline.emplace(run_folder_of(flags.baseline));
  }
  Ranks& ranks = *flags.common.ranks;
  const bool first = ranks.rank() == 0;
  if (first) keep_stored_choices(flags.common, folder_path);
  const auto model = open_model(flags.common, progress);
  if (edits != nullptr) edits->check(model->routed());
  if (flags.prefix_token && (*flags.prefix_token < 0 || *flags.prefix_token >= model->spec().vocab_size))
    throw UsageError(fmt::format("--prefix-token {} lies outside the vocabulary of {}", *flags.prefix_token,
                                 model->spec().vocab_size));
  const auto tokenizer = Tokenizer::open(flags.common.model);
  if (intervention && needs_calibration(*intervention)) {
    Intervention* calibrated = &*intervention;
    take_calibration_outputs({&calibrated, 1}, *model, *tokenizer, flags.common.max_length, flags.prefix_token);
  }
  std::unique_ptr<ChatTemplate> chat_template;
  if (flags.chat_template) {
    chat_template = open_chat_template(flags.common.model, {}, "--chat-template");
    apply_chat_template(*chat_template, *tokenizer, set);
  } else {
    note_plain_prompts(set);
  }

  std::vector<std::string> task_names;
  for (const LoadedBenchmark& task : set.tasks) task_names.push_back(task.task->info.name);
  if (first)
    RunFolder(folder_path, "eval",
              settings_of(flags, set, *model, edits, chat_template.get(), baseline ? &*baseline : nullptr));
  EvaluationOptions options;
  options.profiles = profiles;
  options.scorer.max_length = flags.common.max_length;
  options.scorer.unit_rows = flags.unit_rows;
  options.prefix_token = flags.prefix_token;
  options.seed = flags.common.seed;
  if (first) options.model_name = model_name(flags.common.model, folder_path);
  options.program_version = FARE_VERSION;
  options.limit = flags.limit;
  options.baseline = baseline ? &*baseline : nullptr;
  options.num_threads = at::get_num_threads();
  if (chat_template) options.chat_template = chat_template->source();
  const int64_t start = first ? first_start(folder_path) : 0;
  Store store(folder_path, ranks);
  const Evaluation evaluation = run_evaluation(set, *model, *tokenizer, edits, options, start, &store, progress);
  if (!first) return 0;
  if (evaluation.num_units_stored > 0)
    progress.say(fmt::format("{} of {} units were there from an earlier run", evaluation.num_units_stored,
                             evaluation.num_units));

  const ResultPaths paths = result_paths(flags.common.out, options.model_name, task_names, start);
  write_evaluation(evaluation, paths);
  fmt::print("{}\n", result_table(evaluation.results));
  if (baseline) fmt::print("{}\n", comparison_table(evaluation.results));
  for (const std::string& note : evaluation.notes) fmt::print("{}\n", note);
  fmt::print("results in {}, {} sample file{} beside it\n", paths.results.string(), paths.samples.size(),
             paths.samples.size() == 1 ? "" : "s");
  std::fflush(stdout);
  if (edits != nullptr && evaluation.receipt.no_effect()) {
    warn(fmt::format("intervention '{}' had no effect: no token's experts or weights changed", edits->name));
    if (!flags.allow_no_effect) return 3;
  }
  return 0;
}

}  // namespace

void add_eval_command(CLI::App& program, int& exit_status, Ranks& ranks) {
  auto flags = std::make_shared<EvalFlags>();
  flags->common.ranks = &ranks;
  CLI::App* command =
      program.add_subcommand("eval", "Named benchmarks, results in the layout of lm-evaluation-harness");
  add_model_flags(*command, flags->common);
  command->add_option("--tasks", flags->tasks, "Tasks and groups, separated by commas (fare tasks lists them)")
      ->delimiter(',');
  command->add_option("--config-task", flags->config_tasks,
                      "A task of your own, described in a TOML file (docs/task-toml.md); may be repeated");
  add_output_flag(*command, flags->common, true);
  add_data_flag(*command, flags->common);
  command->add_option("--limit", flags->limit, "Only the first N documents of each task")->check(at_least(1));
  command->add_option("--num-fewshot", flags->num_fewshot, "Examples before each question; the task's own by default")
      ->check(at_least(0));
  command->add_flag(
      "--chat-template", flags->chat_template,
      "Put questions through the checkpoint's chat template: description as system message, examples as turns");
  command->add_option("--metrics", flags->metrics, "compat (the harness's), fair (FARE's own) or both; default both")
      ->delimiter(',');
  command->add_option("--intervention", flags->intervention, "Intervention file (fare-intervention/1)");
  command->add_option("--baseline", flags->baseline,
                      "Folder of an earlier run of the same tasks: every metric's change from it, with interval and p");
  command->add_flag("--allow-no-effect", flags->allow_no_effect, "An intervention without effect is not status 3");
  command->add_flag("--accept-changed-data", flags->accept_changed_data,
                    "Use data files that differ from the published ones; recorded in the results");
  command->add_option("--prefix-token", flags->prefix_token, "Token id that stands in for an empty context")
      ->check(at_least(0));
  command->add_option("--unit-rows", flags->unit_rows, "Rows computed together; larger is faster and takes more memory")
      ->check(at_least(1))
      ->capture_default_str();
  command->add_option("--seed", flags->common.seed, "Decides which requests are scored a second time as a check")
      ->check(at_least(0))
      ->capture_default_str();
  add_console_flags(*command, flags->common);
  command->footer(
      "Examples:\n"
      "  fare eval --model DIR --tasks crows_pairs_english,fare_crows_pairs --data DATA --out RUN\n"
      "  fare eval --model DIR --tasks truthfulqa --limit 100 --intervention edit.json --data DATA --out RUN\n"
      "  fare eval --model DIR --tasks truthfulqa --limit 100 --intervention edit.json --baseline BASE --data DATA "
      "--out RUN");
  command->callback([flags, &exit_status] { exit_status = evaluate(*flags); });
}

}  // namespace fare::cli
