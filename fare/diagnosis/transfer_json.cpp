#include "fare/diagnosis/null_fields.h"
#include "fare/diagnosis/transfer.h"

namespace fare {
namespace {

OrderedJson metric_json(const MetricChange& m) {
  OrderedJson row;
  row["candidate"] = m.candidate;
  row["metric"] = m.metric;
  row["title"] = m.title;
  row["families"] = m.families;
  row["base"] = m.base;
  row["edited"] = m.edited;
  row["value"] = m.value;
  row["interval"] = OrderedJson::array({m.interval95.low, m.interval95.high});
  row["level"] = 0.95;
  row["equivalence_interval"] = OrderedJson::array({m.interval90.low, m.interval90.high});
  row["method"] = m.method;
  row["unit"] = m.unit;
  row["limit"] = m.limit;
  row["equivalent"] = m.equivalent;
  row["p"] = m.p;
  row["p_bh"] = m.p_bh;
  row["family_size"] = m.family_size;
  row["n"] = m.prompts;
  row["clusters"] = m.clusters;
  row["n_eff"] = m.n_eff;
  if (m.samples > 0) row["samples"] = m.samples;
  else put_null(row, "samples", "the metric reads no text");
  row["sd"] = m.sd;
  put_field(row, "mde", m.mde, m.mde_reason);
  put_field(row, "needed", m.needed, m.sd > 0 ? "the metric is no mean over prompts" : "no prompt's value changed");
  const std::string not_binary = m.samples > 0 ? "the metric is not yes or no" : "the metric reads no text";
  const auto greedy = [&](const char* name, auto&& value) {
    if (m.greedy) row[name] = value(*m.greedy);
    else put_null(row, name, not_binary);
  };
  greedy("greedy_base", [](const auto& g) { return g.base; });
  greedy("greedy_edited", [](const auto& g) { return g.edited; });
  greedy("greedy_fewer", [](const auto& g) { return g.test.b; });
  greedy("greedy_more", [](const auto& g) { return g.test.c; });
  greedy("greedy_p", [](const auto& g) { return g.test.exact_p; });
  put_field(row, "transfer_ratio", m.transfer_ratio, m.ratio_reason);
  return row;
}

OrderedJson guards_json(const std::string& arm, const TextGuards& guards) {
  OrderedJson row;
  row["arm"] = arm;
  row["texts"] = guards.texts;
  row["mean_tokens"] = guards.tokens;
  put_field(row, "distinct_two", guards.distinct_two, "no text has two words");
  put_field(row, "repeated_four_grams", guards.repeated_four_grams, "no text has four words");
  row["refusal_share"] = guards.refusals;
  row["broken_share"] = guards.broken;
  return row;
}

OrderedJson decodability_json(const std::string& arm, const TransferResult::Candidate::Decodability& d) {
  return {{"arm", arm},
          {"prompts", d.prompts},
          {"stereo_rank", d.stereo_rank},
          {"anti_rank", d.anti_rank},
          {"stereo_gap_nats", d.stereo_gap_nats},
          {"anti_gap_nats", d.anti_gap_nats},
          {"top5_share", d.top5_share}};
}

}  // namespace

OrderedJson transfer_json(const TransferResult& result) {
  OrderedJson json;
  OrderedJson families = OrderedJson::array(), metrics = families, not_run = families, guards = families,
              decodability = families, examples = families;
  for (const TransferResult::Family& family : result.families)
    families.push_back({{"family", family.family},
                        {"source", family.source},
                        {"prompts", family.prompts},
                        {"clusters", family.clusters},
                        {"skipped", family.skipped},
                        {"mass_prompts", family.mass},
                        {"written_prompts", family.written},
                        {"note", family.note}});
  if (result.base_guards.texts > 0) guards.push_back(guards_json("base", result.base_guards));
  if (result.base_decodability) decodability.push_back(decodability_json("base", *result.base_decodability));
  for (const TransferResult::Candidate& candidate : result.candidates) {
    for (const MetricChange& metric : candidate.metrics) metrics.push_back(metric_json(metric));
    if (candidate.guards.texts > 0) guards.push_back(guards_json(candidate.name, candidate.guards));
    if (candidate.decodability) decodability.push_back(decodability_json(candidate.name, *candidate.decodability));
    for (const auto& example : candidate.examples)
      examples.push_back({{"candidate", candidate.name},
                          {"id", example.id},
                          {"family", example.family},
                          {"prompt", example.prompt},
                          {"base", example.base},
                          {"edited", example.edited}});
  }
  for (const MetricNotRun& one : result.not_run) not_run.push_back({{"metric", one.metric}, {"reason", one.reason}});
  const TransferOptions& options = result.options;
  json["decoding"] = {
      {"samples", options.samples}, {"temperature", options.sampling.temperature}, {"top_p", options.sampling.top_p},
      {"tokens", options.tokens},   {"first_word_tokens", options.first_tokens},   {"shared_noise", true}};
  json["families"] = families;
  json["metrics"] = metrics;
  json["not_run"] = not_run;
  json["guards"] = guards;
  json["decodability"] = decodability;
  json["examples"] = examples;
  return json;
}

}  // namespace fare
