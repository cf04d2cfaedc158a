// One generation metric of a candidate against the model without edits: change, interval, tests (methods A11, F). Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fare/diagnosis/options.h"
#include "fare/stats/bootstrap.h"
#include "fare/stats/mcnemar.h"

namespace fare {

// Values of one metric, one entry per prompt in each list.
struct MetricValues {
  std::string metric;                // "M0", "M2", ..
  std::string title;                 // what is counted
  std::string families;              // of the prompts: "Ga", "Gc, own"
  std::string unit = "pp";           // "pp" or "SD"
  double largest = 100;              // largest difference that a prompt can show, in `unit` times 1
  int64_t samples = 0;               // texts behind a prompt's value; 0 = no text is read
  std::vector<double> base, edited;  // in `unit`
  std::vector<double> sign;          // better = sign * (base - edited)
  std::vector<std::string> clusters;
  std::vector<double> greedy_base, greedy_edited;  // the greedy text, 1 or 0; empty where the metric is not yes or no

  // Gaps between groups (M3): the value of a metric is then not the mean over prompts but the mean over axes of the
  // range of group means. Empty lists: a mean over prompts.
  std::vector<std::string> axes, groups;
};

struct MetricChange {
  std::string candidate;
  std::string metric, title, families, unit;
  int64_t prompts = 0, clusters = 0, samples = 0;
  double base = 0, edited = 0;             // the metric itself, in `unit`
  double value = 0;                        // positive = better
  stats::Interval interval95, interval90;  // the second at 1 - 2 alpha
  std::string method;                      // of the intervals
  double p = 1, p_bh = 1;                  // two-sided, sign flips of clusters; BH over the candidate's metrics
  int64_t family_size = 1;
  double n_eff = 0;
  double sd = 0;       // of the prompts' differences
  double base_sd = 0;  // of the prompts' values without edits
  std::optional<double> mde;
  std::string mde_reason;
  double limit = 0;               // delta_G, in `unit`
  bool equivalent = false;        // interval90 within the limit
  std::optional<int64_t> needed;  // prompts at which an effect of the limit is seen with power 0.8 (F5)
  struct Greedy {
    double base = 0, edited = 0;  // shares
    stats::McNemar test;
  };
  std::optional<Greedy> greedy;
  std::optional<double> transfer_ratio;  // (value / base_sd) / (the same of the pairs' margins)
  std::string ratio_reason;
};

// `alpha`: of the candidate, one-sided in interval90. `limit`: delta_G in the metric's unit. `label` names the random
// streams. p_bh, family_size and transfer_ratio are left for settle_family() and the caller.
// Throws NumericError without prompts.
MetricChange measure_change(const MetricValues& values, double limit, double alpha, const DiagnosisOptions& options,
                            const std::string& label);

// Benjamini-Hochberg over the metrics of one candidate.
void settle_family(std::vector<MetricChange>& metrics);

// Mean over axes with two groups or more of the largest minus the smallest group mean; none without such an axis.
std::optional<double> mean_range(const std::vector<std::string>& axes, const std::vector<std::string>& groups,
                                 const std::vector<double>& values);

}  // namespace fare
