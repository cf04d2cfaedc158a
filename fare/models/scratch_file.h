// Tensors in a file without a name, for what does not fit the memory that is allowed: its pages leave memory when the
// system wants the room, and the file is gone with the object.
#pragma once

#include <ATen/ATen.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace fare {

class ScratchFile {
 public:
  // Takes room for `bytes` in `folder` at once. Throws IoError naming the folder where there is none: no such folder, a
  // full disk, a limit on the size of files.
  ScratchFile(const std::filesystem::path& folder, int64_t bytes);
  ~ScratchFile();
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  // A copy of `value` (CPU, any dtype) in the file, of which it takes room_for(its bytes). Must not outlive this
  // object.
  at::Tensor keep(const at::Tensor& value);
  static int64_t room_for(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

 private:
  static constexpr int64_t kAlignment = 64;

  std::byte* data_ = nullptr;
  int64_t bytes_, used_ = 0;
};

}  // namespace fare
