#include "cli/diagnose.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <memory>

#include "cli/console.h"
#include "cli/flags.h"
#include "cli/versions.h"
#include "fare/benchmarks/registry.h"
#include "fare/benchmarks/study_from_task.h"
#include "fare/calibration/calibration.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/sha256.h"
#include "fare/diagnosis/diagnose.h"
#include "fare/report/run_folder.h"
#include "fare/store/run_folder.h"
#include "fare/store/store.h"

namespace fare::cli {
namespace {

// From this many pairs of a user's own on, shifts of 2.5 pp can be decided (methods A10).
constexpr size_t kManyPairs = 2000;
constexpr double kShiftManyPairs = 2.5;

struct DiagnoseFlags {
  CommonFlags common;
  StudyFiles files;
  std::vector<std::string> tasks, utility_tasks;
  std::string profile = "small";
  std::filesystem::path calibration;
};

std::string file_hash(const std::filesystem::path& path) { return "sha256:" + sha256_hex(read_file(path)); }

// Benchmarks as study data. `hashes` gets one entry per data file read.
StudyItems from_tasks(const DiagnoseFlags& flags, std::vector<Setting>& settings) {
  StudyItems items;
  LoadOptions load;
  load.data = data_folder(flags.common);
  const auto add = [&](const std::string& role, const std::vector<std::string>& names, auto&& take) {
    for (const Task* task : resolve_tasks(names)) {
      const LoadedTask loaded = task->load(load);
      const size_t count = take(*task, loaded);
      Study::SourceFile file;
      file.role = role;
      file.name = task->info.name;
      Sha256 hash;
      for (const LoadedFile& one : loaded.files) hash.add(one.sha256);
      file.sha256 = "sha256:" + hash.hex();
      file.items = static_cast<int64_t>(count);
      settings.push_back({role + "-task-" + task->info.name, task->info.name, file.sha256});
      items.files.push_back(std::move(file));
    }
  };
  add("pairs", flags.tasks, [&](const Task& task, const LoadedTask& loaded) {
    auto pairs = study_pairs(task, loaded);
    const size_t count = pairs.size();
    std::move(pairs.begin(), pairs.end(), std::back_inserter(items.pairs));
    return count;
  });
  add("utility", flags.utility_tasks, [&](const Task& task, const LoadedTask& loaded) {
    auto utility = study_utility(task, loaded);
    const size_t count = utility.size();
    std::move(utility.begin(), utility.end(), std::back_inserter(items.utility));
    return count;
  });
  if (!flags.files.neutral.empty()) {
    items.neutral = read_neutral(flags.files.neutral).items;
    Study::SourceFile file;
    file.role = "neutral";
    file.name = flags.files.neutral.filename().string();
    file.sha256 = file_hash(flags.files.neutral);
    file.items = static_cast<int64_t>(items.neutral.size());
    items.files.push_back(std::move(file));
  }
  return items;
}

int diagnose_command(const DiagnoseFlags& flags, const std::vector<std::string>& arguments) {
  Progress progress = console(flags.common);
  const bool by_files = !flags.files.pairs.empty() || !flags.files.utility.empty();
  const bool by_tasks = !flags.tasks.empty() || !flags.utility_tasks.empty();
  if (by_files == by_tasks)
    throw UsageError("give either --pairs and --utility, or --tasks and --utility-tasks");
  if (by_files && (flags.files.pairs.empty() || flags.files.utility.empty()))
    throw UsageError("--pairs and --utility go together: control is judged by its cost");
  if (by_tasks && (flags.tasks.empty() || flags.utility_tasks.empty()))
    throw UsageError("--tasks and --utility-tasks go together: control is judged by its cost");

  // Everything is read and checked before a model is opened.
  if (!flags.calibration.empty()) read_calibration(flags.calibration);
  std::vector<Setting> settings;
  StudyItems items = by_files ? read_study(flags.files) : from_tasks(flags, settings);

  const auto checkpoint = Checkpoint::open(flags.common.model);
  CommonFlags common = flags.common;
  Ranks& ranks = *common.ranks;
  const bool first = ranks.rank() == 0;
  if (const auto stored = first ? RunFolder::stored(flags.common.out, "matmul") : std::nullopt; stored && common.matmul == "auto")
    common.matmul = std::get<std::string>(*stored);
  const auto model = open_model(common, progress);
  const std::string dtype = model->execution().dtype == at::kBFloat16 ? "bf16" : "f32";
  settings.push_back({"model", flags.common.model.string(), checkpoint->fingerprint()});
  for (const auto& [flag, path] : {std::pair{"pairs", &flags.files.pairs}, std::pair{"utility", &flags.files.utility},
                                   std::pair{"neutral", &flags.files.neutral},
                                   std::pair{"generation", &flags.files.generation}})
    if (!path->empty()) settings.push_back({flag, path->string(), file_hash(*path)});
  if (by_tasks) {
    settings.push_back({"tasks", flags.tasks, ""});
    settings.push_back({"utility-tasks", flags.utility_tasks, ""});
  }
  settings.push_back({"profile", flags.profile, ""});
  settings.push_back({"seed", static_cast<int64_t>(flags.common.seed), ""});
  settings.push_back({"limit", flags.common.limit, ""});
  settings.push_back({"max-length", flags.common.max_length, ""});
  settings.push_back({"dtype", dtype, ""});
  settings.push_back({"matmul", backend_name(model->execution().backend), ""});
  for (const auto& [flag, value] : reading_choices(flags.common)) settings.push_back({flag, value, ""});
  const std::filesystem::path folder = first ? RunFolder(flags.common.out, "diagnose", settings).path() : "";
  if (first) log_to_file(progress, folder / "log.txt");
  Store store(flags.common.out, ranks);

  const auto tokenizer = Tokenizer::open(flags.common.model);
  const TextEncoder encoder(*tokenizer);
  ScorerOptions scorer_options;
  scorer_options.max_length = flags.common.max_length;
  scorer_options.unit_rows = int64_t{1} << 40;  // the diagnosis cuts its own units, whole items each
  const Scorer scorer(*model, scorer_options);
  const Study study = make_study(std::move(items), encoder, scorer.max_length(), model->spec().vocab_size,
                                 flags.common.seed, flags.common.limit);

  DiagnosisOptions options =
      DiagnosisOptions::of(flags.profile == "full" ? StudyProfile::kFull : StudyProfile::kSmall);
  options.seed = flags.common.seed;
  options.num_threads = at::get_num_threads();
  if (by_files && study.pairs.size() >= kManyPairs) options.thresholds.shift_pp = kShiftManyPairs;
  RunInfo info;
  info.command = arguments;
  info.dtype = dtype;
  info.backend = dtype == "bf16" ? "onednn" : backend_name(model->execution().backend);
  info.threads = at::get_num_threads();
  info.limit = flags.common.limit;
  info.versions = versions();
  info.commit = commit();
  Diagnosis result = diagnose(scorer, study, &store, folder, options, info, progress);
  for (const std::string& failure : result.failures) warn(failure);
  if (!result.failures.empty()) {
    warn("no verdict: a required self-check failed; the rows computed so far are kept in " + store.path().string());
    return 1;
  }
  if (!first) return 0;
  put_calibration(result.report, flags.calibration);
  write_report(folder, result.report);
  fmt::print("{}\n{}\n", result.report["headline"]["sentence"].get<std::string>(),
             (folder / "report.html").string());
  int64_t skipped = 0;
  for (const Study::SourceFile& file : study.files) skipped += file.skipped;
  for (const std::string& warning : result.warnings) warn(warning);
  if (skipped > 0) warn(fmt::format("{} items were skipped; the report says which and why", skipped));
  return skipped > 0 || !result.warnings.empty() ? 3 : 0;
}

}  // namespace

void add_diagnose_command(CLI::App& program, int& exit_status, Ranks& ranks, const std::vector<std::string>& arguments) {
  auto flags = std::make_shared<DiagnoseFlags>();
  flags->common.ranks = &ranks;
  CLI::App* command = program.add_subcommand("diagnose", "Is stereotype preference under the router's control, and at what cost?");
  add_model_flags(*command, flags->common);
  command->add_option("--pairs", flags->files.pairs, "Pairs of a user's own (JSON lines, docs/study-data.md)");
  command->add_option("--utility", flags->files.utility, "Utility items of a user's own (JSON lines)");
  command->add_option("--neutral", flags->files.neutral, "Neutral text (JSON lines); default: the utility items' contexts");
  command->add_option("--generation", flags->files.generation, "Generation prompts (JSON lines); checked, not used yet");
  command->add_option("--tasks", flags->tasks, "Benchmarks that give the pairs, e.g. fare_crows_pairs")->delimiter(',');
  command->add_option("--utility-tasks", flags->utility_tasks, "Benchmarks that give the utility items, e.g. truthfulqa_mc1")
      ->delimiter(',');
  command->add_option("--calibration", flags->calibration,
                      "A calibration.json to show beside the verdict; default: that of this build, where fare calibrate was run");
  command->add_option("--profile", flags->profile, "small (CPU, a look) or full")->check(CLI::IsMember({"small", "full"}));
  add_output_flag(*command, flags->common, true);
  command->add_option("--seed", flags->common.seed, "Seed of splits, resampling and random controls");
  command->add_option("--limit", flags->common.limit, "First N pairs and utility items only; the report says so")
      ->check(CLI::NonNegativeNumber);
  add_data_flag(*command, flags->common);
  add_console_flags(*command, flags->common);
  command->footer("Examples:\n"
                  "  fare diagnose --model DIR --pairs pairs.jsonl --utility utility.jsonl --neutral neutral.jsonl --out RUN\n"
                  "  fare diagnose --model DIR --tasks fare_crows_pairs --utility-tasks truthfulqa_mc1 --out RUN");
  command->callback([flags, &exit_status, &arguments] { exit_status = diagnose_command(*flags, arguments); });
}

}  // namespace fare::cli
