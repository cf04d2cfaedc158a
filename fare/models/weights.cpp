#include "fare/models/weights.h"

#include <charconv>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>

#include "fare/checkpoint/finite.h"
#include "fare/core/error.h"

namespace fare {
namespace {

// Converted copies up to this size are kept (norms, biases, routers and whole tiny models), up to this sum.
constexpr size_t kSmallCopyBytes = size_t{1} << 18, kAllCopiesBytes = size_t{64} << 20;

std::optional<at::ScalarType> torch_type(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32: return at::kFloat;
    case Dtype::kBF16: return at::kBFloat16;
    case Dtype::kF16: return at::kHalf;
    default: return std::nullopt;
  }
}

std::string dtype_problem(const TensorView& view) {
  return "tensor '" + view.name + "' is stored as " + std::string(dtype_name(view.dtype)) +
         "; weights must be F32, F16 or BF16";
}

}  // namespace

Weights::Weights(std::shared_ptr<const Checkpoint> checkpoint, at::ScalarType working)
    : checkpoint_(std::move(checkpoint)), working_(working) {}

void Weights::place(std::function<at::Device(int64_t layer)> of_layer, at::Device outer) {
  of_layer_ = std::move(of_layer);
  outer_ = outer;
}

at::Device Weights::device_of(const std::string& name) const {
  static constexpr std::string_view kLayers = "model.layers.";
  if (!of_layer_) return at::kCPU;
  int64_t layer = 0;
  if (!name.starts_with(kLayers) ||
      std::from_chars(name.data() + kLayers.size(), name.data() + name.size(), layer).ec != std::errc())
    return outer_;
  return of_layer_(layer);
}

at::Tensor Weights::derived(const std::string& name, const std::string& key,
                            const std::function<at::Tensor()>& make) const {
  const at::Device device = device_of(name);
  if (device.is_cpu()) return make();
  {
    const std::shared_lock lock(guard_);
    if (const auto found = placed_.find(key); found != placed_.end()) return found->second;
  }
  const at::Tensor copy = make().to(device);
  const std::unique_lock lock(guard_);
  return placed_.emplace(key, copy).first->second;
}

at::Tensor Weights::kept(const std::string& key, at::ScalarType type, const std::function<TensorView()>& find) const {
  bool scanned = false;
  {
    const std::shared_lock lock(guard_);
    if (const auto found = ready_.find(key); found != ready_.end()) return found->second;
    scanned = scanned_.contains(key);
  }
  const TensorView view = find();
  const auto stored = torch_type(view.dtype);
  if (!stored) throw ModelMismatch(checkpoint_->folder().string() + ": " + dtype_problem(view));
  if (!scanned) fare::check_finite(view);

  const bool aligned = reinterpret_cast<uintptr_t>(view.data) % c10::elementSize(*stored) == 0;
  at::Tensor tensor;
  if (aligned) {
    tensor = at::from_blob(const_cast<std::byte*>(view.data), view.shape, at::TensorOptions(*stored));
  } else {
    tensor = at::empty(view.shape, at::TensorOptions(*stored));
    std::memcpy(tensor.mutable_data_ptr(), view.data, view.num_bytes);
  }
  tensor = tensor.to(type);
  const bool mapped = aligned && type == *stored;
  const std::unique_lock lock(guard_);
  scanned_.insert(key);
  const bool keep =
      mapped || (tensor.nbytes() <= kSmallCopyBytes && copied_bytes_ + tensor.nbytes() <= kAllCopiesBytes);
  if (!keep) return tensor;
  const auto [place, inserted] = ready_.emplace(key, tensor);
  if (inserted && !mapped) copied_bytes_ += tensor.nbytes();
  return place->second;
}

at::Tensor Weights::get_on_host(const std::string& name) const {
  return kept(name, working_, [&] { return checkpoint_->tensor(name); });
}

at::Tensor Weights::get(const std::string& name) const {
  return derived(name, name, [&] { return get_on_host(name); });
}

at::Tensor Weights::get_float(const std::string& name) const {
  if (working_ == at::kFloat) return get(name);
  const std::string key = name + " as float32";
  return derived(name, key, [&] { return kept(key, at::kFloat, [&] { return checkpoint_->tensor(name); }); });
}

at::Tensor Weights::get_slice(const std::string& name, int64_t index, int64_t begin, int64_t count) const {
  const std::string key =
      name + "[" + std::to_string(index) + ", " + std::to_string(begin) + ":" + std::to_string(begin + count) + "]";
  const auto view_of_slice = [&] {
    TensorView view = checkpoint_->tensor(name);
    FARE_CHECK(view.shape.size() >= 2 && index < view.shape[0] && begin + count <= view.shape[1], name);
    const size_t row_bytes = view.num_bytes / static_cast<size_t>(view.shape[0] * view.shape[1]);
    view.data += static_cast<size_t>(index * view.shape[1] + begin) * row_bytes;
    view.num_bytes = static_cast<size_t>(count) * row_bytes;
    view.name = key;  // positions in errors count from the start of the slice
    view.shape.erase(view.shape.begin());
    view.shape[0] = count;
    return view;
  };
  return derived(name, key, [&] { return kept(key, working_, view_of_slice); });
}

void Weights::check(const std::vector<TensorSlot>& expected,
                    const std::function<bool(const std::string&)>& ignorable) const {
  constexpr size_t kMostShown = 100;
  std::map<std::string, std::vector<std::string>> problems;  // by kind
  const char *const missing = "missing", *const shape = "of another shape", *const dtype = "of another dtype",
                    *const extra = "unexpected";
  std::unordered_set<std::string> known;
  for (const TensorSlot& slot : expected) {
    known.insert(slot.name);
    if (!checkpoint_->has(slot.name)) {
      if (!slot.required) continue;
      problems[missing].push_back("missing tensor '" + slot.name + "' " + shape_text(slot.shape));
      continue;
    }
    const TensorView view = checkpoint_->raw_tensor(slot.name);
    if (slot.stored && view.dtype != *slot.stored)
      problems[dtype].push_back("tensor '" + slot.name + "' is stored as " + std::string(dtype_name(view.dtype)) +
                                ", expected " + std::string(dtype_name(*slot.stored)));
    if (!slot.stored && !torch_type(view.dtype)) problems[dtype].push_back(dtype_problem(view));
    if (view.shape != slot.shape)
      problems[shape].push_back("tensor '" + slot.name + "' has shape " + shape_text(view.shape) + ", expected " +
                                shape_text(slot.shape));
  }
  for (const std::string& name : checkpoint_->names())
    if (!known.contains(name) && !ignorable(name)) problems[extra].push_back("unexpected tensor '" + name + "'");
  if (problems.empty()) return;
  std::string counts, lines;
  for (const auto& [kind, texts] : problems) {
    counts += (counts.empty() ? "" : ", ") + std::to_string(texts.size()) + " " + kind;
    for (size_t i = 0; i < std::min(texts.size(), kMostShown); ++i) lines += "\n  " + texts[i];
    if (texts.size() > kMostShown) lines += "\n  and " + std::to_string(texts.size() - kMostShown) + " more " + kind;
  }
  throw ModelMismatch(checkpoint_->folder().string() + ": the tensors do not fit config.json: " + counts + lines);
}

}  // namespace fare
