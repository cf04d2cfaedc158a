#include <cmath>

#include "fare/diagnosis/null_fields.h"
#include "fare/diagnosis/robustness.h"
#include "fare/stats/equivalence.h"

namespace fare {
namespace {

const char* const kNoLimit = "no margin belongs to this number";
const char* const kNotAsked = "equivalence was not asked of this number";

struct EffectFields {
  std::string measure, task = "pairs", split = "test", subset = "all", unit = "pp";
  std::optional<std::string> scoring = "sum";
  std::optional<double> value, bound_one_sided, limit, p, p_bh, discordance, n_eff, mde;
  std::optional<stats::Interval> interval;
  std::optional<int64_t> family_size, n;
  std::optional<bool> equivalent;
  std::string reason;  // of an undefined value and all that hangs on it
  std::string p_reason, p_bh_reason, discordance_reason, mde_reason, n_reason;
};

OrderedJson effect_json(const std::string& candidate, const EffectFields& effect) {
  const auto because = [&](const std::string& own) { return own.empty() ? effect.reason : own; };
  OrderedJson row;
  row["candidate"] = candidate;
  row["measure"] = effect.measure;
  row["task"] = effect.task;
  row["split"] = effect.split;
  put_field(row, "scoring", effect.scoring, "not a score of pairs");
  row["subset"] = effect.subset;
  put_field(row, "value", effect.value, effect.reason);
  put_interval(row, "interval", effect.interval, effect.reason);
  row["level"] = 0.95;
  row["unit"] = effect.unit;
  put_field(row, "bound_one_sided", effect.bound_one_sided, effect.reason);
  put_field(row, "limit", effect.limit, kNoLimit);
  put_field(row, "p", effect.p, because(effect.p_reason));
  put_field(row, "p_bh", effect.p_bh, because(effect.p_bh_reason));
  put_field(row, "family_size", effect.family_size, because(effect.p_bh_reason));
  put_field(row, "discordance", effect.discordance, because(effect.discordance_reason));
  put_field(row, "n", effect.n, because(effect.n_reason));
  put_field(row, "n_eff", effect.n_eff, because(effect.n_reason));
  put_field(row, "mde", effect.mde, because(effect.mde_reason));
  put_field(row, "equivalent", effect.equivalent, effect.value && effect.limit ? effect.reason : kNotAsked);
  return row;
}

EffectFields shift_effect(const Shift& shift, MarginScoring scoring) {
  EffectFields effect;
  effect.measure = "shift";
  effect.scoring = scoring_name(scoring);
  effect.value = shift.value_pp;
  effect.interval = shift.interval95;
  effect.bound_one_sided = shift.interval90.low;
  effect.p = shift.p_one_sided;
  effect.p_bh_reason = "the primary family holds the primary scoring on all pairs";
  effect.discordance = shift.discordance;
  effect.n = shift.n;
  effect.n_eff = shift.n_eff;
  effect.mde = shift.mde_pp;
  effect.mde_reason = shift.mde_reason;
  return effect;
}

EffectFields drop_effect(const std::string& task, const Drop& drop, std::optional<double> tau_pp) {
  EffectFields effect;
  effect.measure = "drop";
  effect.task = task;
  effect.scoring.reset();
  effect.discordance_reason = effect.p_reason = effect.p_bh_reason = "decided by the interval, not by a test";
  effect.limit = tau_pp;
  if (drop.n == 0) {
    effect.reason = "the test split holds no utility item";
    effect.mde_reason = effect.reason;
    effect.n = 0;
    return effect;
  }
  effect.value = drop.value_pp;
  effect.interval = drop.interval95;
  effect.bound_one_sided = drop.interval90.high;
  effect.discordance = drop.discordance;
  effect.n = drop.n;
  effect.n_eff = drop.n_eff;
  effect.mde = drop.mde_pp;
  effect.mde_reason = drop.mde_reason;
  if (tau_pp) effect.equivalent = stats::equivalent_within(drop.interval90, *tau_pp);
  return effect;
}

EffectFields neutral_effect(const std::string& measure, const std::string& unit, std::optional<double> value,
                            const std::string& reason) {
  EffectFields effect;
  effect.measure = measure;
  effect.task = "neutral";
  effect.split = "neutral";
  effect.unit = unit;
  effect.scoring.reset();
  effect.value = value;
  effect.reason = value ? "measured once on the whole neutral text, not sampled" : reason;
  return effect;
}

}  // namespace

OrderedJson robustness_json(const std::vector<CandidateTest>& candidates) {
  OrderedJson list = OrderedJson::array();
  for (const CandidateTest& candidate : candidates)
    for (const RobustnessCheck& check : candidate.checks) {
      OrderedJson row;
      row["candidate"] = candidate.name;
      row["check"] = check.check;
      row["what"] = check.what;
      put_field(row, "passed", check.passed, check.reason);
      put_field(row, "value", check.value, check.reason);
      put_field(row, "limit", check.limit, check.reason);
      row["unit"] = check.unit;
      row["note"] = check.note;
      list.push_back(row);
    }
  return list;
}

OrderedJson effects_json(const std::vector<CandidateTest>& candidates, const Thresholds& thresholds) {
  OrderedJson list = OrderedJson::array();
  for (const CandidateTest& candidate : candidates) {
    for (const MarginScoring scoring : kMarginScorings) {
      EffectFields effect;
      if (const auto found = candidate.shifts.find(scoring); found != candidate.shifts.end()) {
        effect = shift_effect(found->second, scoring);
        if (scoring == MarginScoring::kSum) {
          effect.limit = thresholds.shift_pp;
          effect.p_bh = candidate.p_bh;
          effect.family_size = candidate.family_size;
          effect.equivalent = stats::equivalent_within(found->second.interval90, thresholds.shift_pp);
        }
      } else {
        effect.measure = "shift";
        effect.scoring = scoring_name(scoring);
        effect.reason = "no pair has a defined preference under this scoring";
      }
      list.push_back(effect_json(candidate.name, effect));
    }
    EffectFields filtered;
    filtered.measure = "shift";
    if (candidate.filtered) {
      filtered = shift_effect(*candidate.filtered, MarginScoring::kSum);
      filtered.limit = thresholds.shift_pp;
      filtered.equivalent = stats::equivalent_within(candidate.filtered->interval90, thresholds.shift_pp);
    } else {
      filtered.reason = "no test pair differs by clean replacements alone within 60 tokens";
    }
    filtered.subset = "filtered";
    list.push_back(effect_json(candidate.name, filtered));

    const Shift& primary = candidate.primary();
    EffectFields margin;
    margin.measure = "margin_shift";
    margin.unit = "pp";  // 100 times half the difference of tanh: the scale of the sign shift
    margin.value = primary.margin_shift;
    margin.interval = primary.margin_interval95;
    margin.reason = "read by its interval beside the shift";
    margin.n = primary.n;
    margin.n_eff = primary.n_eff;
    list.push_back(effect_json(candidate.name, margin));

    EffectFields transfer;
    transfer.measure = "shift";
    transfer.split = "transfer";
    transfer.value = candidate.transfer_pp;
    transfer.reason =
        candidate.transfer_pp ? "only the sign is read (r6)" : "no transfer set with an axis of the main set";
    list.push_back(effect_json(candidate.name, transfer));

    list.push_back(effect_json(candidate.name, drop_effect("pooled", candidate.drop, thresholds.pooled_drop_pp)));
    for (const TaskDrop& task : candidate.tasks)
      list.push_back(effect_json(
          candidate.name, drop_effect(task.task, task.drop,
                                      task.task == "truthfulqa_mc1" ? std::optional(thresholds.truthfulqa_mc1_drop_pp)
                                                                    : std::nullopt)));
    std::optional<double> dose, perplexity;
    if (candidate.dose) {
      dose = candidate.dose->kl_nats;
      perplexity = 100 * (std::exp(candidate.dose->log_perplexity_change) - 1);
    }
    list.push_back(effect_json(candidate.name, neutral_effect("dose", "nats", dose, candidate.dose_reason)));
    list.push_back(
        effect_json(candidate.name, neutral_effect("perplexity", "percent", perplexity, candidate.dose_reason)));
  }
  return list;
}

OrderedJson per_axis_json(const Study& study, const std::vector<CandidateTest>& candidates) {
  OrderedJson list = OrderedJson::array();
  for (const CandidateTest& candidate : candidates)
    for (const AxisShift& axis : candidate.axes) {
      OrderedJson row;
      row["candidate"] = candidate.name;
      row["axis"] = study.axes[static_cast<size_t>(axis.axis)];
      row["split"] = "test";
      row["n"] = axis.shift.n;
      row["clusters"] = axis.clusters;
      row["pct_base"] = axis.pct_base;
      row["pct_edited"] = axis.pct_edited;
      row["sign"] = axis.sign;
      row["shift_pp"] = axis.shift.value_pp;
      put_interval(row, "interval", axis.shift.interval95, "");
      put_field(row, "remaining", axis.remaining,
                "the axis shows no preference in its own direction on the test split");
      row["overshoot"] = axis.overshoot;
      row["p"] = axis.shift.p_two_sided;
      list.push_back(row);
    }
  return list;
}

}  // namespace fare
