// The table of families: from config.json to a Family.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fare/models/family.h"

namespace fare {

// Dispatches on architectures[0], then model_type. Throws ModelMismatch naming both and the supported families.
std::unique_ptr<Family> make_family(const Checkpoint& checkpoint, const Weights& weights, MatmulBackend backend);

// model_type of every supported family.
std::vector<std::string> supported_families();

}  // namespace fare
