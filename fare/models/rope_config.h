// Reads the rope settings of config.json in both published spellings.
#pragma once

#include <cstdint>

#include "fare/checkpoint/config_reader.h"
#include "fare/models/rope.h"

namespace fare {

// `rope_parameters` (new) wins over top-level `rope_theta` with `rope_scaling` (old). dim = rotary dimension.
// Throws FormatError naming the key for an unknown type, a missing factor, a list of the wrong length, or a
// partial_rotary_factor other than 1.
RopeSpec read_rope(const ConfigReader& config, int64_t dim, double default_theta, int64_t max_positions);

}  // namespace fare
