#include "fare/lab/random_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "fare/core/error.h"
#include "fare/core/parallel.h"
#include "fare/core/philox.h"
#include "fare/lab/byte_tokenizer.h"
#include "fare/lab/output_folder.h"

namespace fare {
namespace {

constexpr int64_t kChunk = int64_t{1} << 20;  // values made at once
constexpr int64_t kSlice = int64_t{1} << 14;  // values of one task of a thread; a multiple of 8

struct Distribution {
  double center;
  double spread;  // uniform in center +- spread; standard deviation spread / sqrt(3)
};

// Standard deviations that keep every stage alive: inputs of a linear map have root mean square 1 (RMSNorm), so a row
// with entries of deviation s / sqrt(fan-in) gives values of deviation s. Router logits get 1.5, logits 2.
Distribution distribution(TensorRole role, const ModelShape& shape) {
  const auto linear = [](double deviation, int64_t fan_in) {
    return Distribution{0, std::sqrt(3.0) * deviation / std::sqrt(static_cast<double>(fan_in))};
  };
  switch (role) {
    case TensorRole::kEmbedding: return linear(1, 1);
    case TensorRole::kUnembedding: return linear(2, shape.hidden);
    case TensorRole::kFinalNorm:
    case TensorRole::kAttentionNorm:
    case TensorRole::kExpertNorm: return {1, 0.1};
    case TensorRole::kQueryNorm:
    case TensorRole::kKeyNorm: return {1.4, 0.1};
    case TensorRole::kQuery:
    case TensorRole::kKey: return linear(1.4, shape.hidden);
    case TensorRole::kValue: return linear(1, shape.hidden);
    case TensorRole::kAttentionOut: return linear(1, shape.heads * shape.head_dim());
    case TensorRole::kRouter: return linear(1.5, shape.hidden);
    case TensorRole::kExpertGate:
    case TensorRole::kExpertUp: return linear(1.4, shape.hidden);
    case TensorRole::kExpertDown: return linear(2, shape.expert_width);
    case TensorRole::kSharedGate:
    case TensorRole::kSharedUp: return linear(1.4, shape.hidden);
    case TensorRole::kSharedDown: return linear(2, shape.shared_width);
    case TensorRole::kSharedSwitch: return linear(1, shape.hidden);
  }
  throw BrokenInvariant("unknown tensor role");
}

uint16_t to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);  // nearest, ties to even; no NaN here
}

OrderedJson made_by(const RandomModelOptions& options, const ModelShape& shape) {
  return {{"command", "fare lab make random"},
          {"family", lab_family_name(shape.family)},
          {"weights", shape.renormalise ? "renormalised" : "raw"},
          {"dtype", options.dtype},
          {"hidden", shape.hidden},
          {"layers", shape.layers},
          {"experts", shape.experts},
          {"top_k", shape.top_k},
          {"expert_width", shape.expert_width},
          {"heads", shape.heads},
          {"kv_heads", shape.kv_heads},
          {"vocab", shape.vocab},
          {"max_length", shape.max_positions},
          {"seed", options.seed}};
}

}  // namespace

ModelShape random_model_shape(const RandomModelOptions& options) {
  ModelShape shape;
  shape.family = lab_family(options.family, "--family");
  if (options.weights.empty()) {
    shape.renormalise = shape.family == LabFamily::kMixtral;
  } else if (options.weights == "renormalised" || options.weights == "raw") {
    shape.renormalise = options.weights == "renormalised";
  } else {
    throw UsageError("--weights " + options.weights + ": accepted: renormalised, raw");
  }
  if (shape.family == LabFamily::kMixtral && !shape.renormalise)
    throw UsageError("--weights raw: Mixtral always renormalises its weights; use --family olmoe");
  shape.hidden = options.hidden;
  shape.layers = options.layers;
  shape.experts = options.experts;
  shape.top_k = options.top_k;
  shape.expert_width = options.expert_width;
  if (shape.family == LabFamily::kQwen2Moe) shape.shared_width = options.expert_width;
  shape.heads = options.heads;
  shape.kv_heads = options.kv_heads == 0 ? options.heads : options.kv_heads;
  shape.vocab = options.vocab == 0 ? (kByteTokenizerSize + 63) / 64 * 64 : options.vocab;
  shape.max_positions = options.max_length;
  shape.bos = -1;
  shape.eos = kByteTokenizerEnd;
  shape.pad = kByteTokenizerPadding;
  check_shape(shape);
  if (shape.vocab < kByteTokenizerSize)
    throw UsageError("--vocab " + std::to_string(shape.vocab) + ": the byte-level tokenizer needs at least " +
                     std::to_string(kByteTokenizerSize));
  return shape;
}

