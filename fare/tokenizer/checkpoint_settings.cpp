#include "fare/tokenizer/checkpoint_settings.h"

#include "fare/tokenizer/json_node.h"

namespace fare {
namespace {

// A token is written as its text or as an object with the text in "content". Absent is not null: a class may have a
// default for the first, the second says that there is none.
std::optional<std::string> token_text(const JsonNode& config, const std::string& key, const char* absent) {
  if (absent != nullptr && !config.json().contains(key)) return absent;
  const auto value = config.find(key);
  if (!value) return std::nullopt;
  if (value->json().is_object()) return value->text("content");
  return value->text();
}

}  // namespace

CheckpointSettings read_checkpoint_settings(const std::filesystem::path& folder) {
  CheckpointSettings settings;
  settings.path = (folder / "tokenizer_config.json").string();
  if (std::filesystem::exists(settings.path)) {
    const Json json = read_json_file(settings.path);
    JsonFile file{settings.path, {}};
    const JsonNode config(json, file);
    const std::string name = config.text_if("tokenizer_class").value_or("");
    settings.llama_class = name == "LlamaTokenizer" || name == "LlamaTokenizerFast";
    settings.bos_token = token_text(config, "bos_token", settings.llama_class ? "<s>" : nullptr);
    settings.eos_token = token_text(config, "eos_token", settings.llama_class ? "</s>" : nullptr);
    settings.unk_token = token_text(config, "unk_token", settings.llama_class ? "<unk>" : nullptr);
    settings.pad_token = token_text(config, "pad_token", nullptr);
    settings.add_bos_token = config.boolean_or("add_bos_token", true);
    settings.add_eos_token = config.boolean_or("add_eos_token", false);
  }
  const auto model_config = folder / "config.json";
  if (std::filesystem::exists(model_config)) {
    const Json json = read_json_file(model_config);
    // Only a sound whole number is a limit here; config.json itself is checked where the model is built.
    if (json.is_object() && json.contains("vocab_size") && json["vocab_size"].is_number_integer())
      settings.vocab_size = json["vocab_size"].get<int64_t>();
  }
  return settings;
}

}  // namespace fare
