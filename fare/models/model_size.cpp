#include "fare/models/model_size.h"

#include "fare/checkpoint/dtype.h"

namespace fare {

std::map<Dtype, int64_t> ModelSize::stored_bytes(Dtype unquantised) const {
  std::map<Dtype, int64_t> bytes;
  if (free_type_elements > 0) bytes[unquantised] = free_type_elements * dtype_bits(unquantised) / 8;
  for (const auto& [dtype, elements] : fixed_elements) bytes[dtype] += elements * dtype_bits(dtype) / 8;
  return bytes;
}

ModelSize model_size(const Family& family, const Weights& weights) {
  const DecoderSpec& spec = family.spec();
  const bool only_config = weights.checkpoint().weight_files().empty();
  ModelSize size;
  int64_t routed = 0;  // of all routed experts
  for (const TensorSlot& slot : family.tensors()) {
    if (!slot.required && !only_config && !weights.has(slot.name)) continue;
    int64_t elements = 1;
    for (const int64_t n : slot.shape) elements *= n;
    if (slot.stored) size.fixed_elements[*slot.stored] += elements;
    else size.free_type_elements += elements;

    const bool blocks = slot.stored == Dtype::kU8 && slot.name.ends_with("_blocks");
    const bool scales = slot.stored == Dtype::kU8 && slot.name.ends_with("_scales");
    const int64_t parameters = blocks ? 2 * elements : scales ? 0 : elements;
    size.parameters += parameters;
    if (slot.name == "model.embed_tokens.weight") {
      size.active_parameters += spec.tied_head ? parameters : spec.hidden_size;
    } else if (slot.name.find(".experts.") != std::string::npos) {
      routed += parameters;
    } else {
      size.active_parameters += parameters;
    }
  }
  if (routed > 0) size.active_parameters += routed / spec.router.num_experts * spec.router.top_k;
  size.cache_bytes_per_token =
      spec.num_layers * spec.num_kv_heads * (spec.head_dim + spec.value_dim) * static_cast<int64_t>(sizeof(float));
  return size;
}

}  // namespace fare
