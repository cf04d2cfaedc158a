#include "fare/lab/byte_tokenizer.h"

namespace fare {
namespace {

bool stands_for_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

OrderedJson added_token(int64_t id, const char* content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

OrderedJson byte_level() {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
}

}  // namespace

std::string byte_character(unsigned char byte) {
  uint32_t code = byte;
  if (!stands_for_itself(byte)) {
    code = 0x100;
    for (int below = 0; below < byte; ++below) code += stands_for_itself(below) ? 0 : 1;
  }
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

OrderedJson byte_tokenizer_json() {
  OrderedJson vocab;
  vocab["<|endoftext|>"] = kByteTokenizerEnd;
  vocab["<|padding|>"] = kByteTokenizerPadding;
  for (int byte = 0; byte < 256; ++byte) vocab[byte_character(static_cast<unsigned char>(byte))] = 2 + byte;

  OrderedJson json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  json["added_tokens"] = OrderedJson::array(
      {added_token(kByteTokenizerEnd, "<|endoftext|>"), added_token(kByteTokenizerPadding, "<|padding|>")});
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = byte_level();
  json["post_processor"] = nullptr;
  json["decoder"] = byte_level();
  OrderedJson model;
  model["type"] = "BPE";
  model["dropout"] = nullptr;
  model["unk_token"] = nullptr;
  model["continuing_subword_prefix"] = nullptr;
  model["end_of_word_suffix"] = nullptr;
  model["fuse_unk"] = false;
  model["byte_fallback"] = false;
  model["ignore_merges"] = false;
  model["vocab"] = vocab;
  model["merges"] = OrderedJson::array();
  json["model"] = model;
  return json;
}

OrderedJson byte_tokenizer_config_json(int64_t max_length) {
  OrderedJson config;
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  config["bos_token"] = nullptr;
  config["eos_token"] = "<|endoftext|>";
  config["pad_token"] = "<|padding|>";
  config["unk_token"] = nullptr;
  config["add_bos_token"] = false;
  config["add_eos_token"] = false;
  config["clean_up_tokenization_spaces"] = false;
  config["model_max_length"] = max_length;
  return config;
}

}  // namespace fare
