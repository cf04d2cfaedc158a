// Bootstrap of a mean over 1,508 pairs: replicates a second. Argument: threads.
#include <benchmark/benchmark.h>

#include <vector>

#include "fare/stats/bootstrap.h"

namespace fare {
namespace {

void BM_BootstrapMean(benchmark::State& state) {
  std::vector<double> d(1508);
  for (size_t i = 0; i < d.size(); ++i) d[i] = static_cast<double>(i * 2654435761u % 1000) / 1000.0 - 0.45;
  stats::ResampleOptions options;
  options.num_threads = static_cast<int>(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(stats::bootstrap_mean(d, options));
  state.counters["replicates/s"] =
      benchmark::Counter(static_cast<double>(state.iterations() * options.replicates), benchmark::Counter::kIsRate);
}

BENCHMARK(BM_BootstrapMean)->ArgName("threads")->Arg(1)->Arg(2)->Arg(4)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fare
