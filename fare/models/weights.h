// Weights of a checkpoint in the working type: mapped where the stored type is the working type, converted at use where
// it is not. Checked for NaN and Inf when first used. May be used from several threads.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "fare/checkpoint/checkpoint.h"

namespace fare {

// A tensor a family expects.
struct TensorSlot {
  std::string name;
  std::vector<int64_t> shape;
  std::optional<Dtype> stored;  // must be exactly this; none = F32, F16 or BF16
  bool required = true;         // false: may be absent
};

class Weights {
 public:
  // working: at::kFloat or at::kBFloat16.
  Weights(std::shared_ptr<const Checkpoint> checkpoint, at::ScalarType working);

  const Checkpoint& checkpoint() const { return *checkpoint_; }
  at::ScalarType working() const { return working_; }
  bool has(const std::string& name) const { return checkpoint_->has(name); }

  // The whole tensor in the working type. No copy when it is stored in that type and aligned; the tensor must then not
  // outlive this object. Throws NumericError naming tensor and index at the first NaN or Inf.
  at::Tensor get(const std::string& name) const;
  // The same in float32 (norm weights, biases of the router).
  at::Tensor get_float(const std::string& name) const;
  // [begin, begin + count) along the second axis of slice `index` along the first, in the working type: of a tensor of rank
  // 2 or more.
  at::Tensor get_slice(const std::string& name, int64_t index, int64_t begin, int64_t count) const;

  // Throws one ModelMismatch that counts and lists, a hundred of each kind at most, the tensors that are missing, of another
  // shape or dtype, and those of the checkpoint that nobody expects (`ignorable` says which of these do not matter).
  void check(const std::vector<TensorSlot>& expected, const std::function<bool(const std::string& name)>& ignorable) const;

 private:
  // The tensor kept under `key`, else the one made from `view()`.
  at::Tensor kept(const std::string& key, at::ScalarType type, const std::function<TensorView()>& view) const;

  std::shared_ptr<const Checkpoint> checkpoint_;
  at::ScalarType working_;
  mutable std::shared_mutex guard_;
  mutable std::unordered_set<std::string> scanned_;           // names whose values are known to be finite
  mutable std::unordered_map<std::string, at::Tensor> ready_;  // mapped tensors, and small converted copies
  mutable size_t copied_bytes_ = 0;                            // of the copies in ready_
};

}  // namespace fare
