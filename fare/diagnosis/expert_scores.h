// Which experts are nominated as fairness-sensitive (methods A3). Scores nominate; only interventions show causes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/measure.h"
#include "fare/diagnosis/options.h"
#include "fare/diagnosis/router_profile.h"
#include "fare/stats/outcome.h"

namespace fare {

// One routed expert. s1..s4 are scaled to [-1, 1] within their layer by the 99th absolute percentile; the sign says
// which side the expert pushes to (positive = stereotype), so s1, s2 and s4 carry the sign of s3.
struct ExpertScore {
  int64_t layer = 0;
  int32_t expert = 0;
  double s1 = 0;              // selection gap
  double s2 = 0;              // gate gap
  double s3 = 0;              // attribution, signed mean
  double s3_abs = 0;          // mean absolute attribution
  double s4 = 0;              // difference-weighted attribution
  std::optional<double> s5;   // causal: mean change of the margin when masked with refill, nats
  int64_t combined_rank = 0;  // 1 = top: by mean rank of |s1|, |s2|, |s3|, |s4|
  double combined = 0;        // in [-1, 1]: 1 for the top, falling linearly with the rank, with the sign of s3
  double stability = 0;       // share of half-samples of clusters in which it stays in the top m
  double usage = 0;           // share of neutral tokens that select it
  double mean_gate = 0;       // mean weight over neutral tokens (0 when unselected)
  double mean_norm = 0;       // mean over neutral tokens of weight * ||E_e(x)||
};

inline constexpr const char* kScoreNames[] = {"s1", "s2", "s3", "s4"};
inline constexpr double kStableShare = 0.8;  // of half-samples: counts as stable

struct ExpertScores {
  std::vector<ExpertScore> experts;  // every routed expert, by layer then expert
  int64_t top_m = 0;
  int64_t half_samples = 0;
  int64_t causal_pairs = 0;
  int64_t causal_random_experts = 0;
  struct Honesty {  // Spearman of a score with s5 on the random experts
    std::string score;
    std::optional<double> spearman;
    std::optional<stats::Interval> interval;  // 95% (honesty.h)
    int64_t n = 0;
    std::string reason;  // why undefined
  };
  std::vector<Honesty> honesty;
  struct GroupGap {  // selection per group, for the twenty top experts
    int64_t layer = 0;
    int32_t expert = 0;
    std::string axis;
    bool stereo = true;  // the stereotype side of the axis; else the other
    double share = 0;    // of the group's P tokens that select the expert
    double gap = 0;      // share minus the mean over groups
  };
  std::vector<GroupGap> group_gaps;

  // "s1", "s2", "s3", "s4" or "combined".
  static double value(const ExpertScore& expert, const std::string& score);
};

// Scores on the pairs of the train split; usage, gates and norms from the router's profile on neutral text.
ExpertScores score_experts(Measurer& measurer, const RouterProfile& profile, const DiagnosisOptions& options);

// The same scores on utility margins, log p(best right answer) - log p(best wrong one), of the train split: which
// experts carry knowledge. Over all shared tokens, the question's included. In the small profile on at most 500 items
// drawn by seed. Empty when the train split holds no utility item.
std::vector<ExpertScore> score_knowledge(Measurer& measurer, const DiagnosisOptions& options);

OrderedJson experts_json(const ExpertScores& scores);        // the "experts" list of report.json
OrderedJson expert_scores_json(const ExpertScores& scores);  // "expert_scores"

}  // namespace fare
