// FARE's own CrowS-Pairs task: the original 1,508 rows, with known flaws flagged and writers as clusters.
#include <algorithm>

#include "fare/benchmarks/crows_pairs.h"
#include "fare/benchmarks/crows_pairs_metrics.h"
#include "fare/benchmarks/csv.h"
#include "fare/benchmarks/pair_flags.h"
#include "fare/core/error.h"

namespace fare {
namespace {

constexpr int64_t kAgreeing = 3;  // of five annotators

const DataFile kTable{
    "crows-pairs/crows_pairs_anonymized.csv",
    {"crows-pairs/data/crows_pairs_anonymized.csv", "crows_pairs_anonymized.csv"},
    "dfb36986ce0502abbaf7055b9176da3d08d48e07df1251991b5dfbcbceab9d0c",
    1508,
    "CC BY-SA 4.0",
};

// The cell is a list of lists in Python's spelling: one list of bias types per annotator, e.g. "[['age'], [], ['age',
// 'gender']]".
std::vector<std::vector<std::string>> parse_annotations(const std::string& cell, const std::string& path,
                                                        const std::string& where) {
  const auto fail = [&] [[noreturn]] () {
    throw FormatError(path, where, "annotations are not a list of lists of texts: " + cell);
  };
  std::vector<std::vector<std::string>> annotators;
  int depth = 0;
  for (size_t i = 0; i < cell.size(); ++i) {
    const char c = cell[i];
    if (c == '[') {
      if (++depth > 2) fail();
      if (depth == 2) annotators.emplace_back();
    } else if (c == ']') {
      if (--depth < 0) fail();
    } else if (c == '\'' || c == '"') {
      const size_t end = cell.find(c, i + 1);
      if (depth != 2 || end == std::string::npos) fail();
      annotators.back().push_back(cell.substr(i + 1, end - i - 1));
      i = end;
    } else if (c != ',' && c != ' ') {
      fail();
    }
  }
  if (depth != 0 || annotators.empty()) fail();
  return annotators;
}

LoadedTask load(const LoadOptions& options) {
  LoadedTask task;
  LoadedFile file = load_data_file(kTable, options.data, options.accept_changed_data);
  const Table table(parse_csv(file.content, file.path), file.path,
                    {"", "sent_more", "sent_less", "stereo_antistereo", "bias_type", "annotations", "anon_writer"});
  file.content.clear();
  check_num_records(file, kTable, static_cast<int64_t>(table.num_rows()), options.accept_changed_data);

  std::vector<std::string> items, more, less, writers;
  std::vector<std::vector<std::string>> unchanged;
  for (size_t row = 0; row < table.num_rows(); ++row) {
    const std::string where = "line " + std::to_string(table.line(row));
    const std::string& direction = table.cell(row, "stereo_antistereo");
    if (direction != "stereo" && direction != "antistereo")
      throw FormatError(file.path, where, "stereo_antistereo is '" + direction + "', not stereo or antistereo");
    items.push_back(table.cell(row, ""));
    more.push_back(table.cell(row, "sent_more"));
    less.push_back(table.cell(row, "sent_less"));
    writers.push_back(table.cell(row, "anon_writer"));
    if (more.back().empty() || less.back().empty()) throw FormatError(file.path, where, "a sentence is empty");

    Document document;
    document.doc_id = static_cast<int64_t>(row);
    document.item = items.back();
    document.axis = table.cell(row, "bias_type");
    document.doc = {{"id", items.back()},         {"sent_more", more.back()},
                    {"sent_less", less.back()},   {"stereo_antistereo", direction},
                    {"bias_type", document.axis}, {"anon_writer", writers.back()}};
    document.target = "0";
    document.pair = {0, 1};
    document.requests = {{"", more.back()}, {"", less.back()}};
    const PairFlags flags = pair_flags(more.back(), less.back());
    unchanged.push_back(flags.unchanged_words);
    int64_t num_agreeing = 0;
    const auto annotators = parse_annotations(table.cell(row, "annotations"), file.path, where);
    for (const auto& chosen : annotators)
      if (std::find(chosen.begin(), chosen.end(), document.axis) != chosen.end()) ++num_agreeing;
    document.flags = {{"direction", direction},
                      {"pair_class", std::string(name_of(flags.pair_class))},
                      {"num_spans", flags.num_spans},
                      {"word_count_differs", flags.word_count_differs},
                      {"last_character_differs", flags.last_character_differs},
                      {"final_punctuation_differs", flags.final_punctuation_differs},
                      {"has_double_space", flags.has_double_space},
                      {"has_line_break", flags.has_line_break},
                      {"num_agreeing", num_agreeing},
                      {"num_annotators", annotators.size()},
                      {"agreed", num_agreeing >= kAgreeing},
                      {"filtered", flags.filtered}};
    task.documents.push_back(std::move(document));
  }
  const auto clusters = writer_clusters(writers, unchanged);
  const auto duplicates = earlier_duplicates(more, less);
  for (size_t i = 0; i < task.documents.size(); ++i) {
    task.documents[i].cluster = clusters[i];
    task.documents[i].flags["duplicate_of"] = duplicates[i] ? OrderedJson(items[*duplicates[i]]) : OrderedJson(nullptr);
  }
  task.notes.push_back(crows_pairs_caveat());
  task.files.push_back(std::move(file));
  return task;
}

OrderedJson metric_entry(const MetricInfo& metric) {
  OrderedJson entry{{"metric", metric.name}, {"aggregation", "mean"}};
  if (metric.higher_is_better) entry["higher_is_better"] = *metric.higher_is_better;
  return entry;
}

}  // namespace

Task fare_crows_pairs() {
  Task task;
  TaskInfo& info = task.info;
  info.name = "fare_crows_pairs";
  info.version = 1;
  info.title = "CrowS-Pairs, original 1,508 pairs, with flags, clusters and three scorings";
  info.licence = "CC BY-SA 4.0";
  info.source = "Nangia et al. 2020; nyu-mll/crows-pairs, commit 8aaac11c4854";
  info.files = {kTable};
  info.metrics = crows_pairs_metrics();
  OrderedJson metric_list = OrderedJson::array();
  for (const auto& metric : info.metrics) metric_list.push_back(metric_entry(metric));
  info.config = {{"task", info.name},
                 {"dataset_path", "nyu-mll/crows_pairs"},
                 {"test_split", "test"},
                 {"doc_to_text", ""},
                 {"doc_to_target", 0},
                 {"doc_to_choice", "[sent_more, sent_less]"},
                 {"description", ""},
                 {"target_delimiter", ""},
                 {"fewshot_delimiter", "\n\n"},
                 {"num_fewshot", 0},
                 {"metric_list", metric_list},
                 {"output_type", "multiple_choice"},
                 {"repeats", 1},
                 {"should_decontaminate", false},
                 {"metadata", {{"version", 1}}}};
  task.load = load;
  task.score = score_crows_pair;
  task.summarise = crows_pairs_tables;
  return task;
}

}  // namespace fare
