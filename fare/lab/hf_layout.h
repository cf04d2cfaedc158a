// The checkpoint layout of the families the lab can write: config.json, tensor names and shapes. Knows no values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fare/checkpoint/dtype.h"
#include "fare/checkpoint/safetensors_writer.h"
#include "fare/core/json.h"

namespace fare {

enum class LabFamily { kOlmoe, kMixtral, kQwen2Moe };

// "olmoe", "mixtral" or "qwen2_moe"; throws UsageError naming `flag` otherwise.
LabFamily lab_family(const std::string& name, const std::string& flag);
std::string lab_family_name(LabFamily family);

// Everything that decides the shapes. Sources: OlmoeForCausalLM, MixtralForCausalLM and
// Qwen2MoeForCausalLM of the transformers library.
struct ModelShape {
  LabFamily family = LabFamily::kOlmoe;
  int64_t vocab = 0;
  int64_t hidden = 0;  // H
  int64_t layers = 0;
  int64_t experts = 0;                 // E, every layer is a MoE layer
  int64_t top_k = 0;                   // K
  int64_t expert_width = 0;            // I
  int64_t shared_width = 0;            // inner width of the shared expert, Qwen2-MoE only
  int64_t heads = 1;                   // H must be a multiple of it, the quotient even
  int64_t kv_heads = 1;                // divides `heads`
  int64_t max_positions = 0;           // context length
  bool renormalise = true;             // Mixtral always renormalises
  int64_t bos = 0, eos = 0, pad = -1;  // token ids; -1 = none

  int64_t head_dim() const { return hidden / heads; }
};

// Throws UsageError naming the field (as the flag of `fare lab make random`) that cannot be.
void check_shape(const ModelShape& shape);

// config.json, `dtype` F32 or BF16.
OrderedJson config_json(const ModelShape& shape, Dtype dtype);

// What a tensor is for, whatever its family calls it.
enum class TensorRole {
  kEmbedding,      // [V, H]
  kUnembedding,    // [V, H]
  kFinalNorm,      // [H]
  kAttentionNorm,  // [H], before attention
  kExpertNorm,     // [H], before the MoE block
  kQuery,          // [heads * head_dim, H]
  kKey,            // [kv_heads * head_dim, H]
  kValue,          // as kKey
  kAttentionOut,   // [H, heads * head_dim]
  kQueryNorm,      // [heads * head_dim], OLMoE only
  kKeyNorm,        // [kv_heads * head_dim], OLMoE only
  kRouter,         // [E, H]
  kExpertGate,     // [I, H]
  kExpertUp,       // [I, H]
  kExpertDown,     // [H, I]
  kSharedGate,     // [shared_width, H], Qwen2-MoE only, as the next three
  kSharedUp,       // as kSharedGate
  kSharedDown,     // [H, shared_width]
  kSharedSwitch,   // [1, H]: the shared expert's output is scaled by the sigmoid of this row times its input
};

struct TensorPlan {
  std::string name;
  TensorRole role;
  int64_t layer = -1, expert = -1;  // -1 where it has none
  std::vector<int64_t> shape;       // row-major

  int64_t num_values() const;
};

// Every tensor of the checkpoint, embedding first, then layer by layer.
std::vector<TensorPlan> tensor_plans(const ModelShape& shape);

std::vector<TensorDeclaration> declarations(const std::vector<TensorPlan>& plans, Dtype dtype);

}  // namespace fare
