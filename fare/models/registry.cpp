#include "fare/models/registry.h"

#include "fare/core/error.h"
#include "fare/models/families.h"

namespace fare {
namespace {

struct FamilyEntry {
  const char* model_type;
  const char* architecture;
  std::unique_ptr<Family> (*make)(const ConfigReader&, const Weights&, MatmulBackend);
};

constexpr FamilyEntry kFamilies[] = {
    {"deepseek", "DeepseekForCausalLM", &make_deepseek},
    {"deepseek_v2", "DeepseekV2ForCausalLM", &make_deepseek_v2},
    {"ernie4_5_moe", "Ernie4_5_MoeForCausalLM", &make_ernie4_5_moe},
    {"gpt_oss", "GptOssForCausalLM", &make_gpt_oss},
    {"hunyuan_v1_moe", "HunYuanMoEV1ForCausalLM", &make_hunyuan_v1_moe},
    {"mixtral", "MixtralForCausalLM", &make_mixtral},
    {"olmoe", "OlmoeForCausalLM", &make_olmoe},
    {"qwen2_moe", "Qwen2MoeForCausalLM", &make_qwen2_moe},
    {"qwen3_moe", "Qwen3MoeForCausalLM", &make_qwen3_moe},
};

}  // namespace

std::vector<std::string> supported_families() {
  std::vector<std::string> names;
  for (const FamilyEntry& entry : kFamilies) names.emplace_back(entry.model_type);
  return names;
}

std::unique_ptr<Family> make_family(const Checkpoint& checkpoint, const Weights& weights, MatmulBackend backend) {
  const ConfigReader config(checkpoint.config(), checkpoint.config_path().string());
  const auto architectures = config.optional_strings("architectures");
  const std::string architecture = architectures && !architectures->empty() ? architectures->front() : "";
  const std::string model_type = config.string_or("model_type", "");
  for (const FamilyEntry& entry : kFamilies)
    if (architecture == entry.architecture) return entry.make(config, weights, backend);
  if (architecture.empty())
    for (const FamilyEntry& entry : kFamilies)
      if (model_type == entry.model_type) return entry.make(config, weights, backend);
  std::string known;
  for (const FamilyEntry& entry : kFamilies) known += std::string(known.empty() ? "" : ", ") + entry.architecture;
  throw ModelMismatch(checkpoint.config_path().string() + ": architecture '" + architecture + "' (model_type '" +
                      model_type + "') is not supported; accepted: " + known);
}

}  // namespace fare
