// Seeds of replicates: addressed by what they are for, so that they are the same on any number of threads.
#pragma once

#include <cstdint>
#include <string>

#include "fare/core/philox.h"

namespace fare {

inline uint64_t cell_seed(uint64_t seed, const std::string& part, uint64_t cell, int64_t replicate) {
  return RandomStream(seed, "calibration/" + part, static_cast<uint32_t>(cell)).u64(static_cast<uint64_t>(replicate));
}

}  // namespace fare
