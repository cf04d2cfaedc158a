#include "cli/report.h"

#include <fmt/format.h>

#include <memory>

#include "fare/benchmarks/harness_reader.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/report/report.h"
#include "fare/report/run_folder.h"

namespace fare::cli {
namespace {

namespace fs = std::filesystem;

struct ReportFlags {
  std::vector<fs::path> runs, scores;
  fs::path index;
  std::string title = "FARE";
};

int report(const ReportFlags& flags) {
  IndexPage page;
  page.title = flags.title;
  const fs::path base = flags.index.empty() ? fs::path(".") : fs::absolute(flags.index).parent_path();
  for (const fs::path& run : flags.runs) {
    const OrderedJson json = read_report(run);
    write_report(run, json);
    fmt::print("{}\n", (run / "report.html").string());
    page.reports.push_back({fs::relative(fs::absolute(run / "report.html"), base).generic_string(), "", json});
  }
  if (flags.index.empty()) return 0;
  for (const fs::path& folder : flags.scores) {
    fs::path newest;  // stamps sort by time
    for (const auto& entry : fs::recursive_directory_iterator(folder))
      if (entry.path().filename().string().starts_with("results_") && entry.path().extension() == ".json" &&
          entry.path().filename() > newest.filename())
        newest = entry.path();
    if (newest.empty()) throw IoError(folder.string() + ": holds no results_*.json; run `fare eval --out` there first");
    const ReadResults read = read_harness_results(newest);  // NaN included, as the harness writes it
    page.scores.push_back({"Model " + fs::path(read.model_name).filename().string(), read.all.at("results")});
  }
  write_file(flags.index, render_index(page));
  fmt::print("{}\n", flags.index.string());
  return 0;
}

}  // namespace

void add_report_command(CLI::App& program, int& exit_status) {
  auto flags = std::make_shared<ReportFlags>();
  CLI::App* command = program.add_subcommand("report", "Rebuild page and tables of runs from their report.json");
  command->add_option("runs", flags->runs, "Run folders of fare diagnose")->required();
  command->add_option("--index", flags->index, "Also write one page that links them, here");
  command->add_option("--scores", flags->scores, "Output folders of fare eval to show on the index page");
  command->add_option("--title", flags->title, "Title of the index page");
  command->footer("Examples:\n  fare report RUN\n  fare report RUN1 RUN2 --index out/report.html");
  command->callback([flags, &exit_status] { exit_status = report(*flags); });
}

}  // namespace fare::cli
