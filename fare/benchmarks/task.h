// What a benchmark is to the rest of FARE: where its data lies, the documents it makes of it, and the metrics it reads
// off the scores. A new benchmark is one file that fills a Task, and one line in registry.cpp.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
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
};

// One item. `doc` and `requests` are what the harness would have made of the record.
struct Document {
  int64_t doc_id = 0;       // position among the task's documents, in file order
  std::string item;         // the data set's own name of the item, unique within the task
  OrderedJson doc;          // the record after preprocessing, with the harness's field names
  std::string target;       // the gold answer as the harness prints it
  std::vector<int64_t> gold;  // indices of the requests that hold a right answer; empty where nothing is right or wrong
  std::string cluster;      // items of one cluster are not independent; the unit of splitting and resampling
  std::string axis;         // bias axis or subject; "" where the data set has none
  OrderedJson flags = OrderedJson::object();  // facts about the item: direction, known flaws, sub-sets
  std::vector<TextRequest> requests;          // in the order in which the results are expected back
};

// A metric's value for one document or one task. An undefined value carries its reason.
struct MetricValue {
  std::string name;
  std::optional<double> value;
  std::string reason;  // set when `value` is none
};

struct LoadOptions {
  std::filesystem::path data;         // the data folder (docs/data.md)
  bool accept_changed_data = false;   // use files of another hash or record count than known; recorded in LoadedFile
};

struct LoadedTask {
  std::vector<Document> documents;
  std::vector<LoadedFile> files;     // every file that was read, with its hash
  std::vector<std::string> notes;    // sentences a reader of the results should see (optional file missing, ..)
};

struct TaskInfo {
  std::string name;                   // as in `fare eval --tasks`
  double version = 1;                 // the harness's where it has the task
  std::string title;                  // one line for `fare tasks`
  std::string licence;                // of the data
  std::string source;                 // paper and where the data comes from
  std::vector<DataFile> files;
  std::vector<MetricInfo> metrics;    // in the order in which results list them
  OrderedJson config;                 // the task's configuration as the harness writes it, without null fields
  int num_fewshot = 0;
};

struct Task {
  TaskInfo info;
  // Reads the data whole and makes the documents. Throws FormatError, IoError (see data_file.h).
  std::function<LoadedTask(const LoadOptions&)> load;
  // The metrics of one document, in the order of info.metrics. `results[i]` answers `document.requests[i]`.
  std::function<std::vector<MetricValue>(const Document& document, std::span<const RequestResult> results)> score;
  // Tables beyond the means of the metrics (per category, with intervals), for the `fare` part of a results file.
  // `results[d]` belongs to `documents[d]`. May be empty: the task has no such tables.
  std::function<OrderedJson(std::span<const Document> documents,
                            std::span<const std::vector<RequestResult>> results)> summarise;
};

// True for metrics of the fair profile, by their name.
bool is_fair_metric(const std::string& name);

// Throws BrokenInvariant unless there is one result for each request of the document.
void check_result_count(const Document& document, std::span<const RequestResult> results);

}  // namespace fare
