// fare: flags in, exit status out. One file per subcommand.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "cli/calibrate.h"
#include "cli/config_file.h"
#include "cli/diagnose.h"
#include "cli/eval.h"
#include "cli/gaps.h"
#include "cli/generate.h"
#include "cli/lab.h"
#include "cli/launch.h"
#include "cli/mask.h"
#include "cli/probe.h"
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
    for (const CLI::App* inner : command->get_subcommands([](const CLI::App*) { return true; }))
      known.push_back(inner->get_name());
  std::string text = fmt::format("fare: '{}' has no {} '{}'{}", command->get_name(),
                                 is_flag         ? "flag"
                                 : known.empty() ? "argument"
                                                 : "command",
                                 unknown.front(), fare::did_you_mean(unknown.front(), known));
  if (!is_flag && !known.empty()) text += fmt::format("\n  commands: {}", fmt::join(known, ", "));
  return text + "\n";
}

// --config is taken out of the arguments before they are parsed (config_file.h); this declares it in every command's
// help.
void declare_config_flag(CLI::App& command) {
  const auto inner = command.get_subcommands([](const CLI::App*) { return true; });
  for (CLI::App* each : inner) declare_config_flag(*each);
  if (inner.empty())
    command.add_option_function<std::string>(
        "--config", [](const std::string&) {}, "TOML file that sets any of these flags; a flag wins");
}

int run(int argc, char** argv, fare::Ranks& ranks) {
  CLI::App program("Fairness-aware routing diagnosis of Mixture-of-Experts language models", "fare");
  program.set_version_flag("--version", std::string("fare ") + FARE_VERSION);
  program.require_subcommand(1);
  program.fallthrough(false);
  int status = kDone;
  const std::vector<std::string> command_line(argv, argv + argc);
  fare::cli::add_diagnose_command(program, status, ranks, command_line);
  fare::cli::add_probe_command(program, status, ranks, command_line);
  fare::cli::add_mask_command(program, status, ranks, command_line);
  fare::cli::add_calibrate_command(program, status);
  fare::cli::add_score_command(program, status, ranks);
  fare::cli::add_eval_command(program, status, ranks);
  fare::cli::add_tasks_command(program, status);
  fare::cli::add_generate_command(program, status, ranks);
  fare::cli::add_gaps_command(program, status);
  fare::add_lab_command(program, status);
  fare::cli::add_report_command(program, status);
  fare::cli::add_tokenize_command(program, status);
  fare::cli::add_validate_command(program, status);
  declare_config_flag(program);

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
  } catch (const CLI::ExtrasError&) {
    fmt::print(stderr, "{}Run with --help for more information.\n", unknown_argument(program));
    return kUsage;
  } catch (const CLI::ParseError& error) {
    if (const bool help = error.get_exit_code() == 0; help && program.get_subcommands().empty())
      if (const std::string unknown = unknown_argument(program); !unknown.empty()) {
        fmt::print(stderr, "{}", unknown);
        return kUsage;
      }
    return program.exit(error) == 0 ? kDone : kUsage;
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  fare::cli::settle_process(argv);
  std::unique_ptr<fare::Ranks> ranks;
  int status = kFailed;
  std::string message;
  try {
    ranks = fare::cli::join_ranks();
    if (ranks->rank() > 0 && (argc < 2 || !fare::cli::divides_work(argv[1]))) return kDone;
    status = run(argc, argv, *ranks);
    if (status != kFailed) return status;
  } catch (const fare::UsageError& error) {
    status = kUsage;
    message = fmt::format("fare: {}\n", error.what());
  } catch (const fare::Interrupted&) {
    status = kInterrupted;
    message = "\nfare: interrupted; finished work is kept\n";
  } catch (const std::bad_alloc&) {
    message = "fare: out of memory; use a smaller model, --dtype bf16, or fewer requests at once\n";
  } catch (const std::exception& error) {
    message = fmt::format("fare: {}\n", error.what());
  }
  // The others wait for this rank: they must not go on without it.
  if (ranks != nullptr && ranks->size() > 1) fare::cli::fail_all(*ranks, status, message);
  fmt::print(stderr, "{}", message);
  return status;
}
