#include "cli/report.h"

#include <fmt/format.h>

#include <memory>

#include "fare/benchmarks/harness_reader.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/diagnosis/run_comparison.h"
#include "fare/report/report.h"
#include "fare/report/run_folder.h"
#include "fare/report/tables_csv.h"

namespace fare::cli {
namespace {

namespace fs = std::filesystem;

struct ReportFlags {
  std::vector<fs::path> runs, scores;
  fs::path index, out;
  std::string title = "FARE";
};

// comparison.json, comparison.html and tables of several runs, in a folder of their own.
void write_comparison(const fs::path& folder, const std::vector<fs::path>& runs) {
  std::vector<ComparedRun> compared;
  std::map<std::string, std::string> links;
  for (const fs::path& run : runs) {
    const fs::path whole = fs::absolute(run).lexically_normal();
    std::string name = whole.filename().empty() ? whole.parent_path().filename().string() : whole.filename().string();
    if (links.contains(name)) name = run.generic_string();  // two folders of one name
    links[name] = fs::relative(whole / "report.html", fs::absolute(folder)).generic_string();
    compared.push_back({name, read_report(run)});
  }
  const OrderedJson comparison = compare_runs(compared);
  fs::create_directories(folder / "tables");
  write_file(folder / "comparison.json", comparison.dump(1) + "\n");
  for (const char* list : {"models", "candidates"})
    write_file(folder / "tables" / (std::string(list) + ".csv"), csv_of_rows(comparison.at(list)));
  write_file(folder / "comparison.html", render_comparison(comparison, links));
  fmt::print("{}\n", (folder / "comparison.html").string());
}

int report(const ReportFlags& flags) {
  if (!flags.out.empty() && flags.runs.size() < 2)
    throw UsageError("--out compares runs: name at least two run folders");
  IndexPage page;
  page.title = flags.title;
  const fs::path base = flags.index.empty() ? fs::path(".") : fs::absolute(flags.index).parent_path();
  for (const fs::path& run : flags.runs) {
    const OrderedJson json = read_report(run);
    write_report(run, json);
    fmt::print("{}\n", (run / "report.html").string());
    page.reports.push_back({fs::relative(fs::absolute(run / "report.html"), base).generic_string(), "", json});
  }
  if (!flags.out.empty()) write_comparison(flags.out, flags.runs);
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
  command->add_option("--out", flags->out,
                      "Also compare the runs: a table of models with their stage of stop, in this folder");
  command->add_option("--index", flags->index, "Also write one page that links them, here");
  command->add_option("--scores", flags->scores, "Output folders of fare eval to show on the index page");
  command->add_option("--title", flags->title, "Title of the index page");
  command->footer(
      "Examples:\n  fare report RUN\n  fare report RUN1 RUN2 --out COMPARED\n"
      "  fare report RUN1 RUN2 --index out/report.html");
  command->callback([flags, &exit_status] { exit_status = report(*flags); });
}

}  // namespace fare::cli
