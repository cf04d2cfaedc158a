// SentencePiece models: every case of tests/golden/sentencepiece, folders with a tokenizer.model, and damaged files.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/json.h"
#include "fare/core/source_folder.h"
#include "fare/core/test_folder.h"
#include "fare/tokenizer/tokenizer.h"

namespace fare {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;
using Offsets = std::vector<std::pair<size_t, size_t>>;

std::string base64(const std::string& text) {
  static const std::string kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(kLetters.find(c));
    if ((count += 6) >= 8) bytes += static_cast<char>(bits >> (count -= 8) & 0xFF);
  }
  return bytes;
}

Json golden(const std::string& name) {
  return read_json_file(source_folder() / "tests/golden/sentencepiece" / ("case_" + name + ".json"));
}

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(source_folder() / "tests/golden/sentencepiece"))
    if (const auto name = entry.path().stem().string(); name.starts_with("case_")) names.push_back(name.substr(5));
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<int32_t> id_of(const Json& id) {
  return id.get<int32_t>() < 0 ? std::nullopt : std::optional(id.get<int32_t>());
}

class SentencePieceGolden : public testing::TestWithParam<std::string> {};

TEST_P(SentencePieceGolden, GivesTheIdsOffsetsAndTextOfTheReference) {
  const Json expected = golden(GetParam());
  const TestFolder folder;
  write_file(folder / "tokenizer.model", base64(expected["model"]));
  const auto tokenizer = Tokenizer::open(folder / "tokenizer.model");
  EXPECT_EQ(tokenizer->bos_id(), id_of(expected["bos"]));
  EXPECT_EQ(tokenizer->eos_id(), id_of(expected["eos"]));
  EXPECT_EQ(tokenizer->pad_id(), id_of(expected["pad"]));
  EXPECT_EQ(tokenizer->unk_id(), id_of(expected["unk"]));
  ASSERT_GE(expected["texts"].size(), 50u);
  for (const auto& row : expected["texts"]) {
    SCOPED_TRACE(row["text"].dump());
    const auto ids = row["ids"].get<Ids>();
    const Encoding encoding = tokenizer->encode(row["text"].get<std::string>());
    EXPECT_EQ(encoding.ids, ids);
    EXPECT_EQ(tokenizer->ids(row["text"].get<std::string>()), ids);
    if (!row["offsets"].is_null()) {
      EXPECT_EQ(encoding.offsets, row["offsets"].get<Offsets>());
    }
    if (!row["decoded"].is_null()) {
      EXPECT_EQ(tokenizer->decode(ids), row["decoded"].get<std::string>());
    }
  }
  for (const auto& row : expected["decode"]) {
    if (row["text"].is_null()) continue;
    EXPECT_EQ(tokenizer->decode(row["ids"].get<Ids>(), true), row["text"].get<std::string>()) << row.dump();
  }
}

INSTANTIATE_TEST_SUITE_P(All, SentencePieceGolden, testing::ValuesIn(golden_names()),
                         [](const auto& parameter) { return parameter.param; });

TEST(SentencePieceGolden, ThereAreEnoughCases) { EXPECT_GE(golden_names().size(), 22u); }

// A folder as a checkpoint has it: tokenizer.model and settings beside it.
class SentencePieceFolder : public testing::Test {
 protected:
  SentencePieceFolder() { write_file(folder_ / "tokenizer.model", base64(golden("bpe_bytes")["model"])); }
  Ids ids(const std::string& text, bool special = true) const {
    return Tokenizer::open(folder_.path())->ids(text, special);
  }
  std::string refusal() const {
    try {
      Tokenizer::open(folder_.path());
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }
  const TestFolder folder_;
};

TEST_F(SentencePieceFolder, LlamaClassPutsBosInFrontAndFindsSpecialTokensInTheText) {
  const auto bare = Tokenizer::open(folder_ / "tokenizer.model");
  const Ids plain = bare->ids("the");
  const Ids spelled = bare->ids("<s>the");
  EXPECT_EQ(ids("the"), plain);  // no class, no BOS
  write_file(folder_ / "tokenizer_config.json", R"({"tokenizer_class": "LlamaTokenizer"})");
  Ids with_bos = plain;
  with_bos.insert(with_bos.begin(), 1);
  EXPECT_EQ(ids("the"), with_bos);
  EXPECT_EQ(ids("the", false), plain);
  EXPECT_NE(spelled, with_bos);  // the bare model spells it letter by letter
  write_file(folder_ / "special_tokens_map.json",
             R"({"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>"})");
  EXPECT_EQ(ids("<s>the", false), with_bos);
  Ids both = with_bos;
  both.push_back(2);
  EXPECT_EQ(ids("<s>the</s>", false), both);
  // What stands behind a special token is normalised as a text of its own.
  both.insert(both.end(), plain.begin(), plain.end());
  EXPECT_EQ(ids("<s>the</s>the", false), both);
  EXPECT_EQ(Tokenizer::open(folder_.path())->decode(both), "<s> the</s> the");
  EXPECT_EQ(Tokenizer::open(folder_.path())->decode(with_bos, true), "the");
}

TEST_F(SentencePieceFolder, ReadsFlagsAndAddedTokensOfItsSettings) {
  const Ids plain = ids("the");
  write_file(folder_ / "tokenizer_config.json",
             R"({"tokenizer_class": "LlamaTokenizer", "add_bos_token": false, "add_eos_token": true,
    "added_tokens_decoder": {"420": {"content": "<|im_start|>", "lstrip": false, "rstrip": true, "special": true}}})");
  write_file(folder_ / "added_tokens.json", R"({"<extra>": 421})");
  Ids expected = {420};
  expected.insert(expected.end(), plain.begin(), plain.end());
  expected.push_back(421);
  expected.push_back(2);
  EXPECT_EQ(ids("<|im_start|>   the<extra>"), expected);
  const auto tokenizer = Tokenizer::open(folder_.path());
  EXPECT_EQ(tokenizer->vocab_size(), 422);
  EXPECT_TRUE(tokenizer->is_special(420));
  EXPECT_TRUE(tokenizer->is_special(1));
  EXPECT_FALSE(tokenizer->is_special(3));
  write_file(folder_ / "config.json", R"({"vocab_size": 420})");
  EXPECT_HAS(refusal(), "'<extra>' has id 421");
  write_file(folder_ / "config.json", R"({"vocab_size": 422})");
  EXPECT_EQ(refusal(), "accepted");
  write_file(folder_ / "tokenizer_config.json", R"({"added_tokens_decoder": {"x1": {"content": "<a>"}}})");
  EXPECT_HAS(refusal(), "'x1' is no token id");
  write_file(folder_ / "tokenizer_config.json", R"({"added_tokens_decoder": {"5": {"content": "<a>"}}})");
  EXPECT_HAS(refusal(), "'<a>' has id 5, which is that of '<0x02>'");
}

