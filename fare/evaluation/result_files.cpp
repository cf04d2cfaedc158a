#include <chrono>

#include "fare/core/file.h"
#include "fare/evaluation/evaluation.h"

namespace fare {

namespace fs = std::filesystem;

ResultPaths result_paths(const fs::path& out, const std::string& model_name, const std::vector<std::string>& task_names,
                         int64_t start_microseconds) {
  const std::string stamp = file_stamp(start_microseconds);
  const bool is_file = out.extension() == ".json";
  const fs::path folder = is_file ? out.parent_path() : out / sanitize_model_name(model_name);
  ResultPaths paths;
  paths.results = folder / ((is_file ? out.stem().string() : "results") + "_" + stamp + ".json");
  for (const std::string& task : task_names)
    paths.samples.push_back(folder / ("samples_" + task + "_" + stamp + ".jsonl"));
  return paths;
}

fs::path run_folder_of(const fs::path& out) {
  return out.extension() == ".json" ? out.parent_path() / (out.stem().string() + ".run") : out;
}

void write_evaluation(const Evaluation& evaluation, const ResultPaths& paths) {
  if (fs::exists(paths.results)) return;
  if (paths.results.has_parent_path()) fs::create_directories(paths.results.parent_path());
  for (size_t t = 0; t < paths.samples.size(); ++t) write_file(paths.samples[t], evaluation.sample_files[t]);
  write_file(paths.results, results_text(evaluation.results));
}

int64_t first_start(const fs::path& folder) {
  const fs::path path = folder / "start.json";
  if (fs::exists(path)) return require<int64_t>(read_json_file(path), "unix_microseconds", path.string(), "");
  const int64_t now =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  write_file(path, OrderedJson{{"unix_microseconds", now}}.dump() + "\n");
  return now;
}

}  // namespace fare
