// What a benchmark is to the rest of FARE: where its data lies, the documents it makes of it, and the metrics it reads
// off the scores. A new benchmark is one file that fills a Task, and one line in registry.cpp.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fare/benchmarks/data_file.h"
#include "fare/benchmarks/request.h"
#include "fare/core/json.h"

namespace fare {

// compat: the reference scorer's number, oddities included. fair: FARE's own, named with the prefix `fare_`.
enum class Profile { kCompat, kFair };

struct MetricInfo {
  std::string name;
  Profile profile = Profile::kCompat;
  std::optional<bool> higher_is_better;  // none: neither direction is better as such
  std::string meaning;                   // one sentence, with the unit
  std::string filter = "none";           // of generated texts (Task::filters)
  bool pooled = false;                   // no mean over documents: Task::pooled computes it
};

// What stands before a question: a description, then worked examples.
struct Primer {
  std::string text;    // as running text, the beginning of a request's context
  std::string system;  // the description; with a chat template the system message
  std::vector<std::pair<std::string, std::string>> examples;  // question and answer; with a chat template turns

  void describe(const std::string& description) {
    text += description;
    system += description;
  }
  void add_example(const std::string& question, const std::string& answer, const std::string& delimiter = " ",
                   const std::string& end = "\n\n") {
    text += question + delimiter + answer + end;
    examples.emplace_back(question, answer);
  }
};

// One item. `doc` and `requests` are what the harness would have made of the record.
struct Document {
  int64_t doc_id = 0;         // position among the task's documents, in file order
  std::string item;           // the data set's own name of the item, unique within the task
  OrderedJson doc;            // the record after preprocessing, with the harness's field names
  std::string target;         // the gold answer as the harness prints it
  std::vector<int64_t> gold;  // indices of the requests that hold a right answer; empty where nothing is right or wrong
  std::string cluster;        // items of one cluster are not independent; the unit of splitting and resampling
  std::string axis;           // bias axis or subject; "" where the data set has none
  OrderedJson flags = OrderedJson::object();  // facts about the item: direction, known flaws, sub-sets
  std::vector<TextRequest> requests;          // in the order in which the results are expected back
  std::shared_ptr<const Primer> primer;       // its text begins every context; null = nothing does
  std::vector<size_t> pair;  // requests that make a minimal pair, stereotype side first; empty = none to use in studies
};

// A metric's value for one document or one task. An undefined value carries its reason.
struct MetricValue {
  std::string name;
  std::optional<double> value;
  std::string reason;  // set when `value` is none
  std::string filter = "none";
  OrderedJson printed;  // what a sample line shows instead of the value (a list); null = the value
};

// A metric over a task's documents.
struct MetricAggregate {
  std::string name;
  std::optional<double> value;         // none: undefined (fair metrics only), see `reason`
  std::optional<double> stderr_value;  // none: "N/A"
  int64_t num_values = 0;              // documents that have a value
  std::string reason;
  std::string filter = "none";
};

struct LoadOptions {
  std::filesystem::path data;          // the data folder (docs/data.md)
  bool accept_changed_data = false;    // use files of another hash or record count than known; recorded in LoadedFile
  std::optional<int64_t> num_fewshot;  // examples before each question; none = the task's own number
  bool extra_requests = true;          // false: leave out requests that only FARE's own metrics need
};

struct LoadedTask {
  std::vector<Document> documents;
  std::vector<LoadedFile> files;     // every file that was read, with its hash
  std::vector<std::string> notes;    // sentences a reader of the results should see (optional file missing, ..)
  std::vector<std::string> missing;  // files of a benchmark of several files that are not there; named in every table
};

struct TaskInfo {
  std::string name;     // as in `fare eval --tasks`
  double version = 1;   // the harness's where it has the task
  std::string title;    // one line for `fare tasks`
  std::string alias;    // as tables print it; "" = the name
  std::string licence;  // of the data
  std::string source;   // paper and where the data comes from
  std::vector<DataFile> files;
  std::vector<MetricInfo> metrics;  // in the order in which results list them
  OrderedJson config;               // the task's configuration as the harness writes it, without null fields
  int num_fewshot = 0;
  int64_t max_fewshot = 0;  // size of the pool of examples; 0 = none, the number of shots is fixed
  bool any_file = false;    // one of the files is enough
};

// How a generated text becomes the text that is scored.
struct TextFilter {
  std::string name;
  std::function<std::string(const std::string& text)> apply;
};

// Metrics that are no means over documents (ratios of counts, means over groups): each document contributes a row of
// numbers, rows are added up within clusters, and the metrics are read off the totals of all clusters.
struct PooledMetrics {
  std::function<std::vector<double>(const Document& document, std::span<const RequestResult> results)> row;
  // What a cluster contributes, from the sum of its rows; empty = the sum itself.
  std::function<std::vector<double>(std::span<const double> sums)> of_cluster;
  // In the order of info.metrics. An undefined fair metric has no value but a reason, an undefined compat one is NaN.
  std::function<std::vector<MetricValue>(std::span<const double> totals)> metrics;
};

struct Task {
  TaskInfo info;
  // Reads the data whole and makes the documents. Throws FormatError, IoError (see data_file.h).
  std::function<LoadedTask(const LoadOptions&)> load;
  // The metrics of one document. `results[i]` answers `document.requests[i]`. Pooled metrics may be left out.
  std::function<std::vector<MetricValue>(const Document& document, std::span<const RequestResult> results)> score;
  // Tables beyond the means of the metrics (per category, with intervals), for the `fare` part of a results file.
  // `results[d]` belongs to `documents[d]`. May be empty: the task has no such tables.
  std::function<OrderedJson(std::span<const Document> documents, std::span<const std::vector<RequestResult>> results)>
      summarise;
  std::optional<PooledMetrics> pooled;
  // What the task adds to the `fare` object of a sample; may be empty.
  std::function<OrderedJson(const Document& document, std::span<const RequestResult> results)> extension;
  std::vector<TextFilter> filters;  // of generated texts; empty = one, "none", that changes nothing
};

// The filter "none", which changes nothing.
TextFilter no_filter();
// The filters in order, "none" where the task has none.
std::vector<TextFilter> filters_of(const Task& task);

// True for metrics of the fair profile, by their name.
bool is_fair_metric(const std::string& name);

// Throws BrokenInvariant unless there is one result for each request of the document.
void check_result_count(const Document& document, std::span<const RequestResult> results);

}  // namespace fare
