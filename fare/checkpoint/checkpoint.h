// A model folder in the Hugging Face layout, opened read-only: config.json and memory-mapped weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "fare/checkpoint/safetensors_file.h"
#include "fare/checkpoint/tensor_view.h"
#include "fare/core/json.h"

namespace fare {

class Checkpoint {
 public:
  // Reads config.json and the headers of the weight files; no weight is read, however large the files are.
  // Weights: model.safetensors.index.json and the shards it names if there is one, else model.safetensors; other weight
  // files of the folder (pytorch_model*, consolidated*, original/) are ignored.
  // Throws IoError: not a folder, config.json missing, no weights, a shard missing. FormatError: a file is broken, or
  // the index maps a tensor to a shard that does not hold it. All name the file and say what to do.
  static std::shared_ptr<const Checkpoint> open(const std::filesystem::path& folder);

  // Only the configuration, from a file of any name: names() is empty whatever lies beside it. Throws IoError,
  // FormatError.
  static std::shared_ptr<const Checkpoint> open_config(const std::filesystem::path& config);

  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  const std::filesystem::path& folder() const { return folder_; }
  const std::filesystem::path& config_path() const { return config_path_; }
  const Json& config() const { return config_; }  // always an object

  // What is odd but not wrong, one sentence each: tensors of a shard that the index does not list, a total_size that is
  // not the sum of the tensors.
  const std::vector<std::string>& notes() const { return notes_; }

  bool has(const std::string& name) const { return files_of_.contains(name); }
  std::vector<std::string> names() const;  // sorted in byte order
  int64_t total_bytes() const;             // sum of the tensors' data
  std::vector<std::filesystem::path> weight_files() const;

  // The tensor of that name. The view is valid as long as the checkpoint lives; `data` may be unaligned.
  // Throws ModelMismatch: no tensor of that name (with the nearest names), or a dtype that FARE does not compute with
  // (dtype_is_readable).
  TensorView tensor(const std::string& name) const;

  // The same for any dtype, for those who only look at it.
  TensorView raw_tensor(const std::string& name) const;

  // Lets the pages of a tensor that was copied elsewhere leave memory; touching the view again brings them back.
  // Unknown names are ignored.
  void release(const std::string& name) const;

  // "sha256:" and 64 hexadecimal digits that change when the configuration or a weight does, but not with sharding,
  // order in the file, or the version that saved it. Computed at the first call (then it reads the weights), kept
  // afterwards. Definition: docs/fingerprint.md. May be called from any thread.
  std::string fingerprint() const;

 private:
  Checkpoint() = default;
  void open_weights();
  void open_index(const std::filesystem::path& path);

  std::filesystem::path folder_;
  Json config_;
  std::vector<std::string> notes_;
  std::map<std::string, std::unique_ptr<SafetensorsFile>> files_;        // by file name
  std::map<std::string, const SafetensorsFile*, std::less<>> files_of_;  // by tensor name
  mutable std::mutex fingerprint_mutex_;
  mutable std::string fingerprint_;
  std::filesystem::path config_path_;
};

}  // namespace fare
