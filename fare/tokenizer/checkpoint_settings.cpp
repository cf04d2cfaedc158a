#include "fare/tokenizer/checkpoint_settings.h"

#include <charconv>
#include <map>

#include "fare/tokenizer/json_node.h"

namespace fare {
namespace {

constexpr const char* kTokenKeys[] = {"bos_token", "eos_token", "unk_token", "pad_token",
                                      "sep_token", "cls_token", "mask_token"};

// A JSON file of the folder that may be absent: an empty object then.
struct OptionalFile {
  explicit OptionalFile(const std::filesystem::path& path) : file{path.string(), {}} {
    if (std::filesystem::exists(path)) json = read_json_file(path);
  }
  JsonNode root() { return {json, file}; }

  Json json = Json::object();
  JsonFile file;
};

// A token is written as its text or as an object with the text in "content".
std::string token_text(const JsonNode& value) {
  return value.json().is_object() ? value.text("content") : value.text();
}

}  // namespace

CheckpointSettings read_checkpoint_settings(const std::filesystem::path& folder, const SpecialTokens& absent) {
  CheckpointSettings settings;
  OptionalFile config(folder / "tokenizer_config.json");
  OptionalFile map(folder / "special_tokens_map.json");
  settings.path = config.file.path;
  const std::string name = config.root().text_if("tokenizer_class").value_or("");
  settings.llama_class = name == "LlamaTokenizer" || name == "LlamaTokenizerFast";
  // Absent is not null: there may be a default for the first, the second says that there is none.
  const auto read = [&](const char* key, const std::optional<std::string>& fallback) -> std::optional<std::string> {
    for (OptionalFile* file : {&config, &map}) {
      if (const auto value = file->root().find(key)) return token_text(*value);
      if (file->json.contains(key)) return std::nullopt;
    }
    return fallback;
  };
  const SpecialTokens llama{"<s>", "</s>", "<unk>", absent.pad};
  const SpecialTokens& fallback = settings.llama_class ? llama : absent;
  settings.tokens.bos = read("bos_token", fallback.bos);
  settings.tokens.eos = read("eos_token", fallback.eos);
  settings.tokens.unk = read("unk_token", fallback.unk);
  settings.tokens.pad = read("pad_token", fallback.pad);
  if (const auto flag = config.root().find("add_bos_token")) settings.add_bos_token = flag->boolean();
  if (const auto flag = config.root().find("add_eos_token")) settings.add_eos_token = flag->boolean();
  const auto model_config = folder / "config.json";
  if (std::filesystem::exists(model_config)) {
    const Json json = read_json_file(model_config);
    // Only a sound whole number is a limit here; config.json itself is checked where the model is built.
    if (json.is_object() && json.contains("vocab_size") && json["vocab_size"].is_number_integer())
      settings.vocab_size = json["vocab_size"].get<int64_t>();
  }
  return settings;
}

Json added_tokens_of_folder(const std::filesystem::path& folder, const Vocabulary& vocabulary) {
  OptionalFile config(folder / "tokenizer_config.json");
  OptionalFile map(folder / "special_tokens_map.json");
  OptionalFile added(folder / "added_tokens.json");
  std::map<std::string, Json> tokens;  // by content
  const auto add = [&](Json token, std::optional<int64_t> id, bool special) {
    const auto content = token["content"].get<std::string>();
    if (!id) {
      const auto known = vocabulary.find(content);
      if (!known) return;
      id = *known;
    }
    if (!token.contains("special")) token["special"] = special;
    token["id"] = *id;
    tokens.emplace(content, std::move(token));  // what came first counts
  };
  if (const auto list = config.root().find("added_tokens_decoder")) {
    if (!list->json().is_object()) list->fail("expected an object of ids and tokens");
    for (const auto& item : list->json().items()) {
      const JsonNode token = list->at(item.key());
      int64_t id = -1;
      const char* end = item.key().data() + item.key().size();
      if (const auto read = std::from_chars(item.key().data(), end, id);
          read.ec != std::errc() || read.ptr != end || id < 0)
        token.fail("'" + item.key() + "' is no token id");
      token.text("content");
      add(token.json(), id, false);
    }
  }
  for (const auto& item : added.json.items()) {
    const int64_t id = added.root().at(item.key()).integer(0, INT32_MAX - 1);
    add({{"content", item.key()}}, id, true);
  }
  const auto add_named = [&](const JsonNode& token) {
    add(token.json().is_object() ? token.json() : Json{{"content", token.text()}}, std::nullopt, true);
  };
  for (OptionalFile* file : {&config, &map}) {
    for (const char* key : kTokenKeys)
      if (const auto token = file->root().find(key)) {
        token_text(*token);
        add_named(*token);
      }
    if (const auto list = file->root().find("additional_special_tokens"))
      for (const auto& token : list->items()) {
        token_text(token);
        add_named(token);
      }
  }
  Json list = Json::array();
  for (auto& [content, token] : tokens) list.push_back(std::move(token));
  return list;
}

}  // namespace fare
