#include "fare/checkpoint/safetensors_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include "fare/core/error.h"

namespace fare {

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(path), header_(parse_safetensors_header(file_.bytes(), path.string())) {
  by_name_.reserve(header_.tensors.size());
  for (size_t i = 0; i < header_.tensors.size(); ++i) by_name_.emplace(header_.tensors[i].name, i);
}

TensorView SafetensorsFile::tensor(const std::string& name) const {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) {
    std::vector<std::string> known;
    for (const auto& tensor : header_.tensors) known.push_back(tensor.name);
    throw ModelMismatch(path().string() + ": there is no tensor '" + name + "'" + did_you_mean(name, known));
  }
  const TensorInfo& info = header_.tensors[found->second];
  return {info.name, info.dtype, info.shape, file_.bytes().data() + header_.data_begin + info.begin,
          info.end - info.begin};
}

void SafetensorsFile::release(const std::string& name) const {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return;
  const TensorInfo& info = header_.tensors[found->second];
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  // Only whole pages inside the tensor.
  const size_t first = (header_.data_begin + info.begin + page - 1) / page * page;
  const size_t last = (header_.data_begin + info.end) / page * page;
  if (first >= last) return;
  auto* address = const_cast<std::byte*>(file_.bytes().data() + first);
  ::madvise(address, last - first, MADV_DONTNEED);  // advice: a refusal changes nothing
}

}  // namespace fare
