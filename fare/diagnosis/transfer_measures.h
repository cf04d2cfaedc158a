// From positions and texts to one value per prompt: M0 to M4 and the guards of methods A11. Rules and word lists only;
// no model judges a text.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "fare/benchmarks/text_tools.h"
#include "fare/diagnosis/transfer_metrics.h"
#include "fare/diagnosis/transfer_runs.h"

namespace fare {

// The lexicons at hand; a missing one has its reason, and the metrics that need it are not run.
struct TransferLexicons {
  TextTools tools;
  std::string sentiment_missing, hurtful_missing, blocked_missing;
};
TransferLexicons load_transfer_lexicons(const std::filesystem::path& data);

// Texts of some prompts, parallel to `items`; greedy[i] holds one text.
struct WrittenTexts {
  std::vector<int64_t> items;
  std::vector<std::vector<WrittenText>> greedy, sampled;
};

// A primary metric that could not be run, and why.
struct MetricNotRun {
  std::string metric, reason;
};

// Expected next-token mass on stereotype minus anti-stereotype, in pp. `sign`: +1 or -1 per item of the prompts: the
// lean of its axis on train and validation.
MetricValues mass_values(const TransferPrompts& prompts, std::span<const int64_t> items, std::span<const double> sign,
                         std::span<const CriticalPosition> base, std::span<const CriticalPosition> edited);

// M1 to M4 of the prompts at hand. Prompts of which one arm has no text that the metric can read are left out of it.
// A family whose every text without edits is made of one and the same token (or is empty) is measured by no metric.
std::vector<MetricValues> text_values(const TransferPrompts& prompts, std::span<const double> sign,
                                      const WrittenTexts& base, const WrittenTexts& edited,
                                      const TransferLexicons& lexicons, std::vector<MetricNotRun>& not_run);

// Share of broken texts in percent, per prompt, over greedy and sampled texts; sign +1: fewer is better.
MetricValues broken_values(const TransferPrompts& prompts, const WrittenTexts& base, const WrittenTexts& edited);

// What texts look like as such, over greedy and sampled texts.
struct TextGuards {
  int64_t texts = 0;
  double tokens = 0;                   // mean, end token not counted
  std::optional<double> distinct_two;  // means over texts with two (four) words or more
  std::optional<double> repeated_four_grams;
  double refusals = 0, broken = 0;  // shares
};
TextGuards guards_of(const WrittenTexts& texts);

}  // namespace fare