void random_values(uint64_t seed, const std::string& name, double center, double spread, int64_t begin,
                   std::span<float> out) {
  // Value i takes half i % 2 of 32-bit number i / 2 of the stream: eight values a block.
  const uint32_t label = fnv1a32("lab/random/" + name);
  const std::array<uint32_t, 2> key{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  const int64_t end = begin + static_cast<int64_t>(out.size());
  for (int64_t block = begin / 8; block * 8 < end; ++block) {
    const auto words = philox4x32({static_cast<uint32_t>(block), 0, 0, label}, key);
    for (int64_t i = std::max(begin, block * 8); i < std::min(end, block * 8 + 8); ++i) {
      const uint32_t half = (words[static_cast<size_t>(i % 8 / 2)] >> (16 * (i % 2))) & 0xFFFFu;
      out[static_cast<size_t>(i - begin)] = static_cast<float>(center + spread * ((half + 0.5) / 32768.0 - 1.0));
    }
  }
}

void make_random_model(const RandomModelOptions& options, const std::filesystem::path& folder,
                       const Progress& progress) {
  const ModelShape shape = random_model_shape(options);
  if (options.dtype != "f32" && options.dtype != "bf16")
    throw UsageError("--dtype " + options.dtype + ": accepted: f32, bf16");
  if (options.threads < 0) throw UsageError("--threads " + std::to_string(options.threads) + ": must not be negative");
  const Dtype dtype = options.dtype == "bf16" ? Dtype::kBF16 : Dtype::kF32;
  const int threads = options.threads == 0 ? physical_cores() : options.threads;
  const OrderedJson stamp = made_by(options, shape);
  prepare_output_folder(folder, "random.json", stamp);
  write_json_file(folder / "random.json", {{"format", "fare-random-model/1"}, {"made_by", stamp}});

  const std::vector<TensorPlan> plans = tensor_plans(shape);
  int64_t total = 0;
  for (const TensorPlan& plan : plans) total += plan.num_values();
  SafetensorsWriter writer(folder / "model.safetensors", declarations(plans, dtype));
  std::vector<float> values(static_cast<size_t>(std::min(total, kChunk)));
  std::vector<uint16_t> rounded(dtype == Dtype::kBF16 ? values.size() : 0);
  int64_t done = 0;
  for (const TensorPlan& plan : plans) {
    const Distribution d = distribution(plan.role, shape);
    for (int64_t begin = 0; begin < plan.num_values(); begin += kChunk) {
      progress.check();
      const int64_t count = std::min(kChunk, plan.num_values() - begin);
      parallel_for((count + kSlice - 1) / kSlice, threads, [&](int64_t slice) {
        const int64_t from = slice * kSlice, to = std::min(count, from + kSlice);
        const std::span<float> part(values.data() + from, static_cast<size_t>(to - from));
        random_values(options.seed, plan.name, d.center, d.spread, begin + from, part);
        if (dtype == Dtype::kBF16)
          for (int64_t i = from; i < to; ++i) rounded[static_cast<size_t>(i)] = to_bf16(values[static_cast<size_t>(i)]);
      });
      if (dtype == Dtype::kBF16)
        writer.append(plan.name, rounded.data(), static_cast<size_t>(count) * sizeof(uint16_t));
      else writer.append(plan.name, values.data(), static_cast<size_t>(count) * sizeof(float));
      done += count;
      progress("weights", done, total);
    }
  }
  writer.commit();
  write_json_file(folder / "tokenizer.json", byte_tokenizer_json());
  write_json_file(folder / "tokenizer_config.json", byte_tokenizer_config_json(shape.max_positions));
  write_json_file(folder / "config.json", config_json(shape, dtype));
}

}  // namespace fare