TEST_F(SentencePieceFolder, PrefersTokenizerJson) {
  write_file(folder_ / "tokenizer.json",
             R"({"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel", "unk_token": "x",
    "vocab": {"x": 0, "the": 1}}})");
  EXPECT_EQ(ids("the"), (Ids{1}));
}

// A field of a protobuf: wire type 2 with its length, and a piece made of such fields.
std::string field(int number, const std::string& bytes) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())} + bytes;
}
std::string varint(int number, int value) { return {static_cast<char>(number << 3), static_cast<char>(value)}; }
std::string piece(const std::string& text, int kind, const std::string& score = std::string(4, '\0')) {
  return field(1, field(1, text) + "\x15" + score + varint(3, kind));
}

TEST_F(SentencePieceFolder, RefusesDamageByNameAndPlace) {
  const auto refused = [&](const std::string& bytes) {
    write_file(folder_ / "tokenizer.model", bytes);
    return refusal();
  };
  const std::string unk = piece("<unk>", 2), bpe = field(2, varint(3, 2));
  EXPECT_EQ(refused(unk + piece("a", 1) + bpe), "accepted");
  const std::string whole = base64(golden("bpe_bytes")["model"]);
  EXPECT_HAS(refused(whole.substr(0, 1000)), "cut short");
  EXPECT_HAS(refused(""), "has no pieces");
  EXPECT_HAS(refused("{}"), "SentencePiece");
  EXPECT_HAS(refused(piece("a", 1) + bpe), "none of the pieces is of the type unknown");
  EXPECT_HAS(refused(unk + piece("<u>", 2)), "second unknown piece");
  EXPECT_HAS(refused(unk + piece("a", 1) + piece("a", 4)), "piece 2: 'a' is there twice");
  EXPECT_HAS(refused(unk + piece("", 1)), "piece 1: an empty piece");
  EXPECT_HAS(refused(unk + piece("\xFF", 1)), "not UTF-8");
  EXPECT_HAS(refused(unk + piece("a", 9)), "unknown type 9");
  EXPECT_HAS(refused(unk + piece("a", 1, std::string("\0\0\xC0\x7F", 4))), "not finite");
  EXPECT_HAS(refused(unk + piece("<0x41>", 6)), "byte_fallback is off");
  EXPECT_HAS(refused(unk + piece("<0x41>", 6) + field(2, std::string("\x98\x02\x01", 3))), "1 byte pieces of 256");
  EXPECT_HAS(refused(unk + piece("<0xzz>", 6) + field(2, std::string("\x98\x02\x01", 3))), "'<0xzz>' is no byte piece");
  EXPECT_HAS(refused(unk + field(2, varint(3, 4))), "model type 'char' is not supported");
  EXPECT_HAS(refused(unk + field(2, varint(3, 3))), "model type 'word' is not supported");
  EXPECT_HAS(refused(unk + field(3, field(2, "abc"))), "precompiled_charsmap");
  EXPECT_HAS(refused(unk + field(3, field(2, std::string("\xFF\0\0\0abcd", 8)))), "precompiled_charsmap");
  EXPECT_HAS(refused("\x0b"), "wire type 3");
  EXPECT_HAS(refused(std::string("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12)), "ten bytes");
}

}  // namespace
}  // namespace fare
