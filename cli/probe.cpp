#include "cli/probe.h"

#include <fmt/format.h>

#include <numeric>

#include "cli/console.h"
#include "cli/study_command.h"
#include "fare/diagnosis/null_fields.h"
#include "fare/diagnosis/router_profile.h"
#include "fare/diagnosis/subject.h"
#include "fare/report/run_folder.h"

namespace fare::cli {
namespace {

int probe_command(const StudyFlags& flags, const std::vector<std::string>& arguments) {
  const OpenedStudy opened = open_study(flags, "probe", {}, arguments, {.utility = false, .nulls_for_all = true});
  const Study& study = opened.study;
  Measurer measurer(*opened.scorer, study, opened.store.get(), opened.progress);
  DiagnosisOptions options;
  options.seed = flags.common.seed;
  options.num_threads = static_cast<int>(opened.info.threads);
  std::vector<int64_t> pairs(study.pairs.size());
  std::iota(pairs.begin(), pairs.end(), int64_t{0});
  const Sensitivity sensitivity = measure_sensitivity(measurer, options, pairs, "all");
  if (sensitivity.causal_zero_max > 1e-9) {
    warn(
        fmt::format("no answer: routing differs by {} bit before the first differing token of a pair, which a causal "
                    "model cannot do",
                    sensitivity.causal_zero_max));
    return 1;
  }
  OrderedJson report = {{"format", "fare-probe/1"}};
  report["model"] = model_json(*opened.model);
  report["data"] = data_json(study, sensitivity, flags.common.limit);
  report["answer"] = answer_name(sensitivity.answer.answer);
  report["sentence"] = fmt::format("Sensitive to demographic words: {} ({}).", answer_name(sensitivity.answer.answer),
                                   sensitivity.answer.reason);
  report["sensitivity"] = sensitivity_json(sensitivity);
  if (study.neutral.empty()) put_null(report, "router_profile", "no neutral text and no utility items were given");
  else report["router_profile"] = router_profile_json(profile_router(measurer));
  report["runtime"] = runtime_json(opened.info, flags.common.seed);
  return write_part(opened, report);
}

}  // namespace

void add_probe_command(CLI::App& program, int& exit_status, Ranks& ranks, const std::vector<std::string>& arguments) {
  auto flags = std::make_shared<StudyFlags>();
  flags->common.ranks = &ranks;
  CLI::App* command =
      program.add_subcommand("probe", "Does the router react to demographic words, and how does it spread its load?");
  add_study_flags(*command, *flags);
  command->footer(
      "Examples:\n"
      "  fare probe --model DIR --pairs pairs.jsonl --neutral neutral.jsonl --out RUN\n"
      "  fare probe --model DIR --tasks fare_crows_pairs --out RUN");
  command->callback([flags, &exit_status, &arguments] { exit_status = probe_command(*flags, arguments); });
}

}  // namespace fare::cli
