#include "cli/validate_model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "fare/checkpoint/checkpoint.h"
#include "fare/checkpoint/finite.h"
#include "fare/core/error.h"
#include "fare/core/memory.h"
#include "fare/core/parallel.h"
#include "fare/models/model.h"
#include "fare/models/model_size.h"
#include "fare/models/registry.h"
#include "fare/tokenizer/tokenizer.h"

namespace fare::cli {
namespace {

namespace fs = std::filesystem;

using BytesOfType = std::map<Dtype, int64_t>;

// 6919161856 -> "6 919 161 856": the digits stay countable and can be pasted once the spaces are gone.
std::string grouped(int64_t value) {
  const std::string digits = std::to_string(value);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ' ';
    text += digits[i];
  }
  return text;
}

std::string gigabytes(int64_t bytes) { return fmt::format("{:.1f} GB", static_cast<double>(bytes) / 1e9); }

int64_t sum_of(const BytesOfType& bytes) {
  int64_t sum = 0;
  for (const auto& [dtype, n] : bytes) sum += n;
  return sum;
}

OrderedJson json_of(const BytesOfType& bytes) {
  OrderedJson json = OrderedJson::object();
  for (const auto& [dtype, n] : bytes) json[std::string(dtype_name(dtype))] = n;
  return json;
}

BytesOfType find_tensors(Finding& finding, const std::vector<TensorView>& tensors) {
  struct Sum {
    int64_t tensors = 0, elements = 0, bytes = 0;
  };
  Sum total;
  std::map<Dtype, Sum> by_dtype;
  for (const TensorView& tensor : tensors)
    for (Sum* sum : {&total, &by_dtype[tensor.dtype]}) {
      sum->tensors += 1;
      sum->elements += tensor.num_elements();
      sum->bytes += static_cast<int64_t>(tensor.num_bytes);
    }
  const auto row = [](const Sum& sum) {
    return fmt::format("{} tensors, {} parameters, {} bytes", grouped(sum.tensors), grouped(sum.elements),
                       grouped(sum.bytes));
  };
  finding.row("weights", row(total));
  finding.fields["tensors"] = total.tensors;
  BytesOfType bytes;
  for (const auto& [dtype, sum] : by_dtype) {
    finding.row("  " + std::string(dtype_name(dtype)), row(sum));
    bytes[dtype] = sum.bytes;
  }
  finding.fields["stored_bytes"] = json_of(bytes);
  return bytes;
}

// Throws the NumericError of the first tensor, in the order given, that holds NaN or Inf.
void scan(Finding& finding, const std::vector<TensorView>& tensors,
          const std::function<void(const TensorView&)>& release) {
  std::vector<std::string> failures(tensors.size());
  parallel_for(static_cast<int64_t>(tensors.size()), physical_cores(), [&](int64_t i) {
    const TensorView& tensor = tensors[static_cast<size_t>(i)];
    try {
      check_finite(tensor);
    } catch (const NumericError& error) {
      failures[static_cast<size_t>(i)] = error.what();
    }
    release(tensor);
  });
  for (const auto& failure : failures)
    if (!failure.empty()) throw NumericError(failure);
  finding.row("values", "all finite");
  finding.fields["all_finite"] = true;
}

std::string text_of(const Json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end()) return "-";
  if (found->is_array() && !found->empty() && found->front().is_string()) return found->front().get<std::string>();
  return found->is_string() ? found->get<std::string>() : found->dump();
}

void find_architecture(Finding& finding, const Json& config) {
  const std::string architecture = text_of(config, "architectures"), model_type = text_of(config, "model_type");
  finding.row("architecture", architecture + " (model_type " + model_type + ")");
  finding.fields["architecture"] = architecture;
  finding.fields["model_type"] = model_type;
}

// The type that config.json says its weights are stored in, which decides nothing; none where it says nothing known.
std::optional<Dtype> announced_dtype(const Json& config) {
  for (const char* key : {"dtype", "torch_dtype"}) {
    std::string name = text_of(config, key);
    if (name.starts_with("torch.")) name.erase(0, 6);
    for (const auto& [known, dtype] :
         {std::pair{"bfloat16", Dtype::kBF16}, {"float16", Dtype::kF16}, {"float32", Dtype::kF32}})
      if (name == known) return dtype;
  }
  return std::nullopt;
}

// Layers, sizes and counts of the family's reading of the configuration.
ModelSize find_family(Finding& finding, const Family& family, const Weights& weights) {
  const DecoderSpec& spec = family.spec();
  const ModelSize size = model_size(family, weights);
  finding.row("layers", fmt::format("{} ({} with experts)", spec.num_layers, spec.moe_layers().size()));
  finding.row("experts", fmt::format("{} per layer, {} per token", spec.router.num_experts, spec.router.top_k));
  finding.row("sizes", fmt::format("hidden {}, vocabulary {}", spec.hidden_size, spec.vocab_size));
  finding.row("parameters", grouped(size.parameters));
  finding.row("  per token", fmt::format("{} active", grouped(size.active_parameters)));
  finding.row("cache", fmt::format("{} bytes of keys and values per token", grouped(size.cache_bytes_per_token)));
  finding.fields.update(OrderedJson{{"layers", spec.num_layers},
                                    {"moe_layers", spec.moe_layers().size()},
                                    {"experts", spec.router.num_experts},
                                    {"top_k", spec.router.top_k},
                                    {"hidden_size", spec.hidden_size},
                                    {"vocab_size", spec.vocab_size},
                                    {"parameters", size.parameters},
                                    {"active_parameters", size.active_parameters},
                                    {"cache_bytes_per_token", size.cache_bytes_per_token}});
  return size;
}

