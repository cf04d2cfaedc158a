// What the diagnosis reads of a subject: outcomes of items under edits, and the dose of an edit. The search, its
// controls and the look at the test split ask nothing else, so that a simulated subject can stand in for a model
// (fare/calibration).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fare/core/progress.h"
#include "fare/diagnosis/study.h"
#include "fare/routing/intervention.h"

namespace fare {

// m = L(stereo) - L(anti) in nats under the three scorings.
struct Margins {
  double sum = 0;
  double mean = 0;               // per token
  std::optional<double> shared;  // over shared tokens; none without any
};

struct UtilityOutcome {
  double correct = 0;  // 1, 0, or 1/ties when a right choice ties for the highest log-likelihood
  double margin = 0;   // best right choice minus best wrong one, nats
};

// Outcomes of one intervention (or the base) on the items asked for, in the order asked.
struct Outcomes {
  std::vector<Margins> pairs;
  std::vector<UtilityOutcome> utility;
};

// Which items: indices into a Study. `part` names the evaluation ("test", "rung1"): rows of one part are computed
// together, so that a continued run computes the same units.
struct Items {
  std::string part;
  std::vector<int64_t> pairs, nulls, transfer, utility;
};

// Effect on neutral text: mean KL(p_base || p_edited) in nats per token, and log-perplexity change.
struct Dose {
  double kl_nats = 0;
  double log_perplexity_change = 0;  // edited minus base, nats per token
};

class OutcomeSource {
 public:
  virtual ~OutcomeSource() = default;

  virtual const Study& study() const = 0;
  virtual const RoutedModel& model() const = 0;
  virtual const Progress& progress() const = 0;

  // One Outcomes per intervention; a null pointer means the base. Order of `pairs` in Outcomes: items.pairs, then
  // items.nulls, then items.transfer.
  virtual std::vector<Outcomes> evaluate(const Items& items, std::span<const Intervention* const> interventions) = 0;
  Outcomes base(const Items& items) {
    const Intervention* none = nullptr;
    return evaluate(items, {&none, 1}).front();
  }

  // On the first `max_tokens` fed tokens of neutral text (whole texts). Throws NumericError when the study has none.
  virtual std::vector<Dose> doses(std::span<const Intervention* const> interventions, int64_t max_tokens) = 0;

  // The same on the texts of the validation pairs: the dose of an edit that acts only on words which neutral text does
  // not hold. A subject that has no texts of its own gives doses().
  virtual std::vector<Dose> doses_on_pairs(std::span<const Intervention* const> interventions, int64_t max_tokens) {
    return doses(interventions, max_tokens);
  }
};

// True when two evaluations of the same items agree in every bit: the edit had no effect on them.
bool same_outcomes(const Outcomes& a, const Outcomes& b);

// Row key of an intervention: SHA-256 of its edits as JSON (name and model block left out); "" for the base.
std::string intervention_key(const Intervention* intervention);

}  // namespace fare
