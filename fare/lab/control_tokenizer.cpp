#include "fare/lab/control_files.h"

namespace fare {

OrderedJson control_tokenizer_json(const Language& language) {
  const auto special = [&](int64_t id) -> OrderedJson {
    return {{"id", id},        {"content", language.word(id)}, {"single_word", false}, {"lstrip", false},
            {"rstrip", false}, {"normalized", false},          {"special", true}};
  };
  const std::string begin = language.word(language.begin());
  const OrderedJson begin_piece = {{"SpecialToken", {{"id", begin}, {"type_id", 0}}}};
  const auto sequence = [](const char* id, int type) -> OrderedJson {
    return {{"Sequence", {{"id", id}, {"type_id", type}}}};
  };
  OrderedJson vocab;
  for (int64_t id = 0; id < language.vocab(); ++id) vocab[language.word(id)] = id;

  OrderedJson json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  json["added_tokens"] =
      OrderedJson::array({special(language.begin()), special(language.end()), special(language.unknown())});
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = {{"type", "WhitespaceSplit"}};
  OrderedJson post;
  post["type"] = "TemplateProcessing";
  post["single"] = OrderedJson::array({begin_piece, sequence("A", 0)});
  post["pair"] = OrderedJson::array({begin_piece, sequence("A", 0), sequence("B", 1)});
  post["special_tokens"] = {{begin, {{"id", begin}, {"ids", {language.begin()}}, {"tokens", {begin}}}}};
  json["post_processor"] = post;
  json["decoder"] = nullptr;
  json["model"] = {{"type", "WordLevel"}, {"vocab", vocab}, {"unk_token", language.word(language.unknown())}};
  return json;
}

OrderedJson control_tokenizer_config_json(const Language& language, int64_t max_length) {
  OrderedJson config;
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  config["bos_token"] = language.word(language.begin());
  config["eos_token"] = language.word(language.end());
  config["unk_token"] = language.word(language.unknown());
  config["pad_token"] = language.word(language.end());
  config["add_bos_token"] = true;
  config["add_eos_token"] = false;
  config["clean_up_tokenization_spaces"] = false;
  config["model_max_length"] = max_length;
  return config;
}

}  // namespace fare
