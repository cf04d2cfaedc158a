// Random directions of equal dose (methods A5): a move toward 50% that random damage also makes is not debiasing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/test_outcomes.h"

namespace fare {

// What a search for a strength found: the strength whose dose lies nearest the target on a logarithmic scale.
struct MatchedDose {
  double lambda = 0;
  double dose_nats = 0;
  bool matched = false;  // within the tolerance
};
// Looks for the strength whose dose (rising with the strength, apart from jumps) is `target` > 0 within the relative
// `tolerance`: the square law of small strengths, then interpolation of log dose over log strength in a bracket. Ends
// where a jump sits inside a bracket that is not worth dividing, where more strength no longer raises the dose, at
// `largest`, and after `max_steps` doses. Ask, measure, tell: many searches can share the measuring.
class DoseSearch {
 public:
  DoseSearch(double target, double start, double largest, double tolerance, int max_steps);
  bool done() const { return done_; }
  double next() const { return lambda_; }  // the strength whose dose is wanted, until done()
  void tell(double dose_nats);
  const MatchedDose& best() const { return best_; }

 private:
  struct Point {
    double lambda, dose;
  };
  double target_, largest_, tolerance_, lambda_, best_distance_ = 0;
  int steps_left_, step_ = 0;
  std::optional<Point> below_, above_;
  MatchedDose best_;
  bool done_ = false;
};

struct DoseDraw {
  int64_t draw = 0;
  bool restricted = true;  // drawn outside the candidate's experts
  MatchedDose match;
  Intervention intervention;
  double shift_pp = 0;            // test split
  std::optional<double> drop_pp;  // full profile only, none without utility items in the test split
};

struct DoseControl {
  std::string candidate;
  bool on_pairs = false;                      // doses are those on the pairs' own texts, not on neutral text
  std::optional<double> dose_nats;            // of the candidate
  double shift_pp = 0;                        // of the candidate, test split
  std::vector<DoseDraw> draws;                // matched ones, restricted first
  int64_t asked = 0, tried = 0, matched = 0;  // restricted draws; tried - matched failed to reach the dose
  std::optional<double> worst_mismatch;       // largest |dose / target - 1| of the matched draws
  std::optional<double> percentile95_pp, percentile95_unrestricted_pp;
  std::optional<bool> passed;               // shift above the percentile; none: not run
  std::string reason, unrestricted_reason;  // why a percentile is undefined
};

// Doses are those on neutral text. A candidate that acts on certain words alone, of which neutral text holds none, has
// no dose there: it and its draws are measured on the texts of the validation pairs, where its words stand. For every
// candidate options.dose_controls restricted draws and a quarter as many unrestricted ones, at least 20, each tuned to
// the candidate's dose within options.dose_tolerance; a direction that cannot reach the dose is replaced by another, up
// to twice as many as asked. A percentile needs min(20, asked) matched draws. All draws of all candidates are evaluated
// on the test split in one call. The strengths of all draws are tuned in rounds, one call of doses() each.
std::vector<DoseControl> control_doses(OutcomeSource& source, const SearchResult& search, const TestOutcomes& test,
                                       const std::vector<int>& signs, const DiagnosisOptions& options);

OrderedJson dose_control_json(const std::vector<DoseControl>& controls);

}  // namespace fare
