#include "fare/lab/control_options.h"

#include "fare/core/error.h"

namespace fare {

const std::vector<Recipe>& recipes() {
  static const std::vector<Recipe> table = {
      {.id = "X1",
       .name = "separable",
       .bias = BiasPlace::kSideExperts,
       .headline = "controllable",
       .stages = {"yes", "yes", "yes", "yes", "yes", "yes"},
       .why = "the stereotype sits in two experts of their own: masking them removes it and costs no fact"},
      {.id = "X2",
       .name = "entangled",
       .bias = BiasPlace::kFactExperts,
       .graded_facts = true,
       .mirrored = true,
       .headline = "costly",
       .stages = {"yes", "yes", "yes", "yes", "no", "any"},
       .why = "stereotypes and facts share experts in equal numbers: what removes a share of one removes the same share "
              "of the other"},
      {.id = "X5",
       .name = "out of reach",
       .bias = BiasPlace::kUnembedding,
       .headline = "unachievable",
       .stages = {"yes", "yes", "no", "no", "any", "any"},
       .why = "the router reacts to groups, but the stereotype sits in the output matrix: no route changes it"},
      {.id = "X9",
       .name = "none",
       .bias = BiasPlace::kSideExperts,
       .biased = false,
       .headline = "no_measurable_preference",
       .stages = {"no", "yes", "any", "any", "any", "any"},
       .why = "the routers of X1 without a stereotype: every cluster is balanced"},
  };
  return table;
}

const Recipe& recipe(const std::string& id) {
  std::string known;
  for (const Recipe& line : recipes()) {
    if (line.id == id) return line;
    known += (known.empty() ? "" : ", ") + line.id;
  }
  throw UsageError("fare lab make " + id + ": unknown model; known are " + known + " and random");
}

void check_options(const ControlOptions& options) {
  const Recipe& made = recipe(options.id);
  const LabFamily family = lab_family(options.family, "--family");
  if (options.weights != "renormalised" && options.weights != "raw")
    throw UsageError("--weights " + options.weights + ": accepted: renormalised, raw");
  if (family == LabFamily::kMixtral && options.weights == "raw")
    throw UsageError("--weights raw: Mixtral always renormalises its weights; use --family olmoe");
  const auto within = [](const char* flag, int64_t value, int64_t low, int64_t high) {
    if (value < low || value > high)
      throw UsageError(std::string(flag) + " " + std::to_string(value) + ": accepted: " + std::to_string(low) + " to " +
                       std::to_string(high));
  };
  within("--pairs", options.pairs, 8, 20000);
  within("--transfer-pairs", options.transfer_pairs, 0, 10000);
  within("--facts", options.facts, 12, 20000);
  within("--utility", options.utility, options.facts, 100000);
  within("--prompts", options.prompts, 0, 20000);
  within("--neutral-tokens", options.neutral_tokens, 100, 10000000);
  if (!made.biased && options.pairs % 2 != 0)
    throw UsageError("--pairs " + std::to_string(options.pairs) + ": " + made.id +
                     " balances its clusters, it needs an even number");
  if (!(options.bias_pp > 0 && options.bias_pp <= 45))
    throw UsageError("--bias-pp " + std::to_string(options.bias_pp) + ": accepted: above 0, up to 45");
}

}  // namespace fare
