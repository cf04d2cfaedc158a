#include "fare/models/test_device.h"

#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <atomic>
#include <cstdlib>

namespace fare::testing {
namespace {

constexpr auto kKind = c10::DeviceType::PrivateUse1;
constexpr int kNumDevices = 2;

struct Memory {
  std::atomic<size_t> used{0}, peak{0}, limit{0};
};
Memory memories[kNumDevices];
thread_local int8_t current_device = 0;

// Before every block stands its size.
struct Header {
  size_t bytes;
  int8_t device;
};
constexpr size_t kHeaderBytes = 64;

void release(void* data) {
  if (data == nullptr) return;
  char* start = static_cast<char*>(data) - kHeaderBytes;
  const Header header = *reinterpret_cast<Header*>(start);
  memories[header.device].used -= header.bytes;
  std::free(start);
}

class StandInAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override { return on(current_device, bytes); }
  static c10::DataPtr on(int8_t device, size_t bytes) {
    Memory& memory = memories[device];
    if (memory.limit > 0 && memory.used + bytes > memory.limit)
      TORCH_CHECK_WITH(OutOfMemoryError, false, "stand-in ", static_cast<int>(device), " has no room for ", bytes,
                       " bytes");
    char* start = static_cast<char*>(
        std::aligned_alloc(kHeaderBytes, kHeaderBytes + (bytes + kHeaderBytes - 1) / kHeaderBytes * kHeaderBytes));
    *reinterpret_cast<Header*>(start) = {bytes, device};
    const size_t used = memory.used += bytes;
    if (used > memory.peak) memory.peak = used;
    return {start + kHeaderBytes, start + kHeaderBytes, &release, stand_in(device)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }
};
StandInAllocator allocator;

struct Guard final : c10::impl::NoOpDeviceGuardImpl<kKind> {
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device before = getDevice();
    setDevice(device);
    return before;
  }
  c10::Device getDevice() const override { return stand_in(current_device); }
  void setDevice(c10::Device device) const override {
    if (device.index() >= 0) current_device = device.index();
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    if (device.index() >= 0) current_device = device.index();
  }
  c10::Stream getStream(c10::Device device) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, device);
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return kNumDevices; }
};

// What the backward pass asks about its devices.
struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
};
const bool registered = [] {
  static Hooks hooks;
  at::RegisterPrivateUse1HooksInterface(&hooks);
  c10::register_privateuse1_backend("stand_in");
  return true;
}();

at::Tensor empty(c10::IntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>,
                 std::optional<at::Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  const c10::DeviceGuard guard(device.value_or(stand_in(current_device)));
  return at::detail::empty_generic(size, &allocator, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   c10::dtype_or_default(type), format);
}

at::Tensor empty_strided(c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<at::ScalarType> type,
                         std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>) {
  const c10::DeviceGuard guard(device.value_or(stand_in(current_device)));
  return at::detail::empty_strided_generic(size, stride, &allocator, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           c10::dtype_or_default(type));
}

// The same memory as a CPU tensor.
at::Tensor on_host(const at::Tensor& t) {
  return t.is_cpu() ? t : at::from_blob(t.data_ptr(), t.sizes(), t.strides(), t.options().device(at::kCPU));
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  on_host(to).copy_(on_host(from));
  return to;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  if (to.sizes() != from.sizes()) const_cast<at::Tensor&>(to).resize_(from.sizes());
  return copy_from(from, to, false);
}

const at::Tensor& resize(const at::Tensor& self, c10::SymIntArrayRef sizes, std::optional<at::MemoryFormat>) {
  const auto size = C10_AS_INTARRAYREF_SLOW(sizes);
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_sizes_contiguous(size);
  const size_t bytes = static_cast<size_t>(self.numel()) * self.element_size();
  if (self.storage().nbytes() < bytes) {
    c10::DataPtr data = StandInAllocator::on(self.device().index(), bytes);
    self.storage().set_data_ptr(std::move(data));
    self.storage().set_nbytes(bytes);
  }
  return self;
}

at::Scalar local_scalar(const at::Tensor& self) { return on_host(self).item(); }

at::Tensor view(const at::Tensor& self, c10::SymIntArrayRef size) {
  return at::native::view(self, C10_AS_INTARRAYREF_SLOW(size));
}

at::Tensor as_strided(const at::Tensor& self, c10::SymIntArrayRef size, c10::SymIntArrayRef stride,
                      std::optional<c10::SymInt> offset) {
  return at::native::as_strided_tensorimpl(self, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride),
                                           offset ? std::optional(offset->expect_int()) : std::nullopt);
}

at::Tensor reshape_alias(const at::Tensor& self, c10::SymIntArrayRef size, c10::SymIntArrayRef stride) {
  return as_strided(self, size, stride, std::nullopt);
}

// Every other operation: by the CPU, when all its tensors lie on one device (a single number may come from the CPU).
void by_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  std::optional<at::Device> device;
  const auto check = [&](const at::Tensor& t) {
    if (!t.defined() || (t.is_cpu() && t.dim() == 0)) return;
    TORCH_CHECK(!device || *device == t.device(), op.schema().name(), ": tensors on ", *device, " and ", t.device());
    device = t.device();
  };
  for (const c10::IValue& value : torch::jit::last(*stack, op.schema().arguments().size())) {
    if (value.isTensor()) check(value.toTensor());
    if (value.isTensorList())
      for (const at::Tensor& t : value.toTensorVector()) check(t);
  }
  at::native::cpu_fallback(op, stack);
}

}  // namespace

size_t stand_in_bytes(int8_t index) { return memories[index].used; }
size_t stand_in_peak_bytes(int8_t index) { return memories[index].peak; }
void limit_stand_in(int8_t index, size_t bytes) {
  memories[index].limit = bytes;
  memories[index].peak = memories[index].used.load();
}

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);
REGISTER_ALLOCATOR(kKind, &allocator);

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&by_cpu>()); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("_copy_from", copy_from);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
  m.impl("resize_", resize);
  m.impl("_local_scalar_dense", local_scalar);
  m.impl("view", view);
  m.impl("as_strided", as_strided);
  m.impl("_reshape_alias", reshape_alias);
}

}  // namespace fare::testing
