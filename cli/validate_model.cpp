#include "cli/validate_model.h"

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "fare/checkpoint/checkpoint.h"
#include "fare/checkpoint/finite.h"
#include "fare/core/error.h"
#include "fare/core/parallel.h"
#include "fare/models/model.h"
#include "fare/tokenizer/tokenizer.h"

namespace fare::cli {
namespace {

struct Sum {
  int64_t tensors = 0, elements = 0, bytes = 0;
};

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

void print_row(const std::string& name, const std::string& value) { fmt::print("  {:<13} {}\n", name, value); }

void print_tensors(const std::vector<TensorView>& tensors) {
  Sum total;
  std::map<std::string, Sum> by_dtype;
  for (const TensorView& tensor : tensors)
    for (Sum* sum : {&total, &by_dtype[std::string(dtype_name(tensor.dtype))]}) {
      sum->tensors += 1;
      sum->elements += tensor.num_elements();
      sum->bytes += static_cast<int64_t>(tensor.num_bytes);
    }
  const auto row = [](const Sum& sum) {
    return fmt::format("{} tensors, {} parameters, {} bytes", grouped(sum.tensors), grouped(sum.elements), grouped(sum.bytes));
  };
  print_row("weights", row(total));
  for (const auto& [dtype, sum] : by_dtype) print_row("  " + dtype, row(sum));
}

// Throws the NumericError of the first tensor, in the order given, that holds NaN or Inf.
void scan(const std::vector<TensorView>& tensors, const std::function<void(const TensorView&)>& release) {
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
  print_row("values", "all finite");
}

std::string text_of(const Json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end()) return "-";
  if (found->is_array() && !found->empty() && found->front().is_string()) return found->front().get<std::string>();
  return found->is_string() ? found->get<std::string>() : found->dump();
}

// Family, configuration and the shape of every tensor, as every command that opens the model checks them.
void check_family(const std::filesystem::path& folder) {
  const auto model = Model::open(folder, {});
  const DecoderSpec& spec = model->spec();
  print_row("layers", fmt::format("{} ({} with experts)", spec.num_layers, spec.moe_layers().size()));
  print_row("experts", fmt::format("{} per layer, {} per token", spec.router.num_experts, spec.router.top_k));
  print_row("sizes", fmt::format("hidden {}, vocabulary {}", spec.hidden_size, spec.vocab_size));
}

void print_tokenizer(const Tokenizer& tokenizer) {
  print_row("tokenizer", fmt::format("{} ids", tokenizer.vocab_size()));
  for (const auto& note : tokenizer.notes()) print_row("note", note);
}

}  // namespace

void check_model_folder(const std::filesystem::path& folder, const ModelChecks& checks) {
  const auto checkpoint = Checkpoint::open(folder, {.allow_config_only = checks.config_only});
  fmt::print("{}: model folder\n", folder.string());
  print_row("architecture", text_of(checkpoint->config(), "architectures") + " (model_type " +
                                text_of(checkpoint->config(), "model_type") + ")");
  std::vector<TensorView> tensors;
  for (const auto& name : checkpoint->names()) tensors.push_back(checkpoint->raw_tensor(name));
  if (tensors.empty()) {
    print_row("weights", "none in the folder");
  } else {
    print_row("files", std::to_string(checkpoint->weight_files().size()));
    print_tensors(tensors);
    for (const auto& note : checkpoint->notes()) print_row("note", note);
    check_family(folder);
  }
  if (std::error_code ignored; std::filesystem::exists(folder / "tokenizer.json", ignored))
    print_tokenizer(*Tokenizer::open(folder));
  if (checks.read_weights) scan(tensors, [&](const TensorView& tensor) { checkpoint->release(tensor.name); });
  if (checks.fingerprint) print_row("fingerprint", checkpoint->fingerprint());
}

void check_tokenizer_file(const std::filesystem::path& path) {
  const auto tokenizer = Tokenizer::open(path);
  fmt::print("{}: tokenizer\n", path.string());
  print_tokenizer(*tokenizer);
}

void check_weight_file(const std::filesystem::path& path, const ModelChecks& checks) {
  const SafetensorsFile file(path);
  fmt::print("{}: safetensors\n", path.string());
  std::vector<TensorView> tensors;
  for (const auto& info : file.tensors()) tensors.push_back(file.tensor(info.name));
  print_tensors(tensors);
  for (const auto& [key, value] : file.metadata()) print_row("metadata", key + " = " + value);
  if (checks.read_weights) scan(tensors, [&](const TensorView& tensor) { file.release(tensor.name); });
}

}  // namespace fare::cli
