#include "fare/models/weights.h"

#include <cstring>
#include <unordered_set>

#include "fare/checkpoint/finite.h"
#include "fare/core/error.h"

namespace fare {
namespace {

at::ScalarType torch_type(const TensorView& view) {
  switch (view.dtype) {
    case Dtype::kF32:
      return at::kFloat;
    case Dtype::kBF16:
      return at::kBFloat16;
    case Dtype::kF16:
      return at::kHalf;
    default:
      throw ModelMismatch("tensor '" + view.name + "' is stored as " + std::string(dtype_name(view.dtype)) +
                          "; weights must be F32, F16 or BF16");
  }
}

}  // namespace

Weights::Weights(std::shared_ptr<const Checkpoint> checkpoint, at::ScalarType working)
    : checkpoint_(std::move(checkpoint)), working_(working) {}

at::Tensor Weights::as_tensor(const TensorView& view, at::ScalarType type) const {
  const at::ScalarType stored = torch_type(view);
  {
    const std::lock_guard lock(guard_);
    if (!scanned_.contains(view.name)) {
      fare::check_finite(view);
      scanned_.insert(view.name);
    }
  }
  const size_t element = c10::elementSize(stored);
  const bool aligned = reinterpret_cast<uintptr_t>(view.data) % element == 0;
  at::Tensor tensor;
  if (aligned) {
    tensor = at::from_blob(const_cast<std::byte*>(view.data), view.shape, at::TensorOptions(stored));
  } else {
    tensor = at::empty(view.shape, at::TensorOptions(stored));
    std::memcpy(tensor.mutable_data_ptr(), view.data, view.num_bytes);
  }
  return tensor.to(type);
}

at::Tensor Weights::get(const std::string& name) const { return as_tensor(checkpoint_->tensor(name), working_); }

at::Tensor Weights::get_float(const std::string& name) const { return as_tensor(checkpoint_->tensor(name), at::kFloat); }

at::Tensor Weights::get_slice(const std::string& name, int64_t index, int64_t begin, int64_t count) const {
  TensorView view = checkpoint_->tensor(name);
  FARE_CHECK(view.shape.size() == 3 && index < view.shape[0] && begin + count <= view.shape[1], name);
  const size_t row_bytes = view.num_bytes / static_cast<size_t>(view.shape[0] * view.shape[1]);
  view.data += static_cast<size_t>(index * view.shape[1] + begin) * row_bytes;
  view.num_bytes = static_cast<size_t>(count) * row_bytes;
  view.name = name + "[" + std::to_string(index) + ", " + std::to_string(begin) + ":]";
  view.shape = {count, view.shape[2]};
  return as_tensor(view, working_);
}

void Weights::check(const std::vector<TensorSlot>& expected, bool (*ignorable)(const std::string&)) const {
  constexpr size_t kMostShown = 20;
  std::vector<std::string> problems;
  std::unordered_set<std::string> known;
  for (const TensorSlot& slot : expected) {
    known.insert(slot.name);
    if (!checkpoint_->has(slot.name)) {
      problems.push_back("missing tensor '" + slot.name + "' " + shape_text(slot.shape));
      continue;
    }
    const TensorView view = checkpoint_->tensor(slot.name);
    if (view.shape != slot.shape)
      problems.push_back("tensor '" + slot.name + "' has shape " + shape_text(view.shape) + ", expected " +
                         shape_text(slot.shape));
  }
  for (const std::string& name : checkpoint_->names())
    if (!known.contains(name) && !ignorable(name)) problems.push_back("unexpected tensor '" + name + "'");
  if (problems.empty()) return;
  std::string text = checkpoint_->folder().string() + ": the tensors do not fit config.json:";
  for (size_t i = 0; i < std::min(problems.size(), kMostShown); ++i) text += "\n  " + problems[i];
  if (problems.size() > kMostShown) text += "\n  and " + std::to_string(problems.size() - kMostShown) + " more";
  throw ModelMismatch(text);
}

}  // namespace fare
