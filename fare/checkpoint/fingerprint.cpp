#include "fare/checkpoint/fingerprint.h"

#include "fare/checkpoint/checkpoint.h"
#include "fare/core/sha256.h"

namespace fare {
namespace {

constexpr int64_t kWholeLimitBytes = int64_t{1} << 30;
constexpr size_t kNumBlocks = 16;
constexpr size_t kBlockBytes = 256;

void append_canonical(const Json& value, std::string& out) {
  if (value.is_object()) {
    out += '{';
    bool first = true;
    for (const auto& [key, entry] : value.items()) {  // a sorted map
      if (!first) out += ',';
      first = false;
      out += Json(key).dump();
      out += ':';
      append_canonical(entry, out);
    }
    out += '}';
  } else if (value.is_array()) {
    out += '[';
    for (size_t i = 0; i < value.size(); ++i) {
      if (i > 0) out += ',';
      append_canonical(value[i], out);
    }
    out += ']';
  } else if (value.is_number_float()) {
    out += python_float_text(value.get<double>());
  } else {
    out += value.dump();
  }
}

void add_blocks(Sha256& hash, const TensorView& tensor) {
  if (tensor.num_bytes <= kNumBlocks * kBlockBytes) {
    hash.add(tensor.data, tensor.num_bytes);
    return;
  }
  const size_t span = tensor.num_bytes - kBlockBytes;
  for (size_t i = 0; i < kNumBlocks; ++i) {
    // i * span / 15 without overflow.
    const size_t begin = span / (kNumBlocks - 1) * i + span % (kNumBlocks - 1) * i / (kNumBlocks - 1);
    hash.add(tensor.data + begin, kBlockBytes);
  }
}

}  // namespace

std::string canonical_json(const Json& value) {
  std::string text;
  append_canonical(value, text);
  return text;
}

std::string compute_fingerprint(const Checkpoint& checkpoint, bool always_sample) {
  Json config = checkpoint.config();
  config.erase("transformers_version");
  Sha256 hash;
  hash.add(canonical_json(config));
  const bool whole = !always_sample && checkpoint.total_bytes() <= kWholeLimitBytes;
  for (const auto& name : checkpoint.names()) {
    const TensorView tensor = checkpoint.raw_tensor(name);
    std::string head = name;
    head += '\0';
    head += dtype_name(tensor.dtype);
    head += '\0';
    for (size_t i = 0; i < tensor.shape.size(); ++i) {
      if (i > 0) head += ',';
      head += std::to_string(tensor.shape[i]);
    }
    head += '\0';
    hash.add(head);
    if (whole) hash.add(tensor.data, tensor.num_bytes);
    else add_blocks(hash, tensor);
  }
  return "sha256:" + hash.hex();
}

}  // namespace fare
