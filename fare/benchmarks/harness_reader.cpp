#include "fare/benchmarks/harness_reader.h"

#include <set>

#include "fare/benchmarks/python_json.h"
#include "fare/benchmarks/unicode_text.h"
#include "fare/core/error.h"
#include "fare/core/file.h"

namespace fare {
namespace {

constexpr std::string_view kStderr = "_stderr";

// Entries of a task's object that are no metric.
const std::set<std::string>& not_metrics() {
  static const std::set<std::string> names{"name", "alias", "sample_len", "sample_count", "samples"};
  return names;
}

bool ends_with(const std::string& text, std::string_view ending) {
  return text.size() >= ending.size() && text.compare(text.size() - ending.size(), ending.size(), ending) == 0;
}

std::optional<double> number(const OrderedJson& value) {
  if (value.is_number()) return value.get<double>();
  return std::nullopt;
}

}  // namespace

ReadResults read_harness_results(const std::filesystem::path& path) {
  ReadResults read;
  read.all = python_json_loads(read_file(path), path.string());
  if (!read.all.is_object() || !read.all.contains("results") || !read.all["results"].is_object())
    throw FormatError(path.string(), "", "is no results file: the object 'results' is missing");
  if (read.all.contains("model_name") && read.all["model_name"].is_string()) read.model_name = read.all["model_name"];
  for (const auto& [task, entry] : read.all["results"].items()) {
    if (!entry.is_object()) throw FormatError(path.string(), "results." + task, "expected an object of metrics");
    for (const auto& [key, value] : entry.items()) {
      if (not_metrics().count(key)) continue;
      const size_t comma = key.rfind(',');
      const std::string metric = key.substr(0, comma);
      const std::string filter = comma == std::string::npos ? "none" : key.substr(comma + 1);
      if (strip(metric).empty()) continue;  // early files of 0.4 mark a group without numbers by " ": " "
      if (ends_with(metric, kStderr)) continue;
      if (!value.is_number() && !value.is_null())
        throw FormatError(path.string(), "results." + task,
                          "metric '" + key + "' is neither a number nor null: " + value.dump());
      ReadMetric one{task, metric, filter, number(value), std::nullopt};
      const std::string stderr_key = metric + std::string(kStderr) + (comma == std::string::npos ? "" : "," + filter);
      if (const auto found = entry.find(stderr_key); found != entry.end()) one.stderr_value = number(*found);
      read.metrics.push_back(std::move(one));
    }
  }
  return read;
}

}  // namespace fare
