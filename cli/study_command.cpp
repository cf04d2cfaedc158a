#include "cli/study_command.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <set>

#include "cli/console.h"
#include "cli/versions.h"
#include "fare/benchmarks/registry.h"
#include "fare/benchmarks/study_from_task.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/sha256.h"
#include "fare/diagnosis/null_pairs.h"
#include "fare/report/run_folder.h"

namespace fare::cli {
namespace {

constexpr size_t kMostTransferPairs = 1000;  // of each task named for the transfer set

// Benchmarks as study data. `hashes` gets one entry per data file read.
StudyItems from_tasks(const StudyFlags& flags, std::vector<Setting>& settings) {
  StudyItems items;
  LoadOptions load;
  load.data = data_folder(flags.common);
  const auto add = [&](const std::string& role, const std::vector<const Task*>& tasks, auto&& take) {
    for (const Task* task : tasks) {
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
  const auto keep_pairs = [&](std::vector<StudyPair> pairs) {
    std::move(pairs.begin(), pairs.end(), std::back_inserter(items.pairs));
    return pairs.size();
  };
  std::vector<const Task*> main, transfer;
  for (const Task* task : resolve_tasks(flags.tasks)) (is_transfer_task(*task) ? transfer : main).push_back(task);
  if (main.empty()) std::swap(main, transfer);  // what stands alone is searched on
  add("pairs", main, [&](const Task& task, const LoadedTask& loaded) { return keep_pairs(study_pairs(task, loaded)); });
  std::set<std::string> axes;
  for (const StudyPair& pair : items.pairs) axes.insert(pair.axis);
  add("pairs", transfer, [&](const Task& task, const LoadedTask& loaded) {
    return keep_pairs(transfer_pairs(task, loaded, axes, kMostTransferPairs));
  });
  std::vector<const Task*> questions;
  if (!flags.utility_tasks.empty()) questions = resolve_tasks(flags.utility_tasks);
  add("utility", questions, [&](const Task& task, const LoadedTask& loaded) {
    auto utility = study_utility(task, loaded, clusters_by_subject(questions));
    const size_t count = utility.size();
    std::move(utility.begin(), utility.end(), std::back_inserter(items.utility));
    return count;
  });
  if (!flags.files.generation.empty()) {
    Study::SourceFile file;
    file.role = "generation";
    file.name = flags.files.generation.filename().string();
    file.sha256 = file_hash(flags.files.generation);
    file.items = static_cast<int64_t>(read_generation(flags.files.generation).items.size());
    items.files.push_back(std::move(file));
  }
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

// Prompts whose texts are read: a user's own and, beside benchmarks as pairs, those of every benchmark at hand.
OpenPrompts open_prompts(const StudyFlags& flags, bool by_tasks, std::vector<Setting>& settings) {
  OpenPrompts open;
  if (by_tasks) open = benchmark_prompts(data_folder(flags.common), flags.common.seed, flags.common.limit);
  for (const PromptSource& source : open.sources) {
    Sha256 hash;
    for (const LoadedFile& file : source.files) hash.add(file.sha256);
    settings.push_back(
        {"generation-task-" + source.name, source.name, source.files.empty() ? "not there" : "sha256:" + hash.hex()});
  }
  if (flags.files.generation.empty()) return open;
  auto own = read_generation(flags.files.generation).items;
  if (flags.common.limit > 0 && static_cast<int64_t>(own.size()) > flags.common.limit)
    own.resize(static_cast<size_t>(flags.common.limit));
  OpenPrompts added = own_prompts(own, flags.files.generation.filename().string());
  std::move(added.prompts.begin(), added.prompts.end(), std::back_inserter(open.prompts));
  open.sources.push_back(added.sources.front());
  return open;
}

// Whether the data comes from files; throws where flags do not go together.
bool checked_by_files(const StudyFlags& flags, bool needs_utility) {
  const bool by_files = !flags.files.pairs.empty() || !flags.files.utility.empty();
  const bool by_tasks = !flags.tasks.empty() || !flags.utility_tasks.empty();
  if (by_files == by_tasks)
    throw UsageError(needs_utility ? "give either --pairs and --utility, or --tasks and --utility-tasks"
                                   : "give either --pairs or --tasks");
  if (by_files && (flags.files.pairs.empty() || (needs_utility && flags.files.utility.empty())))
    throw UsageError(needs_utility ? "--pairs and --utility go together: control is judged by its cost"
                                   : "--pairs is missing");
  if (by_tasks && (flags.tasks.empty() || (needs_utility && flags.utility_tasks.empty())))
    throw UsageError(needs_utility ? "--tasks and --utility-tasks go together: control is judged by its cost"
                                   : "--tasks is missing");
  return by_files;
}

}  // namespace

std::string file_hash(const std::filesystem::path& path) { return "sha256:" + sha256_hex(read_file(path)); }

void add_study_flags(CLI::App& command, StudyFlags& flags, bool needs_out) {
  add_model_flags(command, flags.common);
  command.add_option("--pairs", flags.files.pairs, "Pairs of a user's own (JSON lines, docs/study-data.md)");
  command.add_option("--utility", flags.files.utility, "Utility items of a user's own (JSON lines)");
  command.add_option("--neutral", flags.files.neutral,
                     "Neutral text (JSON lines); default: the utility items' contexts");
  command
      .add_option("--tasks", flags.tasks,
                  "Benchmarks that give the pairs, e.g. fare_crows_pairs; fare_winobias and bbq beside them are the "
                  "transfer set")
      ->delimiter(',');
  command
      .add_option("--utility-tasks", flags.utility_tasks, "Benchmarks that give the utility items, e.g. truthfulqa_mc1")
      ->delimiter(',');
  add_output_flag(command, flags.common, needs_out);
  command.add_option("--seed", flags.common.seed, "Seed of splits, resampling and random controls")
      ->check(at_least(0))
      ->capture_default_str();
  command.add_option("--limit", flags.common.limit, "First N pairs and utility items only; the report says so")
      ->check(at_least(0))
      ->capture_default_str();
  add_data_flag(command, flags.common);
  add_console_flags(command, flags.common);
}

void add_masking_flags(CLI::App& command, std::string& profile, int64_t& mask_size) {
  command.add_option("--profile", profile, "small (CPU, a look) or full")
      ->check(CLI::IsMember({"small", "full"}))
      ->capture_default_str();
  command
      .add_option("--mask-size", mask_size,
                  "Experts in a group of the masking tests (default 10, at most an eighth of all)")
      ->check(at_least(1));
}

OrderedJson runtime_json(const RunInfo& info, uint64_t seed) {
  return {{"command", info.command}, {"device", info.device}, {"dtype", info.dtype},       {"backend", info.backend},
          {"threads", info.threads}, {"seed", seed},          {"versions", info.versions}, {"commit", info.commit}};
}

int write_part(const OpenedStudy& opened, const OrderedJson& report) {
  if (!opened.first) return 0;
  write_report(opened.folder, report);
  fmt::print("{}\n{}\n", report["sentence"].get<std::string>(), (opened.folder / "report.html").string());
  int64_t skipped = 0;
  for (const Study::SourceFile& file : opened.study.files) skipped += file.skipped;
  if (skipped > 0) warn(fmt::format("{} items were skipped; the report says which and why", skipped));
  return skipped > 0 ? 3 : 0;
}

OpenedStudy open_study(const StudyFlags& flags, const std::string& command, const std::vector<Setting>& own_settings,
                       const std::vector<std::string>& arguments, const StudyNeeds& needs) {
  OpenedStudy opened;
  opened.progress = console(flags.common);
  opened.by_files = checked_by_files(flags, needs.utility);

  // Everything is read and checked before a model is opened.
  std::vector<Setting> settings;
  StudyItems items = opened.by_files ? read_study(flags.files) : from_tasks(flags, settings);
  if (needs.prompts) opened.prompts = open_prompts(flags, !opened.by_files, settings);

  const auto checkpoint = Checkpoint::open(flags.common.model);
  CommonFlags common = flags.common;
  Ranks& ranks = *common.ranks;
  opened.first = ranks.rank() == 0;
  if (const auto stored = opened.first && needs.kept ? RunFolder::stored(flags.common.out, "matmul") : std::nullopt;
      stored && common.matmul == "auto")
    common.matmul = std::get<std::string>(*stored);
  opened.model = open_model(common, opened.progress);
  const Model& model = *opened.model;
  const std::string dtype = model.execution().dtype == at::kBFloat16 ? "bf16" : "f32";
  settings.push_back({"model", flags.common.model.string(), checkpoint->fingerprint()});
  for (const auto& [flag, path] :
       {std::pair{"pairs", &flags.files.pairs}, std::pair{"utility", &flags.files.utility},
        std::pair{"neutral", &flags.files.neutral}, std::pair{"generation", &flags.files.generation}})
    if (!path->empty()) settings.push_back({flag, path->string(), file_hash(*path)});
  if (!opened.by_files) {
    settings.push_back({"tasks", flags.tasks, ""});
    settings.push_back({"utility-tasks", flags.utility_tasks, ""});
  }
  settings.insert(settings.end(), own_settings.begin(), own_settings.end());
  settings.push_back({"seed", static_cast<int64_t>(flags.common.seed), ""});
  settings.push_back({"limit", flags.common.limit, ""});
  settings.push_back({"max-length", flags.common.max_length, ""});
  settings.push_back({"dtype", dtype, ""});
  settings.push_back({"matmul", backend_name(model.execution().backend), ""});
  for (const auto& [flag, value] : reading_choices(flags.common)) settings.push_back({flag, value, ""});
  if (opened.first && needs.kept) {
    opened.folder = RunFolder(flags.common.out, command, settings).path();
    log_to_file(opened.progress, opened.folder / "log.txt");
  }
  if (needs.kept) opened.store = std::make_unique<Store>(flags.common.out, ranks);

  opened.tokenizer = Tokenizer::open(flags.common.model);
  const TextEncoder encoder(*opened.tokenizer);
  ScorerOptions scorer_options;
  scorer_options.max_length = flags.common.max_length;
  scorer_options.unit_rows = int64_t{1} << 40;  // studies cut their own units, whole items each
  opened.scorer = std::make_unique<Scorer>(model, scorer_options);
  const int64_t max_length = opened.scorer->max_length();
  opened.study =
      make_study(std::move(items), encoder, max_length, model.spec().vocab_size, flags.common.seed, flags.common.limit);
  std::vector<int64_t> with_nulls = opened.study.pairs_in(SplitPart::kTrain);
  if (needs.nulls_for_all) {
    with_nulls.resize(opened.study.pairs.size());
    for (size_t i = 0; i < with_nulls.size(); ++i) with_nulls[i] = static_cast<int64_t>(i);
  }
  add_null_pairs(opened.study, encoder, model, max_length, with_nulls,
                 read_word_lists(data_folder(flags.common) / "seat"), flags.common.seed);

  opened.info.command = arguments;
  opened.info.dtype = dtype;
  opened.info.backend = dtype == "bf16" ? "onednn" : backend_name(model.execution().backend);
  opened.info.threads = at::get_num_threads();
  opened.info.limit = flags.common.limit;
  opened.info.versions = versions();
  opened.info.commit = commit();
  opened.info.spelling = [tokenizer = opened.tokenizer.get()](int32_t token) { return tokenizer->decode({&token, 1}); };
  return opened;
}

}  // namespace fare::cli
