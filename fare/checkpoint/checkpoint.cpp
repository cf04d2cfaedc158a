#include "fare/checkpoint/checkpoint.h"

#include <algorithm>

#include "fare/checkpoint/fingerprint.h"
#include "fare/checkpoint/shard_index.h"
#include "fare/core/error.h"

namespace fare {
namespace {

constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr const char* kSingleName = "model.safetensors";

// "; it holds pytorch_model.bin, .., which FARE does not read" or "".
std::string other_weights(const std::filesystem::path& folder) {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".bin" || extension == ".pt" || extension == ".pth" || extension == ".gguf" ||
        extension == ".safetensors")
      found.push_back(entry.path().filename().string());
  }
  if (found.empty()) return "";
  std::sort(found.begin(), found.end());
  return "; FARE does not read '" + found.front() + "': save the model as " + kSingleName;
}

Json read_config(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    throw IoError(path.string() + ": no such file; a model folder holds config.json beside its weights");
  Json config = read_json_file(path);
  if (!config.is_object()) throw FormatError(path.string(), "", "must be a JSON object");
  return config;
}

}  // namespace

std::shared_ptr<const Checkpoint> Checkpoint::open_config(const std::filesystem::path& config) {
  std::shared_ptr<Checkpoint> checkpoint(new Checkpoint);
  checkpoint->folder_ = config.parent_path();
  checkpoint->config_path_ = config;
  checkpoint->config_ = read_config(config);
  return checkpoint;
}

std::shared_ptr<const Checkpoint> Checkpoint::open(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::exists(folder, ignored))
    throw IoError(folder.string() + ": no such folder; a model folder holds config.json and *.safetensors files");
  if (!std::filesystem::is_directory(folder, ignored))
    throw IoError(folder.string() + ": is not a folder; name the folder that holds config.json");
  std::shared_ptr<Checkpoint> checkpoint(new Checkpoint);
  checkpoint->folder_ = folder;
  checkpoint->config_path_ = folder / "config.json";
  checkpoint->config_ = read_config(checkpoint->config_path_);
  checkpoint->open_weights();
  return checkpoint;
}

void Checkpoint::open_weights() {
  std::error_code ignored;
  if (const auto index = folder_ / kIndexName; std::filesystem::exists(index, ignored)) return open_index(index);
  const auto single = folder_ / kSingleName;
  if (!std::filesystem::exists(single, ignored))
    throw IoError(folder_.string() + ": holds no weights: neither " + kIndexName + " nor " + kSingleName +
                  other_weights(folder_));
  const auto& file = *(files_[kSingleName] = std::make_unique<SafetensorsFile>(single));
  for (const auto& tensor : file.tensors()) files_of_.emplace(tensor.name, &file);
  if (files_of_.empty()) throw FormatError(single.string(), "", "holds no tensors");
}

void Checkpoint::open_index(const std::filesystem::path& path) {
  const ShardIndex index = read_shard_index(path);
  for (const auto& name : index.files()) {
    const auto shard = folder_ / name;
    std::error_code ignored;
    if (!std::filesystem::exists(shard, ignored))
      throw IoError(shard.string() + ": no such file, but " + path.string() +
                    " maps tensors to it; copy the missing shard into the folder");
    files_[name] = std::make_unique<SafetensorsFile>(shard);
  }
  for (const auto& [tensor, name] : index.file_of) {
    const auto& file = *files_.at(name);
    if (!file.has(tensor))
      throw FormatError(
          path.string(), "weight_map, tensor '" + tensor + "'",
          "is mapped to " + name + ", which does not hold it; the index and the shards do not belong together");
    files_of_.emplace(tensor, &file);
  }
  for (const auto& [name, file] : files_)
    for (const auto& tensor : file->tensors())
      if (const auto found = index.file_of.find(tensor.name); found == index.file_of.end())
        notes_.push_back(file->path().string() + ": tensor '" + tensor.name + "' is not listed in " + kIndexName +
                         " and is not used");
      else if (found->second != name)
        notes_.push_back(file->path().string() + ": tensor '" + tensor.name + "' is taken from " + found->second +
                         ", as the index says");
  if (index.total_size_bytes && *index.total_size_bytes != static_cast<double>(total_bytes()))
    notes_.push_back(path.string() + ": metadata.total_size is " + python_float_text(*index.total_size_bytes) +
                     ", the tensors have " + std::to_string(total_bytes()) + " bytes");
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> names;
  for (const auto& [name, file] : files_of_) names.push_back(name);
  return names;
}

int64_t Checkpoint::total_bytes() const {
  size_t total = 0;
  for (const auto& [name, file] : files_of_) total += file->tensor(name).num_bytes;
  return static_cast<int64_t>(total);
}

std::vector<std::filesystem::path> Checkpoint::weight_files() const {
  std::vector<std::filesystem::path> paths;
  for (const auto& [name, file] : files_) paths.push_back(file->path());
  return paths;
}

TensorView Checkpoint::raw_tensor(const std::string& name) const {
  const auto found = files_of_.find(name);
  if (found == files_of_.end())
    throw ModelMismatch(folder_.string() + ": there is no tensor '" + name + "'" + did_you_mean(name, names()));
  return found->second->tensor(name);
}

TensorView Checkpoint::tensor(const std::string& name) const {
  const TensorView view = raw_tensor(name);
  if (!dtype_is_readable(view.dtype))
    throw ModelMismatch(files_of_.find(name)->second->path().string() + ": tensor '" + name + "' has dtype " +
                        std::string(dtype_name(view.dtype)) + ", which FARE does not compute with; it reads " +
                        dtype_names(true));
  return view;
}

void Checkpoint::release(const std::string& name) const {
  if (const auto found = files_of_.find(name); found != files_of_.end()) found->second->release(name);
}

std::string Checkpoint::fingerprint() const {
  const std::lock_guard lock(fingerprint_mutex_);
  if (fingerprint_.empty()) fingerprint_ = compute_fingerprint(*this);
  return fingerprint_;
}

}  // namespace fare
