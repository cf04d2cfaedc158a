#include "fare/models/device.h"

#include <ATen/detail/CUDAHooksInterface.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "fare/core/error.h"

namespace fare {

int64_t num_cuda_devices() { return at::hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0; }

Devices parse_devices(const std::string& text, int64_t num_cuda) {
  const auto refuse = [&](const std::string& why) { throw UsageError(fmt::format("--device {}: {}", text, why)); };
  if (text == "cpu") return {at::kCPU};
  const std::string known = "unknown; accepted: cpu, cuda, cuda:N, cuda:N,M,.. (layers divided over several GPUs)";
  if (text != "cuda" && !text.starts_with("cuda:")) refuse(known);
  Devices devices;
  const std::string indices = text == "cuda" ? "0" : text.substr(5) + ",";
  for (size_t begin = 0; begin < indices.size();) {
    const size_t end = std::min(indices.find(',', begin), indices.size());
    int8_t index = 0;
    const auto [stop, error] = std::from_chars(indices.data() + begin, indices.data() + end, index);
    if (error == std::errc::result_out_of_range) refuse("no machine has so many GPUs");
    if (error != std::errc() || stop != indices.data() + end || index < 0) refuse(known);
    const at::Device device(at::kCUDA, index);
    if (std::find(devices.begin(), devices.end(), device) != devices.end())
      refuse(fmt::format("GPU {} is named twice", index));
    devices.push_back(device);
    begin = end + 1;
  }
  if (devices.empty()) refuse(known);
  if (num_cuda == 0)
    refuse(
        "this LibTorch sees no CUDA device; it needs a GPU, its driver and a LibTorch built with CUDA (or take "
        "--device cpu)");
  for (const at::Device device : devices)
    if (device.index() >= num_cuda)
      refuse(num_cuda == 1 ? "there is one GPU, cuda:0"
                           : fmt::format("there are {} GPUs, the last is cuda:{}", num_cuda, num_cuda - 1));
  return devices;
}

std::string devices_text(const Devices& devices) {
  if (devices.front().is_cpu()) return "cpu";
  std::string text = c10::DeviceTypeName(devices.front().type(), true) + ":";
  for (size_t i = 0; i < devices.size(); ++i)
    text += fmt::format("{}{}", i == 0 ? "" : ",", static_cast<int>(devices[i].index()));
  return text;
}

at::Device device_of_layer(const Devices& devices, int64_t layer, int64_t num_layers) {
  return devices[static_cast<size_t>(layer * static_cast<int64_t>(devices.size()) / std::max<int64_t>(1, num_layers))];
}

}  // namespace fare
