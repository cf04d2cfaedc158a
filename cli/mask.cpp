#include "cli/mask.h"

#include <algorithm>

#include "cli/console.h"
#include "cli/study_command.h"
#include "fare/diagnosis/masking.h"
#include "fare/diagnosis/subject.h"
#include "fare/report/run_folder.h"

namespace fare::cli {
namespace {

struct MaskFlags : StudyFlags {
  std::string profile = "small";
  int64_t mask_size = 0;
};

int mask_command(const MaskFlags& flags, const std::vector<std::string>& arguments) {
  std::vector<Setting> settings = {{"profile", flags.profile, ""}};
  if (flags.mask_size > 0) settings.push_back({"mask-size", flags.mask_size, ""});
  const OpenedStudy opened = open_study(flags, "mask", settings, arguments, {});
  const Study& study = opened.study;
  Measurer measurer(*opened.scorer, study, opened.store.get(), opened.progress);
  DiagnosisOptions options = DiagnosisOptions::of(flags.profile == "full" ? StudyProfile::kFull : StudyProfile::kSmall);
  options.seed = flags.common.seed;
  options.mask_size = flags.mask_size;
  options.num_threads = static_cast<int>(opened.info.threads);

  const RouterProfile profile = profile_router(measurer);
  const ExpertScores scores = score_experts(measurer, profile, options);
  const std::vector<ExpertScore> knowledge = score_knowledge(measurer, options);
  // Signs of the axes are fixed on train and validation, groups on train; only then the test split is read.
  Items fit;
  fit.part = "fit";
  fit.pairs = study.pairs_in(SplitPart::kTrain);
  const auto validation = study.pairs_in(SplitPart::kValidation);
  fit.pairs.insert(fit.pairs.end(), validation.begin(), validation.end());
  std::sort(fit.pairs.begin(), fit.pairs.end());
  const std::vector<int> signs = axis_signs(study, fit.pairs, measurer.base(fit).pairs);
  const TestOutcomes test = open_test(measurer, SearchResult());
  const Masking masking = mask_groups(measurer, scores, knowledge, profile, test, signs, options);

  OrderedJson report = {{"format", "fare-mask/1"}};
  report["model"] = model_json(*opened.model);
  report["data"] = data_json(study, Sensitivity(), flags.common.limit);
  report["data"]["nulls"] = OrderedJson::array();  // none is read here
  report["splits"] = splits_json(study, flags.common.seed);
  report["sentence"] = masking.sentence;
  report["experts"] = experts_json(scores);
  report["expert_scores"] = expert_scores_json(scores);
  report["masking"] = masking_json(masking);
  report["profile"] = flags.profile;
  report["runtime"] = runtime_json(opened.info, flags.common.seed);
  return write_part(opened, report);
}

}  // namespace

void add_mask_command(CLI::App& program, int& exit_status, Ranks& ranks, const std::vector<std::string>& arguments) {
  auto flags = std::make_shared<MaskFlags>();
  flags->common.ranks = &ranks;
  CLI::App* command =
      program.add_subcommand("mask", "What masking the nominated experts does, beside groups matched to them");
  add_study_flags(*command, *flags);
  add_masking_flags(*command, flags->profile, flags->mask_size);
  command->footer(
      "Examples:\n"
      "  fare mask --model DIR --pairs pairs.jsonl --utility utility.jsonl --neutral neutral.jsonl --out RUN\n"
      "  fare mask --model DIR --tasks fare_crows_pairs --utility-tasks truthfulqa_mc1 --mask-size 20 --out RUN");
  command->callback([flags, &exit_status, &arguments] { exit_status = mask_command(*flags, arguments); });
}

}  // namespace fare::cli
