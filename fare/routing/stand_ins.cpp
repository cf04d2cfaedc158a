#include "fare/routing/stand_ins.h"

#include "fare/core/philox.h"

namespace fare {

const float* StandIns::drawn(int64_t layer, int32_t expert, int64_t position) const {
  const at::Tensor& stored_ND = outputs_ND.at(layer).at(expert);
  const RandomStream stream(seed, "masking/resample", static_cast<uint32_t>(layer), static_cast<uint32_t>(expert));
  const uint64_t row = stream.index(static_cast<uint64_t>(position), static_cast<uint64_t>(stored_ND.size(0)));
  return stored_ND.const_data_ptr<float>() + static_cast<int64_t>(row) * stored_ND.size(1);
}

}  // namespace fare
