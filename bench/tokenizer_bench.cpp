// Ids of all CrowS-Pairs sentences with the OLMoE vocabulary, MB of text a second. Skipped without the public data.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "fare/core/source_folder.h"
#include "fare/tokenizer/tokenizer.h"

namespace fare {
namespace {

std::filesystem::path data_folder() {
  if (const char* folder = std::getenv("FARE_DATA")) return folder;
  return source_folder().parent_path() / "shared" / "data";
}

// Lines of the CSV file as they stand: text like what the benchmark holds, no need to parse it.
std::vector<std::string> lines_of(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

void BM_TokenIds(benchmark::State& state) {
  const std::filesystem::path data = data_folder();
  const auto vocabulary = data / "tokenizers/olmo/allenai_eleuther-ai-gpt-neox-20b-pii-special.json.gz";
  const std::vector<std::string> lines = lines_of(data / "crows-pairs/crows_pairs_anonymized.csv");
  if (lines.empty() || !std::filesystem::exists(vocabulary)) {
    state.SkipWithError("the public data is not there; set FARE_DATA to its folder");
    return;
  }
  const auto tokenizer = Tokenizer::open(vocabulary);
  int64_t bytes = 0, tokens = 0;
  for (auto _ : state)
    for (const std::string& line : lines) {
      tokens += static_cast<int64_t>(tokenizer->ids(line).size());
      bytes += static_cast<int64_t>(line.size());
    }
  state.SetBytesProcessed(bytes);
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(tokens), benchmark::Counter::kIsRate);
}

BENCHMARK(BM_TokenIds)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fare
