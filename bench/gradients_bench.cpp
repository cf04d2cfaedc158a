// Cost of dM/dz of every router logit, all layers, tokens and experts, in forwards: router_gradients over a pass that
// reads the same log-probabilities. Counter "forwards"; pass and gradients take turns.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "fare/lab/random_model.h"
#include "fare/models/forward.h"
#include "fare/models/model.h"
#include "fare/scoring/head.h"
#include "fare/scoring/prefix_tree.h"

namespace fare {
namespace {

constexpr int32_t kTexts = 64, kTokens = 24, kVocab = 8192;

// A checkpoint in the folder for temporary files, removed at the end.
struct RandomModel {
  explicit RandomModel(const std::string& weights)
      : folder(std::filesystem::temp_directory_path() / ("fare-bench-" + std::to_string(::getpid()) + "-" + weights)) {
    RandomModelOptions options;
    options.weights = weights;
    options.hidden = 512;
    options.heads = 8;
    options.experts = 64;
    options.top_k = 8;
    options.vocab = kVocab;
    make_random_model(options, folder);
    model = Model::open(folder, {.backend = faster_backend()});
  }
  ~RandomModel() {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  std::filesystem::path folder;
  std::unique_ptr<Model> model;
};

template <typename Work>
double seconds_of(Work&& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Argument: 0 = raw weights, 1 = weights divided by their sum (replacement estimates need all experts on all rows).
void BM_RouterGradients(benchmark::State& state) {
  const std::string weights = state.range(0) != 0 ? "renormalised" : "raw";
  const RandomModel random(weights);
  std::vector<std::vector<int32_t>> ids(kTexts);
  for (int32_t text = 0; text < kTexts; ++text)
    for (int32_t i = 0; i < kTokens; ++i)
      ids[static_cast<size_t>(text)].push_back((text * 7919 + i * 104729 + 11) % kVocab);
  const std::vector<Sequence> sequences = [&] {
    std::vector<Sequence> all;
    for (const auto& text : ids) all.push_back({text, {}, 0});
    return all;
  }();
  const PackedSequences packed = pack_sequences(sequences, false);
  std::vector<Target> targets;
  std::vector<ScoredToken> scored;
  for (size_t text = 0; text < ids.size(); ++text)
    for (size_t i = 0; i + 1 < ids[text].size(); ++i) {
      targets.push_back({packed.rows[text][i], ids[text][i + 1]});
      scored.push_back({packed.rows[text][i], ids[text][i + 1], text % 2 == 0 ? 1.0 : -1.0});
    }
  const auto pass = [&] {
    benchmark::DoNotOptimize(read_targets(*random.model, forward(*random.model, packed.pack), targets));
  };
  const auto gradients = [&] {
    router_gradients(*random.model, packed.pack, scored,
                     [](const LayerGradient& layer) { benchmark::DoNotOptimize(layer.dz_TE); });
  };
  pass();
  gradients();
  double pass_seconds = 0, gradient_seconds = 0;
  for (auto _ : state) {
    pass_seconds += seconds_of(pass);
    gradient_seconds += seconds_of(gradients);
  }
  state.SetLabel(weights);
  state.counters["forwards"] = gradient_seconds / pass_seconds;
}

BENCHMARK(BM_RouterGradients)
    ->ArgName("renormalised")
    ->Arg(0)
    ->Arg(1)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(5);

}  // namespace
}  // namespace fare
