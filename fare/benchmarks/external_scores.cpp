#include "fare/benchmarks/external_scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "fare/benchmarks/group_gaps.h"
#include "fare/benchmarks/text_tools.h"
#include "fare/core/error.h"
#include "fare/stats/comparison.h"
#include "fare/stats/multiplicity.h"

namespace fare {
namespace {

constexpr double kMostMissing = 0.01;
constexpr double kSameScore = 1e-3;  // of one text in two files; a scorer's batches move the last digits

using TextKey = std::pair<std::string, int64_t>;  // prompt, sample

std::map<std::string, std::vector<const ExternalScore*>> by_label(const ExternalScores& scores) {
  std::map<std::string, std::vector<const ExternalScore*>> labels;
  for (const ExternalScore& row : scores.rows) labels[row.label].push_back(&row);
  return labels;
}

// Maxima and shares need as many samples of every prompt.
void put_maxima(OrderedJson& to, const std::vector<const ExternalScore*>& rows, double threshold) {
  std::map<std::string, std::vector<double>> scored;
  std::map<std::string, size_t> written;
  for (const ExternalScore* row : rows) {
    ++written[row->id];
    if (row->score) scored[row->id].push_back(*row->score);
  }
  size_t most = 0;
  for (const auto& [id, n] : written) most = std::max(most, n);
  std::vector<std::vector<double>> whole;
  for (auto& [id, values] : scored)
    if (values.size() == most) whole.push_back(std::move(values));
  to["samples_per_prompt"] = most;
  to["prompts"] = whole.size();
  to["prompts_left_out"] = written.size() - whole.size();
  const auto maxima = toxicity_scores(whole, threshold);
  to["expected_max"] = maxima ? OrderedJson(maxima->expected_max) : OrderedJson();
  to["probability"] = maxima ? OrderedJson(maxima->probability) : OrderedJson();
  to["ratio"] = maxima ? OrderedJson(maxima->ratio) : OrderedJson();
}

void put_gaps(OrderedJson& to, const std::vector<const ExternalScore*>& rows) {
  std::vector<UnitScore> units;
  for (const ExternalScore* row : rows) units.push_back({row->group, row->cluster, row->score});
  to["gaps"] = gap_table(units);
}

// Change from `base` of the texts that both score, all together and by group.
OrderedJson changes(const std::string& label, const std::vector<const ExternalScore*>& rows,
                    const std::vector<const ExternalScore*>& base, const GapOptions& options) {
  std::map<TextKey, const ExternalScore*> before;
  for (const ExternalScore* row : base) before[{row->id, row->sample}] = row;
  std::map<std::string, std::pair<std::vector<double>, std::vector<std::string>>> of_group;  // differences, clusters
  double largest = 1;  // between two scores of [0, 1]; 2 where some are negative
  for (const ExternalScore* row : rows) {
    const auto found = before.find({row->id, row->sample});
    if (found == before.end() || !row->score || !found->second->score) continue;
    if (*row->score < 0 || *found->second->score < 0) largest = 2;
    for (const std::string& group : {std::string(), row->group}) {
      of_group[group].first.push_back(*row->score - *found->second->score);
      of_group[group].second.push_back(row->cluster);
    }
  }
  OrderedJson list = OrderedJson::array();
  stats::PValues p;
  for (const auto& [group, values] : of_group) {
    stats::ComparisonOptions comparison;
    comparison.seed = options.seed;
    comparison.metric = "gaps/" + label + "/" + group;
    comparison.replicates = comparison.draws = options.replicates;
    comparison.largest = largest;
    const stats::Comparison compared =
        stats::compare_paired(values.first, stats::cluster_by_name(values.second), comparison).value();
    const auto interval = compared.interval(0.95);
    OrderedJson row{{"group", group.empty() ? OrderedJson() : OrderedJson(group)},
                    {"texts", compared.num_items},
                    {"clusters", compared.num_clusters},
                    {"mean_change", compared.estimate},
                    {"low", interval ? OrderedJson(interval->low) : OrderedJson()},
                    {"high", interval ? OrderedJson(interval->high) : OrderedJson()},
                    {"interval", interval ? compared.interval_method : interval.reason},
                    {"p", compared.test.p},
                    {"p_bh", nullptr}};
    p.push_back(group.empty() ? std::nullopt : std::optional(compared.test.p));
    list.push_back(row);
  }
  const stats::PValues adjusted = stats::benjamini_hochberg(p);
  for (size_t i = 0; i < list.size(); ++i)
    if (adjusted[i]) list[i]["p_bh"] = *adjusted[i];
  return list;
}

// The same scorer, and no text with two scores.
void check_comparable(const ExternalScores& scores, const ExternalScores& base) {
  if (scores.scorer != base.scorer || scores.scorer_sha256 != base.scorer_sha256)
    throw UsageError(
        fmt::format("{} was scored by {} ({:.12}), {} by {} ({:.12}); scores of two scorers are not compared",
                    scores.path, scores.scorer, scores.scorer_sha256, base.path, base.scorer, base.scorer_sha256));
  std::map<std::pair<std::string, std::string>, double> known;  // label, text
  for (const ExternalScore& row : base.rows)
    if (row.score) known[{row.label, row.text_sha256}] = *row.score;
  for (const ExternalScore& row : scores.rows) {
    const auto found = known.find({row.label, row.text_sha256});
    if (row.score && found != known.end() && std::abs(found->second - *row.score) > kSameScore)
      throw UsageError(fmt::format(
          "the text {:.12} ('{}', sample {}) scores {} for '{}' in {} and {} in {}; score both files together",
          row.text_sha256, row.id, row.sample, *row.score, row.label, scores.path, found->second, base.path));
  }
}

}  // namespace

ExternalScores read_external_scores(const std::filesystem::path& path) {
  ExternalScores scores;
  scores.path = path.string();
  std::map<TextKey, std::string> hash_of;
  std::set<std::tuple<std::string, int64_t, std::string>> seen;
  for_each_json_line(path, [&](const Json& line, size_t number) {
    const std::string where = "line " + std::to_string(number);
    const auto text = [&](const char* field) {
      const std::string value = require<std::string>(line, field, scores.path, where);
      if (value.empty()) throw FormatError(scores.path, where, fmt::format("field '{}' is empty", field));
      return value;
    };
    ExternalScore row;
    row.id = text("id");
    row.group = text("group");
    row.cluster = line.contains("cluster") ? text("cluster") : row.id;
    row.label = text("label");
    row.text_sha256 = text("text_sha256");
    row.sample = require<int64_t>(line, "sample", scores.path, where);
    const std::string scorer = text("scorer"), scorer_sha256 = text("scorer_sha256");
    if (!line.contains("score") || !line["score"].is_null()) {
      const double score = require<double>(line, "score", scores.path, where);
      if (!(score >= -1 && score <= 1))
        throw FormatError(scores.path, where, fmt::format("score {} is outside [-1, 1]", score));
      row.score = score;
    }
    if (scores.rows.empty()) {
      scores.scorer = scorer;
      scores.scorer_sha256 = scorer_sha256;
    } else if (scorer != scores.scorer || scorer_sha256 != scores.scorer_sha256) {
      throw FormatError(scores.path, where,
                        fmt::format("a second scorer: {} ({:.12}) after {} ({:.12}); give each its own file", scorer,
                                    scorer_sha256, scores.scorer, scores.scorer_sha256));
    }
    if (!seen.emplace(row.id, row.sample, row.label).second)
      throw FormatError(scores.path, where,
                        fmt::format("'{}', sample {}, has a score for '{}' before", row.id, row.sample, row.label));
    if (const std::string& hash = hash_of.emplace(TextKey{row.id, row.sample}, row.text_sha256).first->second;
        hash != row.text_sha256)
      throw FormatError(scores.path, where,
                        fmt::format("'{}', sample {}, is another text than before: {:.12}, {:.12}", row.id, row.sample,
                                    row.text_sha256, hash));
    scores.rows.push_back(std::move(row));
  });
  if (scores.rows.empty()) throw FormatError(scores.path, "", "holds no scores");
  return scores;
}

OrderedJson summarise_external_scores(const ExternalScores& scores, const ExternalScores* base,
                                      const GapOptions& options) {
  if (base != nullptr) check_comparable(scores, *base);
  OrderedJson summary{{"format", "fare-gaps/1"},
                      {"scores", scores.path},
                      {"base", base ? OrderedJson(base->path) : OrderedJson()},
                      {"scorer", scores.scorer},
                      {"scorer_sha256", scores.scorer_sha256},
                      {"threshold", options.threshold},
                      {"seed", options.seed},
                      {"labels", OrderedJson::array()}};
  const auto base_labels = base != nullptr ? by_label(*base) : decltype(by_label(scores)){};
  for (const auto& [label, rows] : by_label(scores)) {
    OrderedJson one{{"label", label}, {"texts", rows.size()}};
    const auto missing = [](const std::vector<const ExternalScore*>& all) {
      return std::ranges::count_if(all, [](const ExternalScore* row) { return !row->score; });
    };
    one["missing"] = missing(rows);
    const auto base_rows = base_labels.find(label);
    const bool compared = base_rows != base_labels.end();
    const auto too_many = [&](const std::vector<const ExternalScore*>& all) {
      return static_cast<double>(missing(all)) > kMostMissing * static_cast<double>(all.size());
    };
    one["reason"] = nullptr;
    one["changes"] = nullptr;
    if (too_many(rows)) {
      one["reason"] = fmt::format("{} of {} scores are missing, more than 1%", missing(rows), rows.size());
    } else {
      put_maxima(one, rows, options.threshold);
      put_gaps(one, rows);
      if (compared && too_many(base_rows->second))
        one["reason"] = fmt::format("no changes: {} of {} scores of the base are missing, more than 1%",
                                    missing(base_rows->second), base_rows->second.size());
      else if (compared) one["changes"] = changes(label, rows, base_rows->second, options);
      else if (base != nullptr) one["reason"] = "no changes: the base has no such label";
    }
    summary["labels"].push_back(one);
  }
  return summary;
}

}  // namespace fare
