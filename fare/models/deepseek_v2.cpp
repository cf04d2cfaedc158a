// DeepSeek-V2 (DeepseekV2ForCausalLM): multi-head latent attention. Keys and values of all heads are expanded from one
// normed latent vector per token; each key also carries one rotated part that all heads share. Interleaved rope on that
// part and on its counterpart of the queries. Router: softmax in float32, top k of all or of the best groups' experts;
// the k scores times routed_scaling_factor, or (norm_topk_prob, k > 1) divided by their sum instead. Shapes: n and r
// the unrotated and the rotated part of a head (d = n + r), v the value part, L the latent width.
#include "fare/models/families.h"

#include <cmath>

#include "fare/models/common_config.h"
#include "fare/models/deepseek_moe.h"

namespace fare {
namespace {

constexpr double kLatentEps = 1e-6;  // of the two inner norms, whatever rms_norm_eps says

struct Latent {
  std::optional<int64_t> query_rank;   // none: queries are projected directly
  int64_t key_rank = 0;                // L
  int64_t unrotated = 0, rotated = 0;  // n, r
};

// The vendor's reader and transformers' differ in corners of yarn that no released checkpoint uses: those are refused.
// Returns the factor m(factor, mscale_all_dim)^2 of the softmax scale.
double read_scale_factor(const ConfigReader& config, const RopeSpec& rope) {
  using Type = RopeSpec::Type;
  const std::string key = config.optional_object("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const auto object = config.optional_object(key);
  if (!object || rope.type == Type::kDefault) return 1;
  if (rope.type != Type::kLinear && rope.type != Type::kDynamic && rope.type != Type::kYarn)
    throw config.error(key, "only rope types linear, dynamic and yarn (or null) are supported in this family");
  const double all_dim = object->optional_number("mscale_all_dim").value_or(0);
  if (rope.type == Type::kYarn) {
    const double vendor = yarn_mscale(rope.factor, rope.mscale.value_or(1)) / yarn_mscale(rope.factor, all_dim);
    const double other = rope_frequencies(rope, 0).attention_factor;
    if (std::abs(vendor - other) > 1e-9 * vendor)
      throw config.error(key, "published readers disagree about its factor on cos and sin (" + std::to_string(vendor) +
                                  " or " + std::to_string(other) +
                                  "); accepted: mscale and mscale_all_dim both non-zero or both absent, "
                                  "without attention_factor");
    if (!rope.truncate)
      throw config.error(key, "truncate false is read differently by published readers; accepted: true or absent");
    constexpr int64_t kVendorLength = 4096;
    if (!object->optional_int("original_max_position_embeddings") &&
        rope.original_max_positions.value_or(rope.max_positions) != kVendorLength)
      throw config.error(
          key,
          "original_max_position_embeddings is missing, and published readers disagree about what it is then; "
          "accepted: a positive integer");
  }
  const double m = yarn_mscale(rope.factor, all_dim);
  return all_dim == 0 ? 1 : m * m;
}

void read_selection(const ConfigReader& config, RouterSpec& router) {
  const std::string method = config.string_or("topk_method", "greedy");
  if (method == "greedy" || method == "gready") return;  // the second is the vendor's default, as spelled there
  if (method != "group_limited_greedy")
    throw config.error("topk_method", "'" + method + "' is not supported; accepted: greedy, group_limited_greedy");
  router.num_groups = config.required_int("n_group");
  if (router.num_experts % router.num_groups != 0)
    throw config.error("n_group", std::to_string(router.num_groups) + " does not divide the " +
                                      std::to_string(router.num_experts) + " experts");
  router.top_groups = config.required_int("topk_group");
  if (router.top_groups > router.num_groups)
    throw config.error("topk_group", std::to_string(router.top_groups) + " is more than the " +
                                         std::to_string(router.num_groups) + " groups of n_group");
}

Latent read_latent(const ConfigReader& config) {
  Latent latent;
  latent.query_rank = config.optional_int("q_lora_rank", 1536, kPositive);
  latent.key_rank = config.required_int("kv_lora_rank");
  latent.unrotated = config.required_int("qk_nope_head_dim");
  latent.rotated = config.required_int("qk_rope_head_dim");
  if (latent.rotated % 2 != 0)
    throw config.error("qk_rope_head_dim",
                       "rotary embedding needs an even dimension, found " + std::to_string(latent.rotated));
  return latent;
}

DecoderSpec read_attention(const ConfigReader& config, const Latent& latent) {
  const HeadSizes heads{latent.unrotated + latent.rotated, config.required_int("v_head_dim"), latent.rotated};
  DecoderSpec spec =
      read_common(config, "deepseek_v2",
                  {.rms_norm_eps = 1e-6, .rope_theta = 10000, .max_positions = 2048, .latent_heads = heads}, false);
  spec.rope.interleaved = true;
  spec.attention_scale_factor = read_scale_factor(config, spec.rope);
  spec.attention_bias = config.bool_or("attention_bias", false);
  if (config.bool_or("mlp_bias", false))
    throw config.error("mlp_bias", "true is not supported; accepted: false or absent");
  return spec;
}

class DeepseekV2 final : public DeepseekMoe {
 public:
  DeepseekV2(DecoderSpec spec, Latent latent, DeepseekWidths widths, const Weights& weights, MatmulBackend backend)
      : DeepseekMoe(std::move(spec), widths, weights, backend), latent_(latent) {}

  std::vector<TensorSlot> tensors() const override {
    const int64_t d = spec_.hidden_size, heads = spec_.num_heads;
    std::vector<TensorSlot> slots = outer_tensors();
    for (int64_t l = 0; l < spec_.num_layers; ++l) {
      const auto add = [&](const std::string& name, int64_t out, int64_t in, bool bias) {
        slots.push_back({attention(l) + name + ".weight", {out, in}});
        if (bias) slots.push_back({attention(l) + name + ".bias", {out}});
      };
      if (latent_.query_rank) {
        add("q_a_proj", *latent_.query_rank, d, spec_.attention_bias);
        slots.push_back({attention(l) + "q_a_layernorm.weight", {*latent_.query_rank}});
        add("q_b_proj", heads * spec_.head_dim, *latent_.query_rank, false);
      } else {
        add("q_proj", heads * spec_.head_dim, d, false);
      }
      add("kv_a_proj_with_mqa", latent_.key_rank + latent_.rotated, d, spec_.attention_bias);
      slots.push_back({attention(l) + "kv_a_layernorm.weight", {latent_.key_rank}});
      add("kv_b_proj", heads * (latent_.unrotated + spec_.value_dim), latent_.key_rank, false);
      add("o_proj", d, heads * spec_.value_dim, spec_.attention_bias);
    }
    for (auto& slot : feed_forward_tensors()) slots.push_back(std::move(slot));
    return slots;
  }

  Projected project(int64_t layer, const at::Tensor& x_TD, const Rotary& rotary) const override {
    const int64_t num_rows = x_TD.size(0), heads = spec_.num_heads, n = latent_.unrotated, r = latent_.rotated;
    const std::string prefix = attention(layer);
    at::Tensor q_TNd = latent_.query_rank
                           ? expanded(project_linear(x_TD, prefix + "q_a_proj", spec_.attention_bias), prefix, "q")
                           : project_linear(x_TD, prefix + "q_proj", false);
    q_TNd = q_TNd.to(at::kFloat).view({num_rows, heads, n + r});
    const at::Tensor compressed = project_linear(x_TD, prefix + "kv_a_proj_with_mqa", spec_.attention_bias);
    const at::Tensor kv_TNx = expanded(compressed.narrow(1, 0, latent_.key_rank), prefix, "kv")
                                  .to(at::kFloat)
                                  .view({num_rows, heads, n + spec_.value_dim});
    // One rotated key part for all heads; it is not normed.
    const at::Tensor shared_T1r = rotate(compressed.narrow(1, latent_.key_rank, r).to(at::kFloat).unsqueeze(1), rotary);
    return {at::cat({q_TNd.narrow(2, 0, n), rotate(q_TNd.narrow(2, n, r), rotary)}, 2),
            at::cat({kv_TNx.narrow(2, 0, n), shared_T1r.expand({num_rows, heads, r})}, 2),
            kv_TNx.narrow(2, n, spec_.value_dim)};
  }

  at::Tensor attention_output(int64_t layer, const at::Tensor& heads_TX) const override {
    return project_linear(heads_TX, attention(layer) + "o_proj", spec_.attention_bias);
  }

  // Input and weight in float32 whatever the working type.
  at::Tensor router_logits(int64_t layer, const at::Tensor& x_TD) const override {
    return linear(x_TD.to(at::kFloat), weights_.get_float(gate(layer) + ".weight"), {}, backend_);
  }

 private:
  std::string attention(int64_t layer) const { return layer_prefix(layer) + "self_attn."; }

  // "<part>_b_proj" of the normed latent rows.
  at::Tensor expanded(const at::Tensor& latent_TL, const std::string& prefix, const std::string& part) const {
    const at::Tensor weight = weights_.get_float(prefix + part + "_a_layernorm.weight");
    return project_linear(rms_norm(latent_TL, weight, kLatentEps, latent_TL.scalar_type()), prefix + part + "_b_proj",
                          false);
  }

  Latent latent_;
};

}  // namespace

std::unique_ptr<Family> make_deepseek_v2(const ConfigReader& config, const Weights& weights, MatmulBackend backend) {
  const Latent latent = read_latent(config);
  DecoderSpec spec = read_attention(config, latent);
  if (!config.has("n_shared_experts"))
    throw config.error("n_shared_experts",
                       "is missing, and published readers disagree about what it is then; accepted: a "
                       "number, or null for none");
  const DeepseekWidths widths = read_deepseek_moe(config, {"n_routed_experts", "num_experts"}, spec);
  spec.router.scaling_factor = config.number_or("routed_scaling_factor", 1.0);
  if (!(spec.router.scaling_factor > 0)) throw config.error("routed_scaling_factor", "must be a positive number");
  if (spec.router.weight_mode == WeightMode::kRenormalised)
    spec.router.scaling_factor = 1;  // one or the other, never both
  if (spec.router.num_experts > 0) read_selection(config, spec.router);
  return std::make_unique<DeepseekV2>(std::move(spec), latent, widths, weights, backend);
}

}  // namespace fare
