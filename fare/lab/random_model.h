// Checkpoints with seeded random weights, of any size: for tests, benchmarks and the demonstration. They know no
// language; their logits and routes are lively.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "fare/core/progress.h"
#include "fare/lab/hf_layout.h"

namespace fare {

struct RandomModelOptions {
  std::string family = "olmoe";  // olmoe | mixtral | qwen2_moe (its shared expert as wide as the others)
  std::string weights;           // renormalised | raw; empty = the family's habit (mixtral renormalised, others raw)
  std::string dtype = "f32";     // f32 | bf16
  int64_t hidden = 128;
  int64_t layers = 4;
  int64_t experts = 16;
  int64_t top_k = 4;
  int64_t expert_width = 128;
  int64_t heads = 4;
  int64_t kv_heads = 0;  // 0 = as many as heads
  int64_t vocab = 0;     // 0 = 320: the 258 tokens of the byte-level tokenizer, rounded up to a multiple of 64
  int64_t max_length = 2048;
  uint64_t seed = 0;
  int threads = 0;  // 0 = all physical cores; does not change a byte
};

// The shape the options describe. Throws UsageError naming the flag.
ModelShape random_model_shape(const RandomModelOptions& options);

// Fills `out` with the values [begin, begin + out.size()) of the tensor `name`: uniform in (center - spread, center +
// spread), 65,536 levels, drawn from the Philox stream (seed, "lab/random/" + name), so that a tensor's values depend
// on its name, not on the tensors beside it.
void random_values(uint64_t seed, const std::string& name, double center, double spread, int64_t begin,
                   std::span<float> out);

// Writes config.json, model.safetensors, tokenizer.json, tokenizer_config.json and random.json (the options) into
// `folder`. Weights are streamed: memory stays below 64 MB whatever the size. Equal options give equal bytes.
// Throws UsageError (options, a folder that holds something else) and IoError (cannot write, disk full).
void make_random_model(const RandomModelOptions& options, const std::filesystem::path& folder,
                       const Progress& progress = {});

}  // namespace fare
