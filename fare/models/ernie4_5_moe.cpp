// ERNIE-4.5-MoE (Ernie4_5_MoeForCausalLM). Attention: interleaved rope over the whole head, no q/k norm. Router:
// float32, softmax over all experts; top k of the scores plus a stored correction bias; weights are the scores without
// it, divided by their sum, which counts as at least moe_norm_min. Shared experts: one ungated MLP on the same input.
// Some layers are dense. `use_bias` gives a bias to every linear layer but the router and the experts, the head
// included.
#include "fare/models/families.h"

#include <algorithm>

#include "fare/models/common_config.h"
#include "fare/models/expert_tensors.h"
#include "fare/models/gated_mlp.h"

namespace fare {
namespace {

struct Settings {
  DecoderSpec spec;
  int64_t dense_width = 0, shared_width = 0;  // 0 = no such MLP
};

// An integer or a list of them, of which `pick` takes one; absent gives `when_absent`.
template <typename Pick>
int64_t layer_index(const ConfigReader& config, const char* key, int64_t when_absent, IntRange range,
                    const Pick& pick) {
  const std::vector<int64_t> indices = config.int_or_list(key, range);
  if (!config.has(key)) return when_absent;
  if (indices.empty()) throw config.error(key, "must be a layer or a list of layers");
  return *pick(indices.begin(), indices.end());
}

void read_moe_layers(const ConfigReader& config, DecoderSpec& spec) {
  const auto smallest = [](auto begin, auto end) { return std::min_element(begin, end); };
  const auto largest = [](auto begin, auto end) { return std::max_element(begin, end); };
  const int64_t interval = config.int_or("moe_layer_interval", 1, kPositive);
  const int64_t start = layer_index(config, "moe_layer_start_index", 1, kNonNegative, smallest);
  int64_t end =
      config.is_null("moe_layer_end_index") ? -1 : layer_index(config, "moe_layer_end_index", -1, {-1}, largest);
  if (end == -1) end = spec.num_layers - 1;
  for (int64_t l = 0; l < spec.num_layers; ++l)
    spec.is_moe.push_back((l + 1) % interval == 0 && l >= start && l <= end);
}

Settings read_settings(const ConfigReader& config) {
  Settings settings;
  DecoderSpec& spec = settings.spec;
  spec = read_common(config, "ernie4_5_moe",
                     {.rms_norm_eps = 1e-5, .rope_theta = 500000, .max_positions = 131072, .tied_head = true}, true);
  spec.rope.interleaved = true;
  spec.attention_bias = spec.head_bias = config.bool_or("use_bias", false);
  const std::string gate = config.string_or("moe_gate_act", "softmax");
  if (gate != "softmax") throw config.error("moe_gate_act", "'" + gate + "' is not supported; accepted: softmax");
  read_moe_layers(config, spec);
  spec.expert_width = config.required_int("moe_intermediate_size");
  spec.router.num_experts = config.required_int({"moe_num_experts", "num_experts"});
  spec.router.top_k = read_top_k(config, {"moe_k", "num_experts_per_tok"}, spec.router.num_experts);
  spec.router.weight_mode = WeightMode::kRenormalised;
  spec.router.sum_minimum = config.number_or("moe_norm_min", 1e-12);
  if (!(spec.router.sum_minimum >= 0)) throw config.error("moe_norm_min", "must not be negative");
  settings.shared_width = config.int_or("moe_num_shared_experts", 2) * spec.expert_width;
  spec.router.has_shared_expert = settings.shared_width > 0;
  if (std::find(spec.is_moe.begin(), spec.is_moe.end(), false) != spec.is_moe.end())
    settings.dense_width = config.required_int("intermediate_size");
  return settings;
}

class Ernie final : public Family {
 public:
  Ernie(Settings settings, const Weights& weights, MatmulBackend backend)
      : Family(settings.spec, weights, backend),
        dense_width_(settings.dense_width),
        shared_width_(settings.shared_width),
        routers_(static_cast<size_t>(spec_.num_layers), spec_.router) {
    for (int64_t l = 0; l < spec_.num_layers; ++l) {
      if (!is_moe(l) || !weights_.has(correction(l))) continue;
      const at::Tensor bias_1E = weights_.get_float(correction(l)).contiguous();
      // Another shape is reported with all other tensors that do not fit.
      if (bias_1E.numel() == spec_.router.num_experts)
        routers_[static_cast<size_t>(l)].selection_bias.assign(bias_1E.const_data_ptr<float>(),
                                                               bias_1E.const_data_ptr<float>() + bias_1E.numel());
    }
  }

