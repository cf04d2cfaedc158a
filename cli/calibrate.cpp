#include "cli/calibrate.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <memory>

#include "cli/console.h"
#include "cli/flags.h"
#include "fare/calibration/calibration.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/parallel.h"
#include "fare/store/run_folder.h"
#include "fare/store/store.h"

namespace fare::cli {
namespace {

struct CalibrateFlags {
  CommonFlags common;
  CalibrationOptions options;
};

int calibrate_command(CalibrateFlags& flags) {
  const Progress progress = console(flags.common);
  flags.options.seed = flags.common.seed;
  flags.options.num_threads = flags.common.threads > 0 ? flags.common.threads : physical_cores();
  at::set_num_threads(1);  // replicates run side by side, each on its own thread
  const std::string build = build_hash();
  calibration_design(flags.options);  // a wrong --only is found before the folder is made
  const RunFolder folder(flags.common.out, "calibrate",
                         {{"quick", flags.options.quick, ""},
                          {"share", flags.options.share, ""},
                          {"only", flags.options.only, ""},
                          {"interval", stats::interval_name(flags.options.interval), ""},
                          {"seed", static_cast<int64_t>(flags.common.seed), ""}});
  Store store(folder.rows_path());
  const OrderedJson result = calibrate(flags.options, build, &store, progress);
  const std::string text = result.dump(1) + "\n";
  const std::filesystem::path file = flags.common.out / "calibration.json";
  write_file(file, text);
  if (const auto kept = calibration_path(build, flags.options.interval)) {
    // A quick run never takes the place of a full one.
    if (!result.at("quick").get<bool>() || !std::filesystem::exists(*kept) ||
        read_calibration(*kept).at("quick").get<bool>()) {
      std::filesystem::create_directories(kept->parent_path());
      write_file(*kept, text);
    }
  } else {
    warn("neither XDG_CACHE_HOME nor HOME is set: reports find this calibration by --calibration only");
  }
  int64_t missed = 0;
  for (const OrderedJson& mark : result.at("marks")) {
    if (mark.at("passed").is_null()) continue;
    const bool passed = mark.at("passed").get<bool>();
    missed += !passed;
    fmt::print("{}  {}: {:.4g} (asked: {:.4g} to {:.4g}; {} cells, worst {})\n", passed ? "holds " : "MISSED",
               mark.at("mark").get<std::string>(), mark.at("value").get<double>(), mark.at("low").get<double>(),
               mark.at("high").get<double>(), mark.at("cells").get<int64_t>(), mark.at("where").get<std::string>());
  }
  fmt::print("{}\n", file.string());
  return missed > 0 ? 3 : 0;
}

}  // namespace

void add_calibrate_command(CLI::App& program, int& exit_status) {
  auto flags = std::make_shared<CalibrateFlags>();
  CLI::App* command =
      program.add_subcommand("calibrate", "Measure how often the diagnosis of this build errs, on control models");
  command->add_flag("--quick", flags->options.quick,
                    "Few cells and replicates (minutes); a full run takes hours of one core");
  command
      ->add_option("--share", flags->options.share,
                   "Part of the replicates of a full run in every cell, above 0 up to 1; below 1 counts as quick")
      ->check(CLI::Range(0.001, 1.0))
      ->capture_default_str();
  command->add_option("--only", flags->options.only,
                      "Parts of the run: fixed, noise, or kinds of models (X1 ..); counts as quick");
  add_interval_flag(*command, flags->options.interval);
  command
      ->add_option("--threads", flags->common.threads,
                   "Replicates side by side; 0 = all physical cores; changes no number")
      ->check(at_least(0));
  command->add_option("--seed", flags->common.seed, "Decides every draw")->check(at_least(0))->capture_default_str();
  add_output_flag(*command, flags->common, true);
  add_console_flags(*command, flags->common);
  command->footer(
      "Examples:\n"
      "  fare calibrate --quick --out runs/calibration\n"
      "  fare calibrate --threads 4 --out runs/calibration");
  command->callback([flags, &exit_status] { exit_status = calibrate_command(*flags); });
}

}  // namespace fare::cli
