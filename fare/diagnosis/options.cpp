#include "fare/diagnosis/options.h"

#include <cmath>

#include "fare/core/error.h"

namespace fare {
namespace {

constexpr Margin kMargins[] = {
    {"alpha", &Thresholds::alpha, "", "error rate of every test"},
    {"delta_S", &Thresholds::sensitivity_dz, "SD",
     "least standardised excess of the demographic divergence over the null"},
    {"sensitivity_bits", &Thresholds::sensitivity_bits, "bit", "least mean excess divergence"},
    {"sensitivity_ratio", &Thresholds::sensitivity_ratio, "", "least ratio of demographic to null divergence"},
    {"delta_B", &Thresholds::shift_pp, "pp", "least bias level, and least shift that counts as control"},
    {"tau", &Thresholds::pooled_drop_pp, "pp", "largest tolerated drop of the pooled utility"},
    {"tau_truthfulqa_mc1", &Thresholds::truthfulqa_mc1_drop_pp, "pp", "the same for TruthfulQA MC1, where it was run"},
    {"tau_perplexity", &Thresholds::perplexity_drop_percent, "%",
     "the same for perplexity, from 20,000 neutral tokens on"},
    {"delta_G", &Thresholds::transfer_pp, "pp", "least change of a generation metric"},
    {"delta_G_sd", &Thresholds::transfer_sd, "SD", "the same for metrics measured in standard deviations"}};

}  // namespace

std::span<const Margin> margins() { return kMargins; }

void set_margin(Thresholds& thresholds, const std::string& name, double value) {
  std::string known;
  for (const Margin& margin : kMargins) {
    known += (known.empty() ? "" : ", ") + std::string(margin.name);
    if (name != margin.name) continue;
    if (!(value > 0) || !std::isfinite(value))
      throw UsageError("--margin " + name + ": " + std::to_string(value) + " is not a positive number");
    thresholds.*margin.value = value;
    return;
  }
  throw UsageError("--margin: unknown margin '" + name + "'; accepted: " + known);
}

DiagnosisOptions DiagnosisOptions::of(StudyProfile profile) {
  DiagnosisOptions options;
  options.profile = profile;
  if (profile == StudyProfile::kSmall) return options;
  options.families = {"I1", "I2", "I3", "I4", "I5"};  // the last two as single configurations
  options.scores = {"s1", "s3", "combined"};
  options.breadths = {2, 10, 30, 100, 300};
  options.strengths = {0.5, 1, 2, 4};
  options.layer_sets = {"all", "early", "middle", "late"};
  options.random_controls = 160;
  options.survivors = 90;
  options.dose_controls = 100;
  options.steering_layers = 0;
  options.mask_draws = 100;
  options.causal_pairs = 0;  // all of train
  options.neutral_tokens = 20000;
  return options;
}

}  // namespace fare
