#include "fare/checkpoint/tensor_view.h"

#include <bit>
#include <limits>

namespace fare {

static_assert(std::endian::native == std::endian::little, "files are little-endian and are used as they lie");

size_t tensor_num_bytes(Dtype dtype, const std::vector<int64_t>& shape, const std::string& path,
                        const std::string& where) {
  constexpr auto kMax = std::numeric_limits<int64_t>::max();
  const std::string what = "shape " + shape_text(shape) + " of " + std::string(dtype_name(dtype));
  bool empty = false;
  int64_t bits = dtype_bits(dtype);
  for (const int64_t dimension : shape) {
    if (dimension < 0) throw FormatError(path, where, what + " has a negative dimension");
    if (dimension == 0) {
      empty = true;
      continue;
    }
    if (bits > kMax / dimension) throw FormatError(path, where, what + " overflows: no file is that large");
    bits *= dimension;
  }
  if (empty) return 0;
  if (bits % 8 != 0)
    throw FormatError(path, where, what + " takes " + std::to_string(bits) + " bits, not a whole number of bytes");
  return static_cast<size_t>(bits / 8);
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace fare
