// Runs the model on a study's items under interventions, keeps every item's outcome in the store, and gives plain numbers
// to the studies. What is in the store is not computed again.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "fare/core/progress.h"
#include "fare/diagnosis/study.h"
#include "fare/routing/intervention.h"
#include "fare/scoring/scorer.h"
#include "fare/store/store.h"

namespace fare {

// m = L(stereo) - L(anti) in nats under the three scorings.
struct Margins {
  double sum = 0;
  double mean = 0;                // per token
  std::optional<double> shared;   // over shared tokens; none without any
};

struct UtilityOutcome {
  double correct = 0;             // 1, 0, or 1/ties when a right choice ties for the highest log-likelihood
  double margin = 0;              // best right choice minus best wrong one, nats
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

class Measurer {
 public:
  // `store` may be null (nothing is kept). Everything referenced must outlive this object.
  Measurer(const Scorer& scorer, const Study& study, Store* store, const Progress& progress);
  ~Measurer();

  const Study& study() const { return study_; }
  const Scorer& scorer() const { return scorer_; }
  const RoutedModel& model() const { return model_; }
  const Progress& progress() const { return progress_; }

  // One Outcomes per intervention; a null pointer means the base. Order of `pairs` in Outcomes: items.pairs, then
  // items.nulls, then items.transfer.
  std::vector<Outcomes> evaluate(const Items& items, std::span<const Intervention* const> interventions);
  Outcomes base(const Items& items);

  // On the first `max_tokens` fed tokens of neutral text (whole texts). Deterministic and cheap, so nothing is stored.
  // Throws NumericError when the study has no neutral text.
  std::vector<Dose> doses(std::span<const Intervention* const> interventions, int64_t max_tokens);

  // Watches a run of requests without edits (routes, hidden states); nothing is stored.
  void observe(std::span<const Request> requests, const UnitObserver& observer);

  int64_t rows_computed() const { return rows_computed_; }  // rows times layers

 private:
  struct Neutral;  // the text behind doses, with its base run
  const Neutral& neutral(int64_t max_tokens);

  const Scorer& scorer_;
  const Study& study_;
  Store* store_;
  const Progress& progress_;
  RoutedModel model_;
  std::string fingerprint_;
  int64_t rows_computed_ = 0;
  std::set<std::string> finished_;                       // units in the store
  std::map<int64_t, std::unique_ptr<Neutral>> neutral_;  // by max_tokens
};

// True when two evaluations of the same items agree in every bit: the edit had no effect on them.
bool same_outcomes(const Outcomes& a, const Outcomes& b);

// Row key of an intervention: SHA-256 of its edits as JSON (name and model block left out); "" for the base.
std::string intervention_key(const Intervention* intervention);

}  // namespace fare
