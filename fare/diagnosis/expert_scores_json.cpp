#include "fare/diagnosis/expert_scores.h"
#include "fare/diagnosis/null_fields.h"

namespace fare {

OrderedJson experts_json(const ExpertScores& scores) {
  OrderedJson list = OrderedJson::array();
  for (const ExpertScore& expert : scores.experts) {
    OrderedJson row = {{"layer", expert.layer}, {"expert", expert.expert}, {"s1", expert.s1}, {"s2", expert.s2},
                       {"s3", expert.s3},       {"s3_abs", expert.s3_abs}, {"s4", expert.s4}};
    if (expert.s5) {
      row["s5"] = *expert.s5;
    } else {
      row["s5"] = nullptr;
      row["s5_reason"] = "not among the experts ablated one by one";
    }
    row["combined_rank"] = expert.combined_rank;
    row["stability"] = expert.stability;
    row["usage"] = expert.usage;
    row["mean_gate"] = expert.mean_gate;
    row["mean_norm"] = expert.mean_norm;
    list.push_back(std::move(row));
  }
  return list;
}

OrderedJson expert_scores_json(const ExpertScores& scores) {
  OrderedJson json;
  json["top_m"] = scores.top_m;
  json["half_samples"] = scores.half_samples;
  json["s5_pairs"] = scores.causal_pairs;
  json["s5_random_experts"] = scores.causal_random_experts;
  json["honesty"] = OrderedJson::array();
  for (const auto& honesty : scores.honesty) {
    OrderedJson row;
    row["score"] = honesty.score;
    put_field(row, "spearman", honesty.spearman, honesty.reason);
    put_interval(row, "interval", honesty.interval, honesty.reason);
    row["n"] = honesty.n;
    json["honesty"].push_back(std::move(row));
  }
  json["stable_experts"] = OrderedJson::array();
  for (const ExpertScore& expert : scores.experts)
    if (scores.half_samples > 0 && expert.stability >= kStableShare - 1e-9)
      json["stable_experts"].push_back({{"layer", expert.layer}, {"expert", expert.expert}});
  json["group_gaps"] = OrderedJson::array();
  for (const auto& gap : scores.group_gaps)
    json["group_gaps"].push_back({{"layer", gap.layer},
                                  {"expert", gap.expert},
                                  {"axis", gap.axis},
                                  {"side", gap.stereo ? "stereo" : "anti"},
                                  {"share", gap.share},
                                  {"gap", gap.gap}});
  return json;
}

}  // namespace fare
