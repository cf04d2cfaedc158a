// fare: flags in, exit status out. One file per subcommand.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "cli/calibrate.h"
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

// What the command line holds that the innermost command named on it does not know; "" when a thing is only missing.
std::string unknown_argument(const CLI::App& program) {
  const CLI::App* command = &program;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  const std::vector<std::string> unknown = command->remaining();
  if (unknown.empty()) return "";
  std::vector<std::string> known;
  const bool is_flag = unknown.front().starts_with("-");
  if (is_flag)
    for (const CLI::Option* option : command->get_options()) known.push_back(option->get_name());
  else
    for (const CLI::App* inner : command->get_subcommands([](const CLI::App*) { return true; })) known.push_back(inner->get_name());
  std::string text = fmt::format("fare: '{}' has no {} '{}'{}", command->get_name(), is_flag ? "flag" : known.empty() ? "argument" : "command",
                                 unknown.front(), fare::did_you_mean(unknown.front(), known));
  if (!is_flag && !known.empty()) text += fmt::format("\n  commands: {}", fmt::join(known, ", "));
  return text + "\n";
}

int run(int argc, char** argv) {
  CLI::App program("Fairness-aware routing diagnosis of Mixture-of-Experts language models", "fare");
  program.set_version_flag("--version", std::string("fare ") + FARE_VERSION);
  program.require_subcommand(1);
  program.fallthrough(false);
  int status = kDone;
  const std::vector<std::string> command_line(argv, argv + argc);
  fare::cli::add_diagnose_command(program, status, command_line);
  fare::cli::add_calibrate_command(program, status);
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
  } catch (const CLI::RequiredError& error) {
    // A misspelt name is why something else is missing.
    fmt::print(stderr, "{}", unknown_argument(program));
    program.exit(error);
    return kUsage;
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
