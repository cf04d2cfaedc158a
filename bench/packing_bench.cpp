// Layout of 3,016 token sequences as one prefix tree, rows a second: pairs that share half their tokens, as in
// CrowS-Pairs.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "fare/scoring/prefix_tree.h"

namespace fare {
namespace {

void BM_PackSequences(benchmark::State& state) {
  constexpr int32_t kPairs = 1508, kTokens = 16;
  std::vector<std::vector<int32_t>> ids;
  for (int32_t pair = 0; pair < kPairs; ++pair)
    for (int32_t side = 0; side < 2; ++side) {
      std::vector<int32_t>& text = ids.emplace_back();
      for (int32_t i = 0; i < kTokens; ++i)
        text.push_back((pair * 7919 + i * 104729 + (i < kTokens / 2 ? 0 : side)) % 50000);
    }
  std::vector<Sequence> sequences;
  for (const auto& text : ids) sequences.push_back({text, {}, 0});
  for (auto _ : state) {
    std::vector<Sequence> ordered;
    ordered.reserve(sequences.size());
    for (const int64_t i : prefix_order(sequences)) ordered.push_back(sequences[static_cast<size_t>(i)]);
    benchmark::DoNotOptimize(pack_sequences(ordered));
  }
  state.counters["rows/s"] =
      benchmark::Counter(static_cast<double>(state.iterations() * 2 * kPairs * kTokens), benchmark::Counter::kIsRate);
}

BENCHMARK(BM_PackSequences)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fare
