// One maker per family; the registry's table names them.
#pragma once

#include <memory>

#include "fare/checkpoint/config_reader.h"
#include "fare/models/family.h"

namespace fare {

std::unique_ptr<Family> make_deepseek(const ConfigReader& config, const Weights& weights, MatmulBackend backend);
std::unique_ptr<Family> make_deepseek_v2(const ConfigReader& config, const Weights& weights, MatmulBackend backend);
std::unique_ptr<Family> make_ernie4_5_moe(const ConfigReader& config, const Weights& weights, MatmulBackend backend);
std::unique_ptr<Family> make_gpt_oss(const ConfigReader& config, const Weights& weights, MatmulBackend backend);
std::unique_ptr<Family> make_hunyuan_v1_moe(const ConfigReader& config, const Weights& weights, MatmulBackend backend);
std::unique_ptr<Family> make_olmoe(const ConfigReader& config, const Weights& weights, MatmulBackend backend);
std::unique_ptr<Family> make_mixtral(const ConfigReader& config, const Weights& weights, MatmulBackend backend);
std::unique_ptr<Family> make_qwen2_moe(const ConfigReader& config, const Weights& weights, MatmulBackend backend);
std::unique_ptr<Family> make_qwen3_moe(const ConfigReader& config, const Weights& weights, MatmulBackend backend);

}  // namespace fare