// What this machine makes of weights of these types: weights are mapped and converted at use where the working type is
// another, so memory needs what is stored, in either working type.
void find_fit(Finding& finding, const BytesOfType& stored, const ModelSize& size) {
  const MachineMemory memory = machine_memory();
  const int64_t bytes = sum_of(stored), left = memory.available_bytes - bytes;
  finding.row("memory",
              fmt::format("{}, {} available", gigabytes(memory.total_bytes), gigabytes(memory.available_bytes)));
  finding.fields["memory"] = {{"total_bytes", memory.total_bytes}, {"available_bytes", memory.available_bytes}};
  finding.fields["fits"] = OrderedJson::object();
  for (const auto& [name, working] : {std::pair{"f32", Dtype::kF32}, {"bf16", Dtype::kBF16}}) {
    const auto same = stored.find(working);
    const bool mapped = same != stored.end() && same->second == bytes;
    const bool fits = left > 0;
    finding.row(
        name == std::string("f32") ? "fits" : "",
        fmt::format("{}: {} {}, {}", name, gigabytes(bytes), mapped ? "mapped as stored" : "mapped, converted at use",
                    fits ? "stay in memory; room for " + grouped(left / size.cache_bytes_per_token) + " tokens of cache"
                         : "more than is available: read from the disk again in every pass"));
    OrderedJson row = {{"weight_bytes", bytes}, {"converted_at_use", !mapped}, {"fits", fits}};
    row["cache_tokens"] = fits ? OrderedJson(left / size.cache_bytes_per_token) : OrderedJson(nullptr);
    finding.fields["fits"][name] = row;
  }
}

void find_tokenizer(Finding& finding, const Tokenizer& tokenizer) {
  finding.row("tokenizer", fmt::format("{} ids", tokenizer.vocab_size()));
  finding.fields["tokenizer"] = {{"ids", tokenizer.vocab_size()}};
  for (const auto& note : tokenizer.notes()) finding.note(note);
}

void find_tokenizer_of(Finding& finding, const fs::path& folder) {
  std::error_code ignored;
  if (fs::exists(folder / "tokenizer.json", ignored) || fs::exists(folder / "tokenizer.model", ignored))
    return find_tokenizer(finding, *Tokenizer::open(folder));
  finding.row("tokenizer", "none in the folder: only requests of token ids can be run");
  finding.fields["tokenizer"] = nullptr;
}

}  // namespace

Finding check_model_folder(const fs::path& folder, const ModelChecks& checks) {
  const auto checkpoint = Checkpoint::open(folder);
  Finding finding{"model folder"};
  find_architecture(finding, checkpoint->config());
  finding.row("files", std::to_string(checkpoint->weight_files().size()));
  finding.fields["files"] = checkpoint->weight_files().size();
  std::vector<TensorView> tensors;
  for (const auto& name : checkpoint->names()) tensors.push_back(checkpoint->raw_tensor(name));
  const BytesOfType stored = find_tensors(finding, tensors);
  for (const auto& note : checkpoint->notes()) finding.note(note);
  // As every command that opens the model checks it: family, configuration and the shape of every tensor.
  const auto model = Model::open(folder, {});
  find_fit(finding, stored, find_family(finding, model->family(), model->weights()));
  find_tokenizer_of(finding, folder);
  if (checks.read_weights) scan(finding, tensors, [&](const TensorView& tensor) { checkpoint->release(tensor.name); });
  if (checks.fingerprint) {
    finding.row("fingerprint", checkpoint->fingerprint());
    finding.fields["fingerprint"] = checkpoint->fingerprint();
  }
  return finding;
}

Finding check_model_config(const fs::path& path) {
  std::error_code ignored;
  const std::shared_ptr<const Checkpoint> checkpoint =
      Checkpoint::open_config(fs::is_directory(path, ignored) ? path / "config.json" : path);
  Finding finding{"model configuration"};
  find_architecture(finding, checkpoint->config());
  const Weights none(checkpoint, at::kFloat);
  const ModelSize size = find_family(finding, *make_family(*checkpoint, none, MatmulBackend::kOneDnn), none);
  const auto dtype = announced_dtype(checkpoint->config());
  if (!dtype) {
    finding.fields["stored_bytes"] = nullptr;
    finding.note("config.json names no dtype (torch_dtype), so the bytes of its weights are not known");
    return finding;
  }
  const BytesOfType stored = size.stored_bytes(*dtype);
  std::vector<std::string> parts;
  for (const auto& [type, bytes] : stored)
    parts.push_back(fmt::format("{} bytes of {}", grouped(bytes), dtype_name(type)));
  finding.row("weights", fmt::format("{}, as config.json announces them", fmt::join(parts, ", ")));
  finding.fields["stored_bytes"] = json_of(stored);
  find_fit(finding, stored, size);
  return finding;
}

Finding check_tokenizer_file(const fs::path& path) {
  Finding finding{"tokenizer"};
  find_tokenizer(finding, *Tokenizer::open(path));
  return finding;
}

Finding check_weight_file(const fs::path& path, const ModelChecks& checks) {
  const SafetensorsFile file(path);
  Finding finding{"safetensors"};
  std::vector<TensorView> tensors;
  for (const auto& info : file.tensors()) tensors.push_back(file.tensor(info.name));
  find_tensors(finding, tensors);
  for (const auto& [key, value] : file.metadata()) finding.row("metadata", key + " = " + value);
  finding.fields["metadata"] = file.metadata();
  if (checks.read_weights) scan(finding, tensors, [&](const TensorView& tensor) { file.release(tensor.name); });
  return finding;
}

}  // namespace fare::cli
