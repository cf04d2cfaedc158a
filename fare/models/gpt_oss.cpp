// GPT-OSS (GptOssForCausalLM). Attention: biases on all four projections, half-split rope (yarn x32 unless the file
// says otherwise), a learned sink score per head, a sliding window on the layers that layer_types names (the even ones
// where it is absent). Router: linear with bias, top k of the logits, softmax over the chosen k, which is a softmax
// over all experts divided by the chosen ones' sum. Experts: gate and up interleaved, clamped activation, biases;
// stored as MXFP4 blocks [E, out, in / 32, 16] or unquantised as [E, in, out]. Every layer is MoE.
#include "fare/models/families.h"

#include "fare/core/error.h"
#include "fare/models/common_config.h"
#include "fare/models/mxfp4.h"

namespace fare {
namespace {

struct Settings {
  DecoderSpec spec;
  bool packed = false;  // config.json announces MXFP4 experts
  double limit = 0, alpha = 0;
};

std::vector<bool> read_layer_types(const ConfigReader& config, int64_t num_layers) {
  std::vector<bool> slides;
  const auto types = config.optional_strings("layer_types");
  if (!types) {
    for (int64_t l = 0; l < num_layers; ++l) slides.push_back(l % 2 == 0);
    return slides;
  }
  if (static_cast<int64_t>(types->size()) != num_layers)
    throw config.error("layer_types", "has " + std::to_string(types->size()) + " entries for " +
                                          std::to_string(num_layers) + " layers (num_hidden_layers)");
  for (const std::string& type : *types) {
    if (type != "sliding_attention" && type != "full_attention")
      throw config.error("layer_types", "'" + type + "' is not supported; accepted: sliding_attention, full_attention");
    slides.push_back(type == "sliding_attention");
  }
  return slides;
}

Settings read_settings(const ConfigReader& config) {
  if (!config.has("head_dim"))
    throw config.error("head_dim",
                       "is missing; it decides the architecture and is not guessed (null means hidden_size / "
                       "num_attention_heads)");
  Settings settings;
  DecoderSpec& spec = settings.spec;
  spec = read_common(config, "gpt_oss",
                     {.rms_norm_eps = 1e-5, .rope_theta = 150000, .max_positions = 131072, .mxfp4 = true}, true);
  if (!config.optional_object("rope_parameters") && !config.optional_object("rope_scaling")) {
    spec.rope.type = RopeSpec::Type::kYarn;  // the class's own default, also where the file says null
    spec.rope.factor = 32;
    spec.rope.original_max_positions = 4096;
    spec.rope.truncate = false;
  }
  spec.attention_bias = config.bool_or("attention_bias", true);
  spec.sliding_window = config.optional_int("sliding_window", 128, kPositive);
  spec.slides = read_layer_types(config, spec.num_layers);
  spec.expert_width = config.required_int("intermediate_size");
  spec.router.num_experts = config.required_int({"num_local_experts", "num_experts"});
  spec.router.top_k = read_top_k(config, "num_experts_per_tok", spec.router.num_experts);
  spec.router.weight_mode = WeightMode::kRenormalised;
  spec.router.select_by_logit = true;
  spec.is_moe.assign(static_cast<size_t>(spec.num_layers), true);
  settings.packed = config.optional_object("quantization_config").has_value();
  settings.limit = config.number_or("swiglu_limit", 7);
  settings.alpha = config.number_or("swiglu_alpha", 1.702);
  if (!(settings.limit > 0)) throw config.error("swiglu_limit", "must be a positive number");
  return settings;
}

class GptOss final : public Family {
 public:
  GptOss(Settings settings, const Weights& weights, MatmulBackend backend)
      : Family(settings.spec, weights, backend), settings_(std::move(settings)) {}

