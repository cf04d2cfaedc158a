// The harness's crows_pairs_english tasks. Its data set (the revised English edition, 1,677 rows) is not among the
// files at hand; the English columns of the bilingual table of the same authors are the closest, with the same row
// count and the same counts per category. The table has no quoting: seven English cells keep the quotes and doubled
// quotes that an earlier CSV gave them, and are used as they are.
#include <algorithm>

#include "fare/benchmarks/crows_pairs.h"
#include "fare/benchmarks/crows_pairs_metrics.h"
#include "fare/benchmarks/csv.h"
#include "fare/benchmarks/pair_flags.h"
#include "fare/core/error.h"

namespace fare {
namespace {

const DataFile kTable{
    "crows-pairs/french/english_french_base_file.csv",
    {"crows-pairs/english_french_base_file.csv", "english_french_base_file.csv"},
    "e4a5624b3bfa49ae1ed37ddb145e6e88a425af2cd4ce7d05701672468d692d9d",
    1677,
    "CC BY-SA 4.0",
};

LoadedTask load_category(const LoadOptions& options, const std::string& category) {
  LoadedTask task;
  LoadedFile file = load_data_file(kTable, options.data, options.accept_changed_data);
  const Table table(parse_tsv(file.content, file.path), file.path,
                    {"id", "sent_more_en_US", "sent_less_en_US", "stereo_antistereo_en_US", "bias_type_en_US"});
  file.content.clear();
  check_num_records(file, kTable, static_cast<int64_t>(table.num_rows()), options.accept_changed_data);

  std::vector<std::string> more, less, ids;
  for (size_t row = 0; row < table.num_rows(); ++row) {
    const std::string& bias_type = table.cell(row, "bias_type_en_US");
    const std::string& direction = table.cell(row, "stereo_antistereo_en_US");
    const std::string where = "line " + std::to_string(table.line(row));
    if (direction != "stereo" && direction != "antistereo")
      throw FormatError(file.path, where, "stereo_antistereo is '" + direction + "', not stereo or antistereo");
    if (table.cell(row, "sent_more_en_US").empty() || table.cell(row, "sent_less_en_US").empty())
      throw FormatError(file.path, where, "an English sentence is empty");
    if (bias_type.rfind(category, 0) != 0) continue;
    Document document;
    document.doc_id = static_cast<int64_t>(task.documents.size());
    document.item = table.cell(row, "id");
    document.doc = {{"id", document.item},
                    {"sent_more", table.cell(row, "sent_more_en_US")},
                    {"sent_less", table.cell(row, "sent_less_en_US")},
                    {"stereo_antistereo", direction},
                    {"bias_type", bias_type}};
    document.target = "0";
    document.pair = {0, 1};
    document.cluster = document.item;  // the table names no writer
    document.axis = bias_type;
    more.push_back(table.cell(row, "sent_more_en_US"));
    less.push_back(table.cell(row, "sent_less_en_US"));
    ids.push_back(document.item);
    document.requests = {{"", more.back()}, {"", less.back()}};
    const PairFlags flags = pair_flags(more.back(), less.back());
    document.flags = {{"direction", direction},
                      {"pair_class", std::string(name_of(flags.pair_class))},
                      {"num_spans", flags.num_spans},
                      {"filtered", flags.filtered}};
    task.documents.push_back(std::move(document));
  }
  const auto duplicates = earlier_duplicates(more, less);
  for (size_t i = 0; i < duplicates.size(); ++i)
    task.documents[i].flags["duplicate_of"] = duplicates[i] ? OrderedJson(ids[*duplicates[i]]) : OrderedJson(nullptr);
  task.notes.push_back(
      "crows_pairs_english is read from the English columns of the bilingual table; its rows name no "
      "writer, so each pair is its own cluster");
  task.notes.push_back(crows_pairs_caveat());
  task.files.push_back(std::move(file));
  return task;
}

OrderedJson metric_entry(const char* name) {
  return {{"metric", name}, {"aggregation", "mean"}, {"higher_is_better", false}};
}

}  // namespace

const std::vector<std::string>& crows_pairs_categories() {
  static const std::vector<std::string> categories{"race-color", "gender", "socioeconomic",      "nationality",
                                                   "religion",   "age",    "sexual-orientation", "physical-appearance",
                                                   "disability", "autre"};
  return categories;
}

Task crows_pairs_english(const std::string& category) {
  Task task;
  TaskInfo& info = task.info;
  info.name = "crows_pairs_english";
  if (!category.empty()) {
    std::string ending = category;
    std::replace(ending.begin(), ending.end(), '-', '_');
    info.name += "_" + ending;
  }
  info.version = 1;
  info.title = category.empty() ? "CrowS-Pairs, revised English edition: preference in 1,677 pairs"
                                : "CrowS-Pairs, revised English edition: bias type " + category;
  info.licence = "CC BY-SA 4.0";
  info.source =
      "Nangia et al. 2020 and Neveol et al. 2022; English columns of JulienBez/CrowsPairsTools, commit a4824dcd27e4";
  info.files = {kTable};
  info.metrics = crows_pairs_metrics();
  info.config = {{"task", info.name},
                 {"dataset_path", "jannalu/crows_pairs_multilingual"},
                 {"dataset_name", "english"},
                 {"test_split", "test"},
                 {"doc_to_text", ""},
                 {"doc_to_target", 0},
                 {"doc_to_choice", "[sent_more, sent_less]"},
                 {"description", ""},
                 {"target_delimiter", ""},
                 {"fewshot_delimiter", "\n\n"},
                 {"num_fewshot", 0},
                 {"metric_list", {metric_entry("likelihood_diff"), metric_entry("pct_stereotype")}},
                 {"output_type", "multiple_choice"},
                 {"repeats", 1},
                 {"should_decontaminate", false},
                 {"metadata", {{"version", 1.0}}}};
  task.load = [category](const LoadOptions& options) { return load_category(options, category); };
  task.score = score_crows_pair;
  task.summarise = crows_pairs_tables;
  return task;
}

}  // namespace fare
