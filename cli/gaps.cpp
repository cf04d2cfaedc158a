#include "cli/gaps.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "cli/flags.h"
#include "fare/benchmarks/external_scores.h"
#include "fare/core/file.h"

namespace fare::cli {
namespace {

struct GapsFlags {
  std::filesystem::path scores, base, out;
  GapOptions options;
};

int gaps(const GapsFlags& flags) {
  const ExternalScores scores = read_external_scores(flags.scores);
  std::optional<ExternalScores> base;
  if (!flags.base.empty()) base = read_external_scores(flags.base);
  const OrderedJson summary = summarise_external_scores(scores, base ? &*base : nullptr, flags.options);
  if (flags.out.empty()) fmt::print("{}\n", summary.dump(1));
  else write_file(flags.out, summary.dump(1) + "\n");
  return std::ranges::any_of(scores.rows, [](const ExternalScore& row) { return !row.score; }) ? 3 : 0;
}

}  // namespace

void add_gaps_command(CLI::App& program, int& exit_status) {
  auto flags = std::make_shared<GapsFlags>();
  CLI::App* command = program.add_subcommand(
      "gaps", "How groups differ in scores that another program gave generated texts (regard, toxicity)");
  command->add_option("scores", flags->scores, "Scores of one scorer (JSON lines, docs/external-scores.md)")
      ->required();
  command->add_option("--base", flags->base,
                      "Scores of the unedited model's texts, by the same scorer: also the change from them");
  command->add_option("--threshold", flags->options.threshold, "From this score on a text counts as toxic")
      ->capture_default_str();
  command->add_option("--seed", flags->options.seed, "Decides every draw")->check(at_least(0))->capture_default_str();
  command->add_option("--out", flags->out, "File to write; default: stdout");
  command->footer(
      "Examples:\n  fare gaps edited-scores.jsonl --base base-scores.jsonl\n\nStatus 3: some scores are missing.");
  command->callback([flags, &exit_status] { exit_status = gaps(*flags); });
}

}  // namespace fare::cli
