// One safetensors file, memory-mapped: tensors by name, without copying.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "fare/checkpoint/safetensors_header.h"
#include "fare/checkpoint/tensor_view.h"
#include "fare/core/file.h"

namespace fare {

class SafetensorsFile {
 public:
  // Maps the file and checks its header; data are not read. Throws IoError (missing, unreadable) or FormatError (see
  // safetensors_header.h), both naming the path.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  const std::vector<TensorInfo>& tensors() const { return header_.tensors; }  // in the order of their data

  bool has(const std::string& name) const { return by_name_.contains(name); }

  // The tensor of that name whatever its dtype. The view is valid as long as this object lives.
  // Throws ModelMismatch naming path and tensor, with the nearest names, when there is none.
  TensorView tensor(const std::string& name) const;

  // Tells the system that the pages of this tensor will not be needed soon: they leave memory and come back from the
  // file when touched again. Pages shared with a neighbouring tensor stay. Unknown names are ignored.
  void release(const std::string& name) const;

 private:
  MappedFile file_;
  SafetensorsHeader header_;
  std::unordered_map<std::string, size_t> by_name_;  // index into header_.tensors
};

}  // namespace fare
