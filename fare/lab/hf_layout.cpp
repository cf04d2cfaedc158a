#include "fare/lab/hf_layout.h"

#include "fare/core/error.h"

namespace fare {
namespace {

std::string text(int64_t value) { return std::to_string(value); }

OrderedJson id_or_null(int64_t id) { return id < 0 ? OrderedJson(nullptr) : OrderedJson(id); }

}  // namespace

LabFamily lab_family(const std::string& name, const std::string& flag) {
  if (name == "olmoe") return LabFamily::kOlmoe;
  if (name == "mixtral") return LabFamily::kMixtral;
  if (name == "qwen2_moe") return LabFamily::kQwen2Moe;
  throw UsageError(flag + " " + name + ": unknown family; accepted: olmoe, mixtral, qwen2_moe" +
                   did_you_mean(name, {"olmoe", "mixtral", "qwen2_moe"}));
}

std::string lab_family_name(LabFamily family) {
  return family == LabFamily::kOlmoe ? "olmoe" : family == LabFamily::kMixtral ? "mixtral" : "qwen2_moe";
}

void check_shape(const ModelShape& shape) {
  const auto positive = [](const char* flag, int64_t value) {
    if (value < 1) throw UsageError(std::string(flag) + " " + text(value) + ": must be at least 1");
  };
  positive("--hidden", shape.hidden);
  positive("--layers", shape.layers);
  positive("--experts", shape.experts);
  positive("--top-k", shape.top_k);
  positive("--expert-width", shape.expert_width);
  positive("--heads", shape.heads);
  positive("--kv-heads", shape.kv_heads);
  positive("--vocab", shape.vocab);
  positive("--max-length", shape.max_positions);
  if (shape.top_k > shape.experts)
    throw UsageError("--top-k " + text(shape.top_k) + ": there are only " + text(shape.experts) + " experts");
  if (shape.hidden % shape.heads != 0)
    throw UsageError("--heads " + text(shape.heads) + ": --hidden " + text(shape.hidden) + " is not a multiple of it");
  if (shape.head_dim() % 2 != 0)
    throw UsageError("--heads " + text(shape.heads) + ": the head dimension " + text(shape.head_dim()) +
                     " is odd, rotary positions need an even one");
  if (shape.heads % shape.kv_heads != 0)
    throw UsageError("--kv-heads " + text(shape.kv_heads) + ": must divide --heads " + text(shape.heads));
}

OrderedJson config_json(const ModelShape& shape, Dtype dtype) {
  const bool olmoe = shape.family == LabFamily::kOlmoe, qwen = shape.family == LabFamily::kQwen2Moe;
  OrderedJson config;
  config["architectures"] = OrderedJson::array({olmoe  ? "OlmoeForCausalLM"
                                                : qwen ? "Qwen2MoeForCausalLM"
                                                       : "MixtralForCausalLM"});
  config["model_type"] = lab_family_name(shape.family);
  config["vocab_size"] = shape.vocab;
  config["hidden_size"] = shape.hidden;
  config["intermediate_size"] = shape.expert_width;
  config["num_hidden_layers"] = shape.layers;
  config["num_attention_heads"] = shape.heads;
  config["num_key_value_heads"] = shape.kv_heads;
  config["hidden_act"] = "silu";
  config["max_position_embeddings"] = shape.max_positions;
  config["initializer_range"] = 0.02;
  config["rms_norm_eps"] = 1e-5;
  config["rope_theta"] = 10000.0;
  config["attention_dropout"] = 0.0;
  if (olmoe) {
    config["attention_bias"] = false;
    config["clip_qkv"] = nullptr;
    config["num_experts"] = shape.experts;
    config["num_experts_per_tok"] = shape.top_k;
    config["norm_topk_prob"] = shape.renormalise;
  } else if (qwen) {
    config["qkv_bias"] = false;
    config["use_sliding_window"] = false;
    config["decoder_sparse_step"] = 1;
    config["mlp_only_layers"] = OrderedJson::array();
    config["num_experts"] = shape.experts;
    config["num_experts_per_tok"] = shape.top_k;
    config["norm_topk_prob"] = shape.renormalise;
    config["moe_intermediate_size"] = shape.expert_width;
    config["shared_expert_intermediate_size"] = shape.shared_width;
  } else {
    config["head_dim"] = shape.head_dim();
    config["sliding_window"] = nullptr;
    config["num_local_experts"] = shape.experts;
    config["num_experts_per_tok"] = shape.top_k;
  }
  config["output_router_logits"] = false;
  config["router_aux_loss_coef"] = 0.01;
  config["tie_word_embeddings"] = false;
  config["use_cache"] = true;
  config["bos_token_id"] = id_or_null(shape.bos);
  config["eos_token_id"] = id_or_null(shape.eos);
  config["pad_token_id"] = id_or_null(shape.pad);
  config["torch_dtype"] = dtype == Dtype::kBF16 ? "bfloat16" : "float32";
  return config;
}

int64_t TensorPlan::num_values() const {
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  return n;
}

std::vector<TensorPlan> tensor_plans(const ModelShape& shape) {
  const bool olmoe = shape.family == LabFamily::kOlmoe, mixtral = shape.family == LabFamily::kMixtral;
  const int64_t h = shape.hidden, q = shape.heads * shape.head_dim(), kv = shape.kv_heads * shape.head_dim();
  std::vector<TensorPlan> plans;
  plans.push_back({"model.embed_tokens.weight", TensorRole::kEmbedding, -1, -1, {shape.vocab, h}});
  for (int64_t l = 0; l < shape.layers; ++l) {
    const std::string layer = "model.layers." + text(l) + ".";
    const std::string attention = layer + "self_attn.";
    plans.push_back({layer + "input_layernorm.weight", TensorRole::kAttentionNorm, l, -1, {h}});
    plans.push_back({attention + "q_proj.weight", TensorRole::kQuery, l, -1, {q, h}});
    plans.push_back({attention + "k_proj.weight", TensorRole::kKey, l, -1, {kv, h}});
    plans.push_back({attention + "v_proj.weight", TensorRole::kValue, l, -1, {kv, h}});
    plans.push_back({attention + "o_proj.weight", TensorRole::kAttentionOut, l, -1, {h, q}});
    if (olmoe) {
      plans.push_back({attention + "q_norm.weight", TensorRole::kQueryNorm, l, -1, {q}});
      plans.push_back({attention + "k_norm.weight", TensorRole::kKeyNorm, l, -1, {kv}});
    }
    plans.push_back({layer + "post_attention_layernorm.weight", TensorRole::kExpertNorm, l, -1, {h}});
    const std::string block = layer + (mixtral ? "block_sparse_moe." : "mlp.");
    plans.push_back({block + "gate.weight", TensorRole::kRouter, l, -1, {shape.experts, h}});
    for (int64_t e = 0; e < shape.experts; ++e) {
      const std::string expert = block + "experts." + text(e) + ".";
      const int64_t i = shape.expert_width;
      plans.push_back({expert + (mixtral ? "w1" : "gate_proj") + ".weight", TensorRole::kExpertGate, l, e, {i, h}});
      plans.push_back({expert + (mixtral ? "w3" : "up_proj") + ".weight", TensorRole::kExpertUp, l, e, {i, h}});
      plans.push_back({expert + (mixtral ? "w2" : "down_proj") + ".weight", TensorRole::kExpertDown, l, e, {h, i}});
    }
    if (shape.family == LabFamily::kQwen2Moe) {
      const int64_t i = shape.shared_width;
      plans.push_back({block + "shared_expert.gate_proj.weight", TensorRole::kSharedGate, l, -1, {i, h}});
      plans.push_back({block + "shared_expert.up_proj.weight", TensorRole::kSharedUp, l, -1, {i, h}});
      plans.push_back({block + "shared_expert.down_proj.weight", TensorRole::kSharedDown, l, -1, {h, i}});
      plans.push_back({block + "shared_expert_gate.weight", TensorRole::kSharedSwitch, l, -1, {1, h}});
    }
  }
  plans.push_back({"model.norm.weight", TensorRole::kFinalNorm, -1, -1, {h}});
  plans.push_back({"lm_head.weight", TensorRole::kUnembedding, -1, -1, {shape.vocab, h}});
  return plans;
}

std::vector<TensorDeclaration> declarations(const std::vector<TensorPlan>& plans, Dtype dtype) {
  std::vector<TensorDeclaration> out;
  for (const TensorPlan& plan : plans) out.push_back({plan.name, dtype, plan.shape});
  return out;
}

}  // namespace fare
