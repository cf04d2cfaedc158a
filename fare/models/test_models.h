// For tests of the models: golden cases as checkpoint folders, random models of any size, packs and comparisons.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fare/checkpoint/safetensors_file.h"
#include "fare/checkpoint/safetensors_writer.h"
#include "fare/checkpoint/test_safetensors.h"
#include "fare/core/json.h"
#include "fare/core/source_folder.h"
#include "fare/models/forward.h"
#include "fare/models/model.h"

namespace fare::testing {

inline std::filesystem::path golden_folder() { return source_folder() / "tests" / "golden" / "models"; }

// The cases of every family, families in alphabetical order.
inline std::vector<Json> golden_cases() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(golden_folder() / "cases"))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<Json> cases;
  for (const auto& file : files) {
    Json index = read_json_file(file);
    for (Json& one : index.at("cases")) cases.push_back(std::move(one));
  }
  return cases;
}

inline Json golden_case(const std::string& name) {
  for (const Json& one : golden_cases())
    if (one.at("name") == name) return one;
  throw std::runtime_error("no golden case " + name);
}

// The first case of every family: what a test of all families runs on.
inline std::vector<std::string> first_cases() {
  std::vector<std::string> names;
  std::string last;
  for (const Json& one : golden_cases())
    if (const std::string family = one.at("config").at("model_type"); std::exchange(last, family) != family)
      names.push_back(one.at("name"));
  return names;
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// A folder with the weights of a golden case and its config.json, changed by `changes` (a null removes the key when
// `remove` names it).
class CaseFolder {
 public:
  explicit CaseFolder(const Json& one, const Json& changes = Json::object(),
                      const std::vector<std::string>& remove = {}) {
    for (const auto& file : one.at("files"))
      std::filesystem::copy(
          golden_folder() / "weights" / one.at("weights").get<std::string>() / file.get<std::string>(),
          folder_ / file.get<std::string>());
    Json config = one.at("config");
    config.update(changes);
    for (const std::string& key : remove) config.erase(key);
    write_text(folder_ / "config.json", config.dump(1));
  }
  const std::filesystem::path& path() const { return folder_.path(); }

 private:
  TestFolder folder_;
};

// The tensors of a folder's one weight file, written again after `change`; what it adds must live until then.
inline void rewrite_tensors(const std::filesystem::path& folder,
                            const std::function<void(std::vector<TensorData>&)>& change) {
  const std::filesystem::path path = folder / "model.safetensors", changed = folder / "changed";
  {
    const SafetensorsFile file(path);
    std::vector<TensorData> tensors;
    for (const TensorInfo& info : file.tensors()) {
      const TensorView view = file.tensor(info.name);
      tensors.push_back({info.name, view.dtype, view.shape, {view.data, view.num_bytes}});
    }
    change(tensors);
    write_safetensors(changed, tensors);
  }
  std::filesystem::rename(changed, path);
}

inline at::Tensor tensor_of(const SafetensorsFile& file, const std::string& name) {
  const TensorView view = file.tensor(name);
  const at::ScalarType type = view.dtype == Dtype::kI32 ? at::kInt : at::kFloat;
  return at::from_blob(const_cast<std::byte*>(view.data), view.shape, at::TensorOptions(type)).clone();
}

// Independent sequences side by side, each a tree of its own.
inline Pack pack_of(const std::vector<std::vector<int32_t>>& sequences, bool with_length = true) {
  Pack pack;
  for (const auto& ids : sequences) {
    const int32_t first = static_cast<int32_t>(pack.token_ids.size()), n = static_cast<int32_t>(ids.size());
    pack.segments.push_back({first, n, -1});
    for (int32_t i = 0; i < n; ++i) {
      pack.token_ids.push_back(ids[static_cast<size_t>(i)]);
      pack.positions.push_back(i);
      pack.multiplicity.push_back(1);
      if (with_length) pack.length.push_back(n);
    }
  }
  return pack;
}

// Largest difference over the largest expected magnitude.
inline double distance(const at::Tensor& found, const at::Tensor& expected) {
  return (found - expected).abs().max().item<double>() / std::max(1e-30, expected.abs().max().item<double>());
}

// Says where two tensors differ most when they differ by more than `tolerance` of the largest expected magnitude.
inline ::testing::AssertionResult near(const at::Tensor& found, const at::Tensor& expected, double tolerance) {
  if (found.sizes() != expected.sizes())
    return ::testing::AssertionFailure() << "shape " << found.sizes() << ", expected " << expected.sizes();
  if (expected.numel() == 0) return ::testing::AssertionSuccess();
  const at::Tensor difference = (found - expected).abs().flatten();
  const double limit = tolerance * expected.abs().max().item<double>();
  if (difference.max().item<double>() <= limit) return ::testing::AssertionSuccess();
  const int64_t first = (difference > limit).logical_or(difference.isnan()).nonzero()[0].item<int64_t>();
  return ::testing::AssertionFailure() << "first at flat index " << first << ": "
                                       << found.flatten()[first].item<double>() << ", expected "
                                       << expected.flatten()[first].item<double>() << "; largest difference "
                                       << difference.max().item<double>() << ", allowed " << limit;
}

// Shape of a random model.
struct RandomShape {
  std::string family = "olmoe";
  int64_t hidden = 32, layers = 2, heads = 4, kv_heads = 2, experts = 4, top_k = 2, width = 24, vocab = 64;
  bool bf16 = false;
  Json changes = Json::object();  // of config.json
};

// Writes config.json and weights; weights are normal with sensible scales, from `seed`.
inline void write_random_model(const std::filesystem::path& folder, const RandomShape& s, uint64_t seed) {
  Json config = {{"architectures", {s.family == "olmoe" ? "OlmoeForCausalLM" : "MixtralForCausalLM"}},
                 {"model_type", s.family},
                 {"vocab_size", s.vocab},
                 {"hidden_size", s.hidden},
                 {"intermediate_size", s.width},
                 {"num_hidden_layers", s.layers},
                 {"num_attention_heads", s.heads},
                 {"num_key_value_heads", s.kv_heads},
                 {"max_position_embeddings", 256},
                 {"rms_norm_eps", 1e-5},
                 {"rope_theta", 10000.0},
                 {s.family == "olmoe" ? "num_experts" : "num_local_experts", s.experts},
                 {"num_experts_per_tok", s.top_k},
                 {"tie_word_embeddings", false}};
  config.update(s.changes);
  write_text(folder / "config.json", config.dump(1));
  at::manual_seed(seed);
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  const auto linear = [&](const std::string& name, int64_t out, int64_t in, double scale = 1.3) {
    tensors.emplace_back(name + ".weight", at::randn({out, in}) * (scale / std::sqrt(static_cast<double>(in))));
  };
  const auto norm = [&](const std::string& name, int64_t size) {
    tensors.emplace_back(name + ".weight", at::rand({size}) + 0.5);
  };
  const int64_t head_dim = s.hidden / s.heads;
  tensors.emplace_back("model.embed_tokens.weight", at::randn({s.vocab, s.hidden}));
  for (int64_t l = 0; l < s.layers; ++l) {
    const std::string layer = "model.layers." + std::to_string(l) + ".";
    norm(layer + "input_layernorm", s.hidden);
    norm(layer + "post_attention_layernorm", s.hidden);
    linear(layer + "self_attn.q_proj", s.heads * head_dim, s.hidden, 1.8);
    linear(layer + "self_attn.k_proj", s.kv_heads * head_dim, s.hidden, 1.8);
    linear(layer + "self_attn.v_proj", s.kv_heads * head_dim, s.hidden);
    linear(layer + "self_attn.o_proj", s.hidden, s.heads * head_dim);
    if (s.family == "olmoe") {
      norm(layer + "self_attn.q_norm", s.heads * head_dim);
      norm(layer + "self_attn.k_norm", s.kv_heads * head_dim);
    }
    const std::string block = layer + (s.family == "olmoe" ? "mlp." : "block_sparse_moe.");
    linear(block + "gate", s.experts, s.hidden, 2.0);
    for (int64_t e = 0; e < s.experts; ++e) {
      const std::string one = block + "experts." + std::to_string(e) + ".";
      linear(one + (s.family == "olmoe" ? "gate_proj" : "w1"), s.width, s.hidden);
      linear(one + (s.family == "olmoe" ? "up_proj" : "w3"), s.width, s.hidden);
      linear(one + (s.family == "olmoe" ? "down_proj" : "w2"), s.hidden, s.width);
    }
  }
  norm("model.norm", s.hidden);
  linear("lm_head", s.vocab, s.hidden);
  std::vector<TensorData> data;
  for (auto& [name, tensor] : tensors) {
    tensor = tensor.to(s.bf16 ? at::kBFloat16 : at::kFloat).contiguous();
    data.push_back({name,
                    s.bf16 ? Dtype::kBF16 : Dtype::kF32,
                    tensor.sizes().vec(),
                    {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}});
  }
  write_safetensors(folder / "model.safetensors", data);
}

}  // namespace fare::testing
