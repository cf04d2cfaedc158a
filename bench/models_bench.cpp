// Products and attention of one block, each beside the roof: the best rate of one large product of the same type with
// the same threads, measured in the same program. Counter "roof" is the share of it.
// Shapes: T rows, D width, E experts, K kept, I expert width.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <vector>

#include "fare/models/attention.h"
#include "fare/models/experts.h"
#include "fare/models/linear.h"

namespace fare {
namespace {

constexpr int64_t kWidth = 1024, kExperts = 64, kKept = 8, kExpertWidth = 512;

at::ScalarType type_of(int64_t bf16) { return bf16 != 0 ? at::kBFloat16 : at::kFloat; }

// GFLOP/s of x [2048, 2048] times w [1024, 2048]^T: the faster library, best of 7. Measured once a type.
double roof_gflops(at::ScalarType type) {
  static double known[2] = {0, 0};
  double& roof = known[type == at::kBFloat16 ? 1 : 0];
  if (roof > 0) return roof;
  const at::Tensor x = at::randn({2048, 2048}).to(type), w = at::randn({1024, 2048}).to(type);
  double best_seconds = std::numeric_limits<double>::infinity();
  for (const MatmulBackend backend : {MatmulBackend::kOneDnn, MatmulBackend::kMkl}) {
    linear(x, w, {}, backend);
    for (int repeat = 0; repeat < 7; ++repeat) {
      const auto start = std::chrono::steady_clock::now();
      benchmark::DoNotOptimize(linear(x, w, {}, backend));
      best_seconds =
          std::min(best_seconds, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
  }
  return roof = 2.0 * 2048 * 2048 * 1024 / best_seconds / 1e9;
}

// Seconds since construction, over all iterations of a benchmark.
class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void report(benchmark::State& state, double flops_per_iteration, double seconds, at::ScalarType type) {
  const double gflops = flops_per_iteration * static_cast<double>(state.iterations()) / seconds / 1e9;
  state.counters["GFLOP/s"] = gflops;
  state.counters["roof"] = gflops / roof_gflops(type);
}

// Arguments: rows, bfloat16?, backend (0 MKL, 1 oneDNN).
void BM_Linear(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const at::ScalarType type = type_of(state.range(1));
  const auto backend = state.range(2) != 0 ? MatmulBackend::kOneDnn : MatmulBackend::kMkl;
  roof_gflops(type);
  const at::Tensor x = at::randn({rows, 2048}).to(type), w = at::randn({1024, 2048}).to(type);
  linear(x, w, {}, backend);
  const Stopwatch watch;
  for (auto _ : state) benchmark::DoNotOptimize(linear(x, w, {}, backend));
  report(state, 2.0 * static_cast<double>(rows) * 2048 * 1024, watch.seconds(), type);
}

// One MoE layer on routes drawn at random. Arguments: rows, bfloat16?.
void BM_RoutedOutput(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const at::ScalarType type = type_of(state.range(1));
  roof_gflops(type);
  const MatmulBackend backend = faster_backend();
  std::vector<ExpertWeights> weights(kExperts);
  for (ExpertWeights& expert : weights) {
    expert.gate_ID = at::randn({kExpertWidth, kWidth}).mul_(0.02).to(type);
    expert.up_ID = at::randn({kExpertWidth, kWidth}).mul_(0.02).to(type);
    expert.down_DI = at::randn({kWidth, kExpertWidth}).mul_(0.02).to(type);
  }
  const at::Tensor x = at::randn({rows, kWidth}).to(type);
  RouterSpec spec;
  spec.num_experts = kExperts;
  spec.top_k = kKept;
  const Route chosen = route(at::randn({rows, kExperts}), spec).after;
  const auto weights_of = [&](int64_t e) { return weights[static_cast<size_t>(e)]; };
  routed_output(x, chosen, kExperts, weights_of, backend);
  const Stopwatch watch;
  for (auto _ : state) benchmark::DoNotOptimize(routed_output(x, chosen, kExperts, weights_of, backend));
  report(state, 2.0 * static_cast<double>(rows) * kKept * 3 * kWidth * kExpertWidth, watch.seconds(), type);
}

// Causal attention of sequences of one length, 16 heads of 64. Arguments: sequences, tokens in each.
void BM_Attend(benchmark::State& state) {
  const int64_t count = state.range(0), length = state.range(1), rows = count * length, heads = 16, head_dim = 64;
  std::vector<Segment> segments;
  for (int64_t i = 0; i < count; ++i)
    segments.push_back({static_cast<int32_t>(i * length), static_cast<int32_t>(length), -1});
  const at::Tensor q = at::randn({rows, heads, head_dim}), k = at::randn_like(q), v = at::randn_like(q);
  const AttentionShape shape{0.125, std::nullopt};
  roof_gflops(at::kFloat);
  const Stopwatch watch;
  for (auto _ : state) benchmark::DoNotOptimize(attend(q, k, v, segments, shape));
  const double keys = static_cast<double>(count) * static_cast<double>(length * (length + 1) / 2);
  report(state, 4.0 * keys * heads * head_dim, watch.seconds(), at::kFloat);
  state.counters["rows/s"] = static_cast<double>(rows * state.iterations()) / watch.seconds();
}

BENCHMARK(BM_Linear)
    ->ArgNames({"rows", "bf16", "onednn"})
    ->ArgsProduct({{16, 64, 256, 2048}, {0}, {0, 1}})
    ->ArgsProduct({{16, 64, 256, 2048}, {1}, {1}})
    ->UseRealTime();
BENCHMARK(BM_RoutedOutput)
    ->ArgNames({"rows", "bf16"})
    ->ArgsProduct({{64, 256, 1024, 4096}, {0, 1}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Attend)
    ->ArgNames({"sequences", "tokens"})
    ->Args({256, 16})
    ->Args({64, 64})
    ->Args({4, 1024})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fare