  std::vector<TensorSlot> tensors() const override {
    const int64_t e = spec_.router.num_experts, d = spec_.hidden_size, width = spec_.expert_width;
    std::vector<TensorSlot> slots = common_tensors();
    for (int64_t l = 0; l < spec_.num_layers; ++l) {
      slots.push_back({layer_prefix(l) + "self_attn.sinks", {spec_.num_heads}});
      slots.push_back({router_name(l) + ".weight", {e, d}});
      slots.push_back({router_name(l) + ".bias", {e}});
      add_matrices(l, "gate_up_proj", 2 * width, d, slots);
      add_matrices(l, "down_proj", d, width, slots);
    }
    return slots;
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

  at::Tensor sinks(int64_t layer) const override { return weights_.get_float(layer_prefix(layer) + "self_attn.sinks"); }

  at::Tensor attention_output(int64_t layer, const at::Tensor& heads_TX) const override {
    return project_linear(heads_TX, layer_prefix(layer) + "self_attn.o_proj", spec_.attention_bias);
  }

  at::Tensor router_logits(int64_t layer, const at::Tensor& x_TD) const override {
    return project_linear(x_TD, router_name(layer), true).to(at::kFloat);
  }

  ExpertWeights expert(int64_t layer, int64_t expert) const override {
    const int64_t d = spec_.hidden_size, width = spec_.expert_width;
    const auto bias = [&](const std::string& name, int64_t size) {
      return weights_.get_slice(experts(layer) + name + "_bias", expert, 0, size);
    };
    ExpertWeights out;
    out.clamped = ClampedGate{matrix(layer, "gate_up_proj", expert, d), bias("gate_up_proj", 2 * width),
                              settings_.limit, settings_.alpha};
    out.down_DI = matrix(layer, "down_proj", expert, width);
    out.down_bias_D = bias("down_proj", d);
    return out;
  }

 private:
  std::string experts(int64_t layer) const { return layer_prefix(layer) + "mlp.experts."; }
  std::string router_name(int64_t layer) const { return layer_prefix(layer) + "mlp.router"; }

  // What lies in the files decides; where neither does, what config.json announces.
  bool is_packed(const std::string& name) const {
    return weights_.has(name + "_blocks") || (settings_.packed && !weights_.has(name));
  }

  void add_matrices(int64_t layer, const std::string& part, int64_t out, int64_t in,
                    std::vector<TensorSlot>& slots) const {
    const int64_t e = spec_.router.num_experts;
    const std::string name = experts(layer) + part;
    slots.push_back({name + "_bias", {e, out}});
    if (!is_packed(name)) {
      slots.push_back({name, {e, in, out}});
      return;
    }
    if (in % 32 != 0)
      throw ModelMismatch("tensor '" + name +
                          "_blocks': MXFP4 needs an input width that is a multiple of 32, but config.json "
                          "makes it " +
                          std::to_string(in) + " (hidden_size for gate_up_proj, intermediate_size for down_proj)");
    slots.push_back({name + "_blocks", {e, out, in / 32, 16}, Dtype::kU8});
    slots.push_back({name + "_scales", {e, out, in / 32}, Dtype::kU8});
  }

  // [out, in]; a transposed view of the file where it is not packed.
  at::Tensor matrix(int64_t layer, const std::string& part, int64_t expert, int64_t in) const {
    const std::string name = experts(layer) + part;
    if (!is_packed(name)) return weights_.get_slice(name, expert, 0, in).t();
    const Checkpoint& checkpoint = weights_.checkpoint();
    return weights_.derived(name, name + "[" + std::to_string(expert) + "] decoded", [&] {
      return decode_mxfp4(checkpoint.tensor(name + "_blocks"), checkpoint.tensor(name + "_scales"), expert,
                          weights_.working());
    });
  }

  Settings settings_;
};

}  // namespace

std::unique_ptr<Family> make_gpt_oss(const ConfigReader& config, const Weights& weights, MatmulBackend backend) {
  return std::make_unique<GptOss>(read_settings(config), weights, backend);
}

}  // namespace fare
