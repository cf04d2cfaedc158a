#include "fare/models/common_config.h"

#include <cmath>

#include "fare/models/rope_config.h"

namespace fare {
namespace {

// Key-value heads and the sizes of a head.
void read_heads(const ConfigReader& config, const CommonDefaults& defaults, bool head_dim_key, DecoderSpec& spec) {
  if (defaults.latent_heads) {
    spec.num_kv_heads = spec.num_heads;
    spec.head_dim = defaults.latent_heads->query;
    spec.value_dim = defaults.latent_heads->value;
    config.ignore({"head_dim", "num_key_value_heads"});
    return;
  }
  if (!defaults.kv_heads_may_be_absent && !config.has("num_key_value_heads"))
    throw config.error("num_key_value_heads",
                       "is missing; it decides the architecture and is not guessed (null means "
                       "num_attention_heads)");
  spec.num_kv_heads = config.optional_int("num_key_value_heads", {}, kPositive).value_or(spec.num_heads);
  if (spec.num_heads % spec.num_kv_heads != 0)
    throw config.error("num_attention_heads", std::to_string(spec.num_heads) +
                                                  " is not divisible by num_key_value_heads " +
                                                  std::to_string(spec.num_kv_heads));
  const std::optional<int64_t> head_dim = config.optional_int("head_dim", {}, kPositive);
  if (!head_dim && spec.hidden_size % spec.num_heads != 0)
    throw config.error("hidden_size", std::to_string(spec.hidden_size) + " is not divisible by num_attention_heads " +
                                          std::to_string(spec.num_heads));
  spec.head_dim = head_dim.value_or(spec.hidden_size / spec.num_heads);
  if (!head_dim_key && spec.head_dim * spec.num_heads != spec.hidden_size)
    throw config.error("head_dim", std::to_string(spec.head_dim) +
                                       " is not hidden_size / num_attention_heads, which this "
                                       "family needs; accepted: absent, null or " +
                                       std::to_string(spec.hidden_size / spec.num_heads));
  spec.value_dim = spec.head_dim;
}

}  // namespace

DecoderSpec read_common(const ConfigReader& config, const std::string& model_type, const CommonDefaults& defaults,
                        bool head_dim_key) {
  DecoderSpec spec;
  spec.model_type = model_type;
  spec.vocab_size = config.required_int("vocab_size");
  spec.hidden_size = config.required_int("hidden_size");
  spec.num_layers = config.required_int("num_hidden_layers");
  spec.num_heads = config.required_int("num_attention_heads");
  read_heads(config, defaults, head_dim_key, spec);
  spec.attention_scale = 1.0 / std::sqrt(static_cast<double>(spec.head_dim));
  spec.max_positions = config.int_or("max_position_embeddings", defaults.max_positions, kPositive);
  spec.rms_norm_eps = config.number_or("rms_norm_eps", defaults.rms_norm_eps);
  if (!(spec.rms_norm_eps >= 0)) throw config.error("rms_norm_eps", "must not be negative");
  spec.rope = read_rope(config, defaults.latent_heads ? defaults.latent_heads->rotary : spec.head_dim,
                        defaults.rope_theta, spec.max_positions);
  spec.tied_head = config.bool_or("tie_word_embeddings", defaults.tied_head);
  const std::string activation = config.string_or("hidden_act", "silu");
  if (activation != "silu" && activation != "swish")
    throw config.error("hidden_act", "'" + activation + "' is not supported; accepted: silu, swish");
  if (const auto quantisation = config.optional_object("quantization_config")) {
    const std::string method = quantisation->string_or("quant_method", "none");
    if (!defaults.mxfp4 || method != "mxfp4")
      throw config.error("quantization_config", "quant_method '" + method + "' is not supported; accepted: " +
                                                    (defaults.mxfp4 ? "mxfp4, or " : "") +
                                                    "no such key and weights stored as F32, F16 or BF16");
  }
  return spec;
}

int64_t read_top_k(const ConfigReader& config, const ConfigKey& key, int64_t num_experts) {
  const int64_t top_k = config.required_int(key);
  if (top_k > num_experts)
    throw config.error(key, std::to_string(top_k) + " is more than the " + std::to_string(num_experts) +
                                " experts there are; accepted: 1 to " + std::to_string(num_experts));
  return top_k;
}

}  // namespace fare
