#include "fare/report/run_folder.h"

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/report/report.h"

namespace fare {

void write_report(const std::filesystem::path& folder, const OrderedJson& report) {
  const ReportFiles files = render_report(report);
  const std::filesystem::path tables = folder / "tables";
  std::error_code failed;
  std::filesystem::create_directories(tables, failed);
  if (failed) throw IoError(tables.string() + ": cannot make the folder: " + failed.message());
  for (const auto& [name, bytes] : files.csv) write_file(tables / name, bytes);
  for (const auto& entry : std::filesystem::directory_iterator(tables)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() == ".csv" && !files.csv.contains(name)) std::filesystem::remove(entry.path());
  }
  write_file(folder / "report.html", files.html);
  write_file(folder / "report.json", report.dump(1) + "\n");
}

OrderedJson read_report(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "report.json";
  if (!std::filesystem::exists(path) && std::filesystem::exists(folder / "rows.sqlite"))
    throw IoError(path.string() + ": no such file; `fare diagnose --config " + (folder / "config.toml").string() +
                  " --out " + folder.string() + "` makes it from the rows that are there");
  const std::string text = read_file(path);
  parse_json(text, path.string());  // refuses duplicate keys, broken UTF-8 and deep nesting, with the place
  return OrderedJson::parse(text);
}

}  // namespace fare
