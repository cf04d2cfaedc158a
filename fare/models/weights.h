// Weights of a checkpoint in the working type: mapped where the stored type is the working type, converted at use where
// it is not; on a device other than the CPU copied there at first use, once. Checked for NaN and Inf when first used.
// May be used from several threads.
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

  // From now on tensors "model.layers.N.*" are given on the device of layer N, all others on `outer`; until then, on
  // the CPU.
  void place(std::function<at::Device(int64_t layer)> of_layer, at::Device outer);

  const Checkpoint& checkpoint() const { return *checkpoint_; }
  at::ScalarType working() const { return working_; }
  bool has(const std::string& name) const { return checkpoint_->has(name); }

  // The whole tensor in the working type. No copy when it is stored in that type and aligned; the tensor must then not
  // outlive this object. Throws NumericError naming tensor and index at the first NaN or Inf.
  at::Tensor get(const std::string& name) const;
  // The same in float32 (norm weights, biases of the router).
  at::Tensor get_float(const std::string& name) const;
  // get() in host memory, wherever the tensor is placed.
  at::Tensor get_on_host(const std::string& name) const;
  // [begin, begin + count) along the second axis of slice `index` along the first, in the working type: of a tensor of
  // rank 2 or more.
  at::Tensor get_slice(const std::string& name, int64_t index, int64_t begin, int64_t count) const;
  // What `make()` computes of tensor `name`, on that tensor's device; made once under `key` where this is not the CPU.
  at::Tensor derived(const std::string& name, const std::string& key, const std::function<at::Tensor()>& make) const;

  // Throws one ModelMismatch that counts and lists, a hundred of each kind at most, the tensors that are missing, of
  // another shape or dtype, and those of the checkpoint that nobody expects (`ignorable` says which of these do not
  // matter).
  void check(const std::vector<TensorSlot>& expected,
             const std::function<bool(const std::string& name)>& ignorable) const;

 private:
  at::Device device_of(const std::string& name) const;
  // The tensor kept under `key`, else the one made from `view()`; in host memory.
  at::Tensor kept(const std::string& key, at::ScalarType type, const std::function<TensorView()>& view) const;

  std::shared_ptr<const Checkpoint> checkpoint_;
  at::ScalarType working_;
  std::function<at::Device(int64_t layer)> of_layer_;  // empty = everything on the CPU
  at::Device outer_ = at::kCPU;
  mutable std::shared_mutex guard_;
  mutable std::unordered_set<std::string> scanned_;             // names whose values are known to be finite
  mutable std::unordered_map<std::string, at::Tensor> ready_;   // mapped tensors, and small converted copies
  mutable std::unordered_map<std::string, at::Tensor> placed_;  // copies on other devices
  mutable size_t copied_bytes_ = 0;                             // of the copies in ready_
};

}  // namespace fare
