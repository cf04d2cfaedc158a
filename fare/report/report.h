// Results -> pages and tables: pure functions of report.json (docs/report-json.md). Nothing is computed here that a
// verdict depends on, nothing is read or written (run_folder.h does that).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "fare/core/json.h"

namespace fare {

struct ReportFiles {
  std::string html;                        // report.html: one self-contained page, no script, no network
  std::map<std::string, std::string> csv;  // tables/NAME.csv: "experts.csv" -> bytes
};

// Draws one report. Every string of the report is escaped; a null is shown as "undefined: reason".
// Also draws the partial reports of fare probe (fare-probe/1) and fare mask (fare-mask/1).
// Throws FormatError naming the field when `report` is none of these.
ReportFiles render_report(const OrderedJson& report);

// One line of the index page.
struct IndexEntry {
  std::string href;    // where its page lies, relative to the index
  std::string note;    // one sentence beside it ("the bias sits in two experts"); may be empty
  OrderedJson report;  // its report.json
};

// Benchmark results shown below the reports: the harness's results object of one run (`results` -> task -> metrics).
struct IndexScores {
  std::string title;
  OrderedJson results;  // {"task": {"metric,filter": value, "metric_stderr,filter": value, ..}, ..}
};

struct IndexPage {
  std::string title = "FARE";
  std::string introduction;
  std::vector<IndexEntry> reports;
  std::vector<IndexScores> scores;
};

// Draws a page that links several reports, with their headlines and numbers side by side.
// Throws FormatError as render_report does.
std::string render_index(const IndexPage& page);

// Draws comparison.json (docs/comparison-json.md). `links`: run -> where its page lies, relative to this one.
// Throws FormatError when it is not a fare-comparison/1.
std::string render_comparison(const OrderedJson& comparison, const std::map<std::string, std::string>& links);

}  // namespace fare
