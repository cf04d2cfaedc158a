// fare: flags in, exit status out. One file per subcommand.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "cli/config_file.h"
#include "cli/diagnose.h"
#include "cli/eval.h"
#include "cli/generate.h"
#include "cli/lab.h"
#include "cli/process.h"
#include "cli/report.h"
#include "cli/score.h"
#include "cli/tasks.h"
#include "cli/tokenize.h"
#include "cli/validate.h"
#include "fare/core/error.h"

namespace {

enum ExitStatus { kDone = 0, kFailed = 1, kUsage = 2, kInterrupted = 130 };

int run(int argc, char** argv) {
  CLI::App program("Fairness-aware routing diagnosis of Mixture-of-Experts language models", "fare");
  program.set_version_flag("--version", std::string("fare ") + FARE_VERSION);
  program.require_subcommand(1);
  program.fallthrough(false);
  int status = kDone;
  const std::vector<std::string> command_line(argv, argv + argc);
  fare::cli::add_diagnose_command(program, status, command_line);
  fare::cli::add_score_command(program, status);
  fare::cli::add_eval_command(program, status);
  fare::cli::add_tasks_command(program, status);
  fare::cli::add_generate_command(program, status);
  fare::add_lab_command(program, status);
  fare::cli::add_report_command(program, status);
  fare::cli::add_tokenize_command(program, status);
  fare::cli::add_validate_command(program, status);

  std::vector<std::string> arguments(argv + 1, argv + argc);
  arguments = fare::cli::with_config_file(arguments, program);
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
  try {
    program.parse(arguments);
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? kDone : kUsage;
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  fare::cli::settle_process(argv);
  try {
    return run(argc, argv);
  } catch (const fare::UsageError& error) {
    fmt::print(stderr, "fare: {}\n", error.what());
    return kUsage;
  } catch (const fare::Interrupted&) {
    fmt::print(stderr, "\nfare: interrupted; finished work is kept\n");
    return kInterrupted;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "fare: out of memory; use a smaller model, --dtype bf16, or fewer requests at once\n");
    return kFailed;
  } catch (const std::exception& error) {
    fmt::print(stderr, "fare: {}\n", error.what());
    return kFailed;
  }
}
