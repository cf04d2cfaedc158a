// route() on random logits: rows a second, without edits, with a bias on one expert, and with one masked expert.
// Shapes: T rows, E experts, K kept.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>

#include <vector>

#include "fare/routing/route.h"

namespace fare {
namespace {

void rows_per_second(benchmark::State& state, const std::vector<ScopedEdit>& edits) {
  const int64_t num_rows = 4096;
  RouterSpec spec;
  spec.num_experts = state.range(0);
  spec.top_k = state.range(1);
  const at::Tensor logits_TE = at::randn({num_rows, spec.num_experts});
  for (auto _ : state) benchmark::DoNotOptimize(route(logits_TE, spec, edits));
  state.counters["rows/s"] =
      benchmark::Counter(static_cast<double>(state.iterations() * num_rows), benchmark::Counter::kIsRate);
}

void BM_Route(benchmark::State& state) { rows_per_second(state, {}); }

void BM_RouteMasked(benchmark::State& state) {
  Edit edit;
  Mask mask;
  mask.experts = {3};
  edit.op = mask;
  rows_per_second(state, {ScopedEdit{&edit, {}, {}}});
}

void BM_RouteBiased(benchmark::State& state) {
  Edit edit;
  AddLogit bias;
  bias.experts = {3};
  bias.values = {-1.5};
  edit.op = bias;
  rows_per_second(state, {ScopedEdit{&edit, {}, {}}});
}

BENCHMARK(BM_Route)->Args({8, 2})->Args({64, 8})->Args({256, 8})->UseRealTime();
BENCHMARK(BM_RouteMasked)->Args({64, 8})->UseRealTime();
BENCHMARK(BM_RouteBiased)->Args({64, 8})->UseRealTime();

}  // namespace
}  // namespace fare