  std::vector<TensorSlot> tensors() const override {
    const int64_t e = spec_.router.num_experts, d = spec_.hidden_size;
    std::vector<TensorSlot> slots = common_tensors();
    const auto add = [&](std::vector<TensorSlot> more) {
      for (TensorSlot& slot : more) slots.push_back(std::move(slot));
    };
    for (int64_t l = 0; l < spec_.num_layers; ++l) {
      if (!is_moe(l)) {
        add(gated_mlp_slots(mlp(l), dense_width_, d, spec_.attention_bias));
        continue;
      }
      slots.push_back({mlp(l) + "gate.weight", {e, d}});
      slots.push_back({correction(l), {1, e}, {}, false});
      add(experts(l).slots(weights_, e, spec_.expert_width, d));
      if (shared_width_ > 0) add(gated_mlp_slots(mlp(l) + "shared_experts.", shared_width_, d, spec_.attention_bias));
    }
    return slots;
  }

  // Parts that only predict further tokens in training.
  bool ignores(const std::string& name) const override {
    return name.starts_with("model.mtp_") || Family::ignores(name);
  }

  Projected project(int64_t layer, const at::Tensor& x_TD, const Rotary& rotary) const override {
    const auto part = [&](const std::string& name, int64_t heads) {
      return project_linear(x_TD, layer_prefix(layer) + "self_attn." + name, spec_.attention_bias)
          .to(at::kFloat)
          .view({x_TD.size(0), heads, spec_.head_dim});
    };
    return {rotate(part("q_proj", spec_.num_heads), rotary), rotate(part("k_proj", spec_.num_kv_heads), rotary),
            part("v_proj", spec_.num_kv_heads)};
  }

  at::Tensor attention_output(int64_t layer, const at::Tensor& heads_TX) const override {
    return project_linear(heads_TX, layer_prefix(layer) + "self_attn.o_proj", spec_.attention_bias);
  }

  at::Tensor router_logits(int64_t layer, const at::Tensor& x_TD) const override {
    return linear(x_TD.to(at::kFloat), weights_.get_float(mlp(layer) + "gate.weight"), {}, backend_);
  }

  const RouterSpec& router(int64_t layer) const override { return routers_[static_cast<size_t>(layer)]; }

  ExpertWeights expert(int64_t layer, int64_t expert) const override {
    return experts(layer).read(weights_, expert, spec_.expert_width, spec_.hidden_size);
  }

  at::Tensor shared_output(int64_t layer, const at::Tensor& x_TD) const override {
    if (shared_width_ == 0) return {};
    return gated_mlp(weights_, mlp(layer) + "shared_experts.", x_TD, backend_, spec_.attention_bias);
  }

  at::Tensor dense_output(int64_t layer, const at::Tensor& x_TD) const override {
    return gated_mlp(weights_, mlp(layer), x_TD, backend_, spec_.attention_bias);
  }

 private:
  bool is_moe(int64_t layer) const { return spec_.is_moe[static_cast<size_t>(layer)]; }
  std::string mlp(int64_t layer) const { return layer_prefix(layer) + "mlp."; }
  std::string correction(int64_t layer) const { return mlp(layer) + "moe_statics.e_score_correction_bias"; }
  ExpertTensors experts(int64_t layer) const { return {.prefix = mlp(layer) + "experts.", .may_have_bias = true}; }

  int64_t dense_width_, shared_width_;
  std::vector<RouterSpec> routers_;  // [num_layers]
};

}  // namespace

std::unique_ptr<Family> make_ernie4_5_moe(const ConfigReader& config, const Weights& weights, MatmulBackend backend) {
  return std::make_unique<Ernie>(read_settings(config), weights, backend);
}

}  // namespace fare
