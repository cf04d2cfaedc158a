// The searches of methods A6, from train and validation items to the points that each of them carries on: static bias
// by two optimisers, token-conditional control, a trained router. What is found is the best of these searches, never a
// proof.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fare/diagnosis/measure.h"
#include "fare/diagnosis/reach_detector.h"
#include "fare/diagnosis/reach_routes.h"
#include "fare/diagnosis/reach_search.h"
#include "fare/diagnosis/router_profile.h"
#include "fare/diagnosis/search.h"

namespace fare {

// The defaults are those of the full profile.
struct ReachOptions {
  ReachSteps gradient, perturbation, conditional;
  int64_t random_restarts = 3;  // beside 0 and the winner of the grid
  bool from_winner = true;
  std::vector<int64_t> ranks = {1, 2, 4};  // of I7c
  int64_t following = 8;                   // tokens after a demographic one that I7a touches
  int64_t pairs_per_step = 32, utility_per_step = 32;
  std::vector<RouterTraining> router;  // restarts of the trained router
  std::vector<int64_t> oracle_draws = {1, 2, 4, 8, 16, 32};
  int64_t choice_pairs = 0, choice_utility = 0;  // validation items by which snapshots are chosen; 0 = all

  static ReachOptions of(StudyProfile profile, uint64_t seed);
};

// One intervention that a search came past.
struct ReachSnapshot {
  Intervention intervention;
  int64_t breadth = 0;              // experts that it touches
  std::optional<double> dose_nats;  // on neutral text, where somebody measured it
};

// Everything that one search came past, in order. `bound`, `control_class`: of ReachPoint; `family`: I6, ..
struct ReachTrail {
  std::string bound, control_class, family;
  std::vector<ReachSnapshot> snapshots;
};

// A point that a search chose among its snapshots.
struct ReachPick {
  std::string bound, control_class, family;
  std::string constraint;  // "none", "within_tau"
  Intervention intervention;
  int64_t breadth = 0;
};

// The snapshot of the best shift (choose_best), named after its bound, and that of the best whose drop is within the
// tolerance. `standings`: of the snapshots, in order, on validation.
std::vector<ReachPick> pick_snapshots(const ReachTrail& trail, std::span<const Standing> standings, double tau_pp);

struct ReachFound {
  std::vector<ReachPick> picks;
  std::vector<Detector> detectors;  // of I7b
  struct Restart {
    double learning_rate = 0, preference_accuracy = 0, adoption = 0;
  };
  std::vector<Restart> router_restarts;
  std::vector<std::string> searched;  // one sentence per search: what was tried

  bool has(const std::string& bound) const;
};

// `signs` per axis. Looks at no test item. What a search found is kept in the measurer's store; searches are divided
// over ranks, and on a rank over threads where the model is narrow. Throws NumericError when train or validation hold
// no pair.
ReachFound run_reach_searches(Measurer& measurer, const SearchResult& search, const RouterProfile& profile,
                              const std::vector<int>& signs, const ReachOptions& how, const DiagnosisOptions& options);

// What the two optimisers of a static bias come past; nothing is chosen yet, and nothing kept in the store.
std::vector<ReachTrail> run_static_searches(Measurer& measurer, const SearchResult& search,
                                            const RouterProfile& profile, const std::vector<int>& signs,
                                            const ReachOptions& how, const DiagnosisOptions& options);

}  // namespace fare
