#include "cli/diagnose.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <charconv>
#include <memory>
#include <optional>

#include "cli/console.h"
#include "cli/study_command.h"
#include "fare/calibration/calibration.h"
#include "fare/core/error.h"
#include "fare/diagnosis/plan.h"
#include "fare/report/run_folder.h"

namespace fare::cli {
namespace {

// From this many pairs of a user's own on, shifts of 2.5 pp can be decided (methods A10).
constexpr size_t kManyPairs = 2000;
constexpr double kShiftManyPairs = 2.5;
constexpr double kProbeSeconds = 20;

struct DiagnoseFlags : StudyFlags {
  std::string profile = "small";
  int64_t mask_size = 0;
  std::filesystem::path calibration;
  stats::IntervalKind interval = stats::IntervalKind::kPercentile;
  std::vector<std::string> margins;  // "delta_B=2.5"
  bool dry_run = false;
  bool positive_control = false;
};

// Encodes them, and notes in the study how many of a user's own could be used.
TransferInput transfer_input(OpenPrompts open, const DiagnoseFlags& flags, bool by_tasks, const Tokenizer& tokenizer,
                             const TextEncoder& encoder, int64_t max_length, Study& study) {
  TransferInput input;
  input.tokenizer = &tokenizer;
  // Half of the context length is left to what is written.
  input.prompts = make_transfer_prompts(std::move(open), study, encoder, max_length / 2, flags.common.seed);
  if (by_tasks) input.lexicons = load_transfer_lexicons(data_folder(flags.common));
  for (Study::SourceFile& file : study.files)
    for (const PromptSource& source : input.prompts.sources) {
      if (file.role != "generation" || file.name != source.name) continue;
      file.skipped = source.skipped;
      file.used = source.prompts - source.skipped;
      file.note = source.note;
    }
  return input;
}

// "NAME=VALUE" each; unknown names and bad values are found before anything is opened.
std::vector<std::pair<std::string, double>> parse_margins(const std::vector<std::string>& texts) {
  std::vector<std::pair<std::string, double>> margins;
  Thresholds trial;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    double value = 0;
    const char* begin = text.data() + (equals == std::string::npos ? text.size() : equals + 1);
    const auto [end, error] = std::from_chars(begin, text.data() + text.size(), value);
    if (equals == std::string::npos || error != std::errc() || end != text.data() + text.size())
      throw UsageError("--margin " + text + ": expected NAME=VALUE, for example delta_B=2.5");
    margins.emplace_back(text.substr(0, equals), value);
    set_margin(trial, margins.back().first, value);
  }
  return margins;
}

int diagnose_command(const DiagnoseFlags& flags, const std::vector<std::string>& arguments) {
  if (!flags.calibration.empty()) read_calibration(flags.calibration);
  if (flags.common.out.empty() && !flags.dry_run) throw UsageError("--out: name the folder of the run");
  const std::vector<std::pair<std::string, double>> asked_margins = parse_margins(flags.margins);
  std::vector<Setting> settings = {{"profile", flags.profile, ""}};
  if (flags.mask_size > 0) settings.push_back({"mask-size", flags.mask_size, ""});
  if (flags.positive_control) settings.push_back({"positive-control", true, ""});
  if (flags.interval != stats::IntervalKind::kPercentile)
    settings.push_back({"interval", stats::interval_name(flags.interval), ""});
  if (!flags.margins.empty()) settings.push_back({"margin", flags.margins, ""});
  OpenedStudy opened = open_study(flags, "diagnose", settings, arguments, {.prompts = true, .kept = !flags.dry_run});
  Study& study = opened.study;
  std::optional<TransferInput> written;
  if (!opened.by_files || !flags.files.generation.empty())
    written = transfer_input(std::move(opened.prompts), flags, !opened.by_files, *opened.tokenizer,
                             TextEncoder(*opened.tokenizer), opened.scorer->max_length(), study);

  DiagnosisOptions options = DiagnosisOptions::of(flags.profile == "full" ? StudyProfile::kFull : StudyProfile::kSmall);
  options.seed = flags.common.seed;
  options.mask_size = flags.mask_size;
  options.positive_control = flags.positive_control;
  options.interval = flags.interval;
  options.num_threads = at::get_num_threads();
  if (opened.by_files && study.pairs.size() >= kManyPairs) options.thresholds.shift_pp = kShiftManyPairs;
  for (const auto& [name, value] : asked_margins) set_margin(options.thresholds, name, value);
  if (flags.dry_run) {
    if (opened.first)
      fmt::print("{}", plan_text(plan_diagnosis(*opened.scorer, study, options, kProbeSeconds, opened.progress)));
    return 0;
  }
  const TextEncoder encoder(*opened.tokenizer);
  PositiveControlInput planted;
  planted.encoder = &encoder;
  planted.open_store = [&](const std::string& level) {
    const std::filesystem::path folder = flags.common.out / "positive_control" / level;
    std::filesystem::create_directories(folder);
    return std::make_unique<Store>(folder, *flags.common.ranks);
  };
  Diagnosis result =
      diagnose(*opened.scorer, study, opened.store.get(), opened.folder, options, opened.info, opened.progress,
               written ? &*written : nullptr, flags.positive_control ? &planted : nullptr);
  for (const std::string& failure : result.failures) warn(failure);
  if (!result.failures.empty()) {
    warn("no verdict: a required self-check failed; the rows computed so far are kept in " +
         opened.store->path().string());
    return 1;
  }
  if (!opened.first) return 0;
  put_calibration(result.report, flags.calibration);
  write_report(opened.folder, result.report);
  fmt::print("{}\n{}\n", result.report["headline"]["sentence"].get<std::string>(),
             (opened.folder / "report.html").string());
  int64_t skipped = 0;
  for (const Study::SourceFile& file : study.files) skipped += file.skipped;
  for (const std::string& warning : result.warnings) warn(warning);
  if (skipped > 0) warn(fmt::format("{} items were skipped; the report says which and why", skipped));
  return skipped > 0 || !result.warnings.empty() ? 3 : 0;
}

}  // namespace

