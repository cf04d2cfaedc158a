// Runs the model on a study's items under interventions, keeps every item's outcome in the store, and gives plain
// numbers to the studies. What is in the store is not computed again.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "fare/diagnosis/outcome_source.h"
#include "fare/scoring/scorer.h"
#include "fare/store/store.h"

namespace fare {

struct ChangedRows;

class Measurer : public OutcomeSource {
 public:
  // `store` may be null (nothing is kept). What is costly is divided over the store's ranks. Everything referenced must
  // outlive this object.
  Measurer(const Scorer& scorer, const Study& study, Store* store, const Progress& progress);
  ~Measurer() override;

  const Study& study() const override { return study_; }
  const Scorer& scorer() const { return scorer_; }
  const RoutedModel& model() const override { return model_; }
  const Progress& progress() const override { return progress_; }

  std::vector<Outcomes> evaluate(const Items& items, std::span<const Intervention* const> interventions) override;

  // Kept in the store, one row per intervention and set of texts.
  std::vector<Dose> doses(std::span<const Intervention* const> interventions, int64_t max_tokens) override;
  std::vector<Dose> doses_on_pairs(std::span<const Intervention* const> interventions, int64_t max_tokens) override;

  // Values that a part reads from the model past evaluate(), as texts kept in the store under `task` and their names:
  // what is missing is divided over ranks by `costs` and computed, some names at once, in calls of `compute`. A value
  // must not depend on which others are computed with it, nor on how often this is called before.
  using ComputeKept = std::function<std::vector<std::string>(std::span<const size_t> names)>;
  std::vector<std::string> kept(const std::string& task, const std::vector<std::string>& names,
                                std::span<const double> costs, const ComputeKept& compute);

  // Watches a run of requests without edits (routes, hidden states); nothing is stored.
  void observe(std::span<const Request> requests, const UnitObserver& observer);

  int64_t rows_computed() const { return rows_computed_; }   // rows times layers, of all ranks
  void count_rows(int64_t rows) { rows_computed_ += rows; }  // that a part computed past this object

 private:
  struct Texts;  // behind doses, with their base run
  // The first of them, up to max_tokens; made once for each `name`.
  const Texts& texts(const std::string& name, const std::vector<const Request*>& requests, int64_t max_tokens);
  std::vector<Dose> doses_of(std::span<const Intervention* const> interventions, const Texts& text);
  std::vector<Dose> compute_doses(std::span<const Intervention* const> interventions,
                                  const Texts& text);  // none of them empty
  Dose dose_of(const ChangedRows& changed, const Texts& text) const;
  // Those of `count` units, in parts of at most `most`, that were not asked for before and are not all stored.
  std::vector<std::vector<size_t>> parts_of(size_t count, size_t most, const std::function<std::string(size_t)>& name);
  Ranks& ranks();
  void share_rows_computed(int64_t before);  // adds what the other ranks computed since

  const Scorer& scorer_;
  const Study& study_;
  Store* store_;
  OneRank alone_;
  const Progress& progress_;
  RoutedModel model_;
  std::string fingerprint_;
  int64_t rows_computed_ = 0;
  std::set<std::string> finished_;                                           // units in the store when this was made
  std::set<std::string> asked_;                                              // units that this object was asked for
  std::map<std::pair<std::string, int64_t>, std::unique_ptr<Texts>> texts_;  // by name and max_tokens
};

}  // namespace fare