void add_diagnose_command(CLI::App& program, int& exit_status, Ranks& ranks,
                          const std::vector<std::string>& arguments) {
  auto flags = std::make_shared<DiagnoseFlags>();
  flags->common.ranks = &ranks;
  CLI::App* command =
      program.add_subcommand("diagnose", "Is stereotype preference under the router's control, and at what cost?");
  add_study_flags(*command, *flags, false);
  command->add_option(
      "--generation", flags->files.generation,
      "Prompts to be continued, with what may follow (JSON lines): does the control reach written text?");
  command->add_option(
      "--calibration", flags->calibration,
      "A calibration.json to show beside the verdict; default: that of this build, where fare calibrate was run");
  add_masking_flags(*command, flags->profile, flags->mask_size);
  command->add_option("--margin", flags->margins,
                      "NAME=VALUE: a margin of thresholds.json other than its default (repeatable)");
  add_interval_flag(*command, flags->interval);
  command->add_flag(
      "--positive-control", flags->positive_control,
      "Also plant an expert with a known preference into the model and look how small it may be to be found: the "
      "detection limit beside the verdict. Costs up to four further searches");
  command->add_flag("--dry-run", flags->dry_run,
                    "Only say what would be run, with time and memory from a probe of 20 seconds; writes nothing");
  command->footer(
      "Examples:\n"
      "  fare diagnose --model DIR --pairs pairs.jsonl --utility utility.jsonl --neutral neutral.jsonl --out RUN\n"
      "  fare diagnose --model DIR --tasks fare_crows_pairs --utility-tasks truthfulqa_mc1 --out RUN\n"
      "  fare diagnose --model DIR --pairs pairs.jsonl --utility utility.jsonl --dry-run");
  command->callback([flags, &exit_status, &arguments] { exit_status = diagnose_command(*flags, arguments); });
}

}  // namespace fare::cli
