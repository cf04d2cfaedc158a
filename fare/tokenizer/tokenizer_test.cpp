#include "fare/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <functional>
#include <thread>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/json.h"
#include "fare/core/test_folder.h"

namespace fare {
namespace {

using Ids = std::vector<int32_t>;
using Offsets = std::vector<std::pair<size_t, size_t>>;

// A tokenizer small enough to work out by hand: words between spaces.
Json word_level() {
  return Json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [
      {"id": 1, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
      {"id": 4, "content": "<m>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": false}],
    "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
    "model": {"type": "WordLevel", "vocab": {"<unk>": 0, "<s>": 1, "the": 2, "router": 3}, "unk_token": "<unk>"}})");
}

// Three letters, two merges.
Json bpe() {
  return Json::parse(R"({
    "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
              "fuse_unk": false, "byte_fallback": false, "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4, "<unk>": 5},
              "merges": [["a", "b"], ["ab", "c"]]}})");
}

std::unique_ptr<Tokenizer> made(const Json& json) { return Tokenizer::from_json(json.dump(), "t.json"); }

// The message with which a changed file is refused.
std::string refusal(Json json, const std::function<void(Json&)>& change) {
  change(json);
  try {
    made(json);
  } catch (const FormatError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Tokenizer, GivesIdsPiecesAndByteRanges) {
  const auto tokenizer = made(word_level());
  const Encoding encoding = tokenizer->encode("the  naïve<m> router");
  EXPECT_EQ(encoding.ids, (Ids{2, 0, 4, 3}));
  EXPECT_EQ(encoding.pieces, (std::vector<std::string>{"the", "<unk>", "<m>", "router"}));
  EXPECT_EQ(encoding.offsets, (Offsets{{0, 3}, {5, 11}, {11, 14}, {15, 21}}));
  EXPECT_EQ(tokenizer->ids("the  naïve<m> router"), encoding.ids);
  EXPECT_EQ(tokenizer->decode(encoding.ids), "the <unk> <m> router");
  EXPECT_EQ(tokenizer->vocab_size(), 5);
  EXPECT_EQ(tokenizer->token_to_id("<m>"), 4);
  EXPECT_EQ(tokenizer->id_to_token(3), "router");
  EXPECT_EQ(tokenizer->id_to_token(7), std::nullopt);
  EXPECT_EQ(tokenizer->unk_id(), 0);
  EXPECT_EQ(tokenizer->bos_id(), std::nullopt);
}

TEST(Tokenizer, SpecialTokensCanBeLeftOutWhenDecoding) {
  const auto tokenizer = made(word_level());
  const Ids ids{1, 2, 4, 1, 99, -1};
  EXPECT_EQ(tokenizer->decode(ids), "<s> the <m> <s>");
  EXPECT_EQ(tokenizer->decode(ids, true), "the <m>");
  EXPECT_TRUE(tokenizer->is_special(1));
  EXPECT_FALSE(tokenizer->is_special(4));
}

TEST(Tokenizer, EmptyTextHasNoTokens) {
  EXPECT_TRUE(made(word_level())->encode("").ids.empty());
  EXPECT_TRUE(made(word_level())->encode("  \n").ids.empty());
}

TEST(Tokenizer, TextThatIsNotUtf8IsRefusedWithThePlace) {
  const auto tokenizer = made(word_level());
  for (const std::string bad : {"the \xff", "the \xed\xa0\x80", "the \xc0\x80", "the \xe2\x82"}) {
    try {
      tokenizer->encode(bad);
      FAIL() << "accepted";
    } catch (const UsageError& error) {
      EXPECT_HAS(std::string(error.what()), "byte 4");
    }
    EXPECT_THROW(tokenizer->ids(bad), UsageError);
  }
}

TEST(Tokenizer, SaysWhereJsonIsBroken) {
  EXPECT_THROW(Tokenizer::from_json("{", "t.json"), FormatError);
  EXPECT_THROW(Tokenizer::from_json("[]", "t.json"), FormatError);
  EXPECT_THROW(Tokenizer::from_json("{}", "t.json"), FormatError);
  EXPECT_THROW(Tokenizer::from_json("", "t.json"), FormatError);
}

TEST(Tokenizer, UnknownComponentsAreRefusedByNameAndPlace) {
  const auto with = [](const char* key, const char* value) {
    return refusal(bpe(), [&](Json& json) { json[key] = Json::parse(value); });
  };
  std::string message =
      with("normalizer", R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]})");
  EXPECT_HAS(message, "t.json: normalizer.normalizers[1]: ");
  EXPECT_HAS(message, "'Lowercase'");
  message = with("pre_tokenizer", R"({"type": "Sequence", "pretokenizers": [{"type": "BertPreTokenizer"}]})");
  EXPECT_HAS(message, "pre_tokenizer.pretokenizers[0]: ");
  EXPECT_HAS(message, "'BertPreTokenizer'");
  EXPECT_HAS(with("post_processor", R"({"type": "RobertaProcessing"})"),
             "post_processor: post-processor 'RobertaProcessing'");
  EXPECT_HAS(with("decoder", R"({"type": "WordPiece"})"), "decoder: decoder 'WordPiece'");
  EXPECT_HAS(with("decoder", R"({"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "CTC"}]})"),
             "decoder.decoders[1]: decoder 'CTC'");
  EXPECT_HAS(with("model", R"({"type": "WordPiece", "vocab": {}})"), "model: model 'WordPiece'");
  EXPECT_HAS(with("normalizer", R"({"type": "Prepnd", "prepend": "x"})"), "did you mean 'Prepend'");
  EXPECT_HAS(with("pre_tokenizer", R"({"type": "Split", "pattern": {"String": "-"}, "behavior": "isolated"})"),
             "pre_tokenizer.behavior: ");
  EXPECT_HAS(with("version", R"("2.0")"), "version: ");
}

TEST(Tokenizer, BrokenComponentsAreRefusedWithThePlace) {
  const auto with = [](const char* key, const char* value) {
    return refusal(bpe(), [&](Json& json) { json[key] = Json::parse(value); });
  };
  EXPECT_HAS(with("normalizer", R"({"type": "Prepend"})"), "normalizer: field 'prepend' is missing");
  EXPECT_HAS(with("normalizer", R"({"prepend": "x"})"), "normalizer: field 'type' is missing");
  EXPECT_HAS(with("normalizer", R"("NFC")"), "normalizer: expected an object");
  EXPECT_HAS(with("normalizer", R"({"type": "Replace", "pattern": {"Glob": "x"}, "content": ""})"),
             "normalizer.pattern: ");
  EXPECT_HAS(with("normalizer", R"({"type": "Replace", "pattern": {"Regex": "(a"}, "content": ""})"),
             "normalizer.pattern.Regex: the regular expression '(a' does not compile");
  EXPECT_HAS(with("pre_tokenizer",
                  R"({"type": "Split", "pattern": {"Regex": "[a-"}, "behavior": "Isolated", "invert": false})"),
             "pre_tokenizer.pattern.Regex: ");
  EXPECT_HAS(with("pre_tokenizer", R"({"type": "Digits", "individual_digits": "yes"})"),
             "pre_tokenizer.individual_digits: expected true or false");
  EXPECT_HAS(with("pre_tokenizer", R"({"type": "Metaspace", "replacement": "__"})"),
             "pre_tokenizer.replacement: expected one character");
  EXPECT_HAS(with("pre_tokenizer", R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "last"})"),
             "pre_tokenizer.prepend_scheme: ");
  EXPECT_HAS(with("pre_tokenizer",
                  R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "first", "add_prefix_space": false})"),
             "add_prefix_space");
  EXPECT_HAS(with("decoder", R"({"type": "Strip", "content": "ab", "start": 1, "stop": 0})"), "decoder.content: ");
  EXPECT_HAS(with("decoder", R"({"type": "Strip", "content": "a", "start": -1, "stop": 0})"), "decoder.start: ");
  const char* no_such =
      R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<x>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {}})";
  EXPECT_HAS(with("post_processor", no_such), "post_processor.single[0].SpecialToken.id: '<x>'");
  const char* beyond =
      R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<x>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
                           "special_tokens": {"<x>": {"id": "<x>", "ids": [77], "tokens": ["<x>"]}}})";
  EXPECT_HAS(with("post_processor", beyond), "id 77");
  EXPECT_HAS(
      with("post_processor", R"({"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}})"),
      "drops the text");
}

TEST(Tokenizer, BrokenVocabulariesAreRefusedWithThePlace) {
  const auto vocab = [](const char* key, const Json& value) {
    return refusal(bpe(), [&](Json& json) { json["model"]["vocab"][key] = value; });
  };
  EXPECT_HAS(vocab("x", 2), "model.vocab[\"x\"]: id 2 is that of 'c' already");
  EXPECT_HAS(vocab("x", -1), "model.vocab[\"x\"]: expected a whole number");
  EXPECT_HAS(vocab("x", 6.5), "model.vocab[\"x\"]: expected a whole number");
  EXPECT_HAS(vocab("x", 6.0), "model.vocab[\"x\"]: expected a whole number");
  EXPECT_HAS(vocab("x", "6"), "model.vocab[\"x\"]: expected a whole number");
  EXPECT_HAS(vocab("x", 4294967296), "model.vocab[\"x\"]: expected a whole number");
  EXPECT_HAS(vocab("x", 18446744073709551615ull), "model.vocab[\"x\"]: expected a whole number");
  EXPECT_HAS(vocab("x", 70), "model: 'x' has id 70, beyond the vocabulary of 7 tokens");
  EXPECT_EQ(vocab("x", 6), "accepted");
  EXPECT_HAS(refusal(bpe(), [](Json& json) { json["model"]["vocab"] = Json::object(); }),
             "model.vocab: the vocabulary is empty");
  EXPECT_HAS(refusal(bpe(), [](Json& json) { json["model"].erase("vocab"); }), "model: field 'vocab' is missing");
}

TEST(Tokenizer, BrokenModelsAreRefusedWithThePlace) {
  const auto model = [](const char* key, const char* value) {
    return refusal(bpe(), [&](Json& json) { json["model"][key] = Json::parse(value); });
  };
  EXPECT_HAS(model("unk_token", R"("<none>")"), "model.unk_token: '<none>' is not in the vocabulary");
  EXPECT_EQ(model("unk_token", R"("<unk>")"), "accepted");
  EXPECT_HAS(model("merges", R"([["a", "b"], ["x", "b"]])"), "model.merges[1]: ");
  EXPECT_HAS(model("merges", R"([["a", "x"]])"), "names 'x'");
  EXPECT_HAS(model("merges", R"([["b", "a"]])"), "names 'ba'");
  EXPECT_HAS(model("merges", R"(["a b", "ab  c"])"), "model.merges[1]: ");
  EXPECT_HAS(model("merges", R"(["ab"])"), "model.merges[0]: ");
  EXPECT_HAS(model("merges", R"([["a", "b", "c"]])"), "model.merges[0]: ");
  EXPECT_HAS(model("merges", R"("a b")"), "model.merges: ");
  EXPECT_HAS(model("dropout", "0.1"), "model.dropout: ");
  EXPECT_HAS(model("byte_fallback", "1"), "model.byte_fallback: expected true or false");
  EXPECT_HAS(refusal(word_level(), [](Json& json) { json["model"]["unk_token"] = "<none>"; }), "model.unk_token: ");
  EXPECT_HAS(refusal(word_level(), [](Json& json) { json["model"].erase("unk_token"); }),
             "model: field 'unk_token' is missing");
  const auto unigram = [](const char* text) {
    return refusal(bpe(), [&](Json& json) { json["model"] = Json::parse(text); });
  };
  EXPECT_EQ(unigram(R"({"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": null})"), "accepted");
  EXPECT_HAS(unigram(R"({"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": 1})"), "model.unk_id: ");
  EXPECT_HAS(unigram(R"({"type": "Unigram", "vocab": [["a", -1.0], ["a", -2.0]]})"), "model.vocab[1]: ");
  EXPECT_HAS(unigram(R"({"type": "Unigram", "vocab": [["a"]]})"), "model.vocab[0]: ");
  EXPECT_HAS(unigram(R"({"type": "Unigram", "vocab": [["a", "x"]]})"), "model.vocab[0][1]: ");
}

TEST(Tokenizer, BrokenAddedTokensAreRefusedWithThePlace) {
  const auto added = [](const char* key, const char* value) {
    return refusal(word_level(), [&](Json& json) { json["added_tokens"][1][key] = Json::parse(value); });
  };
  EXPECT_HAS(added("id", "-4"), "added_tokens[1].id: ");
  EXPECT_HAS(added("id", "4.5"), "added_tokens[1].id: ");
  EXPECT_HAS(added("id", "3"), "'<m>' has id 3, which is that of 'router'");
  EXPECT_HAS(added("id", "1"), "'<m>' has id 1, which is that of '<s>'");
  EXPECT_HAS(added("id", "9"), "'<m>' has id 9, beyond the vocabulary of 5 tokens");
  EXPECT_HAS(added("lstrip", "0"), "added_tokens[1].lstrip: expected true or false");
  EXPECT_HAS(refusal(word_level(),
                     [](Json& json) {
                       json["added_tokens"].push_back(json["added_tokens"][1]);
                       json["added_tokens"][2]["id"] = 5;
                     }),
             "'<m>' is there twice, with two ids");
  EXPECT_HAS(refusal(word_level(),
                     [](Json& json) {
                       json["added_tokens"].push_back(json["added_tokens"][1]);
                       json["added_tokens"][2]["content"] = "<n>";
                     }),
             "which is that of '<m>' already");
  EXPECT_HAS(refusal(word_level(), [](Json& json) { json["added_tokens"][1].erase("id"); }),
             "added_tokens[1]: field 'id' is missing");
}

TEST(Tokenizer, ContentTheModelKnowsKeepsTheModelsId) {
  Json json = word_level();
  json["added_tokens"][0]["id"] = 7;
  const auto tokenizer = made(json);
  EXPECT_EQ(tokenizer->ids("<s>the"), (Ids{1, 2}));
  ASSERT_EQ(tokenizer->notes().size(), 1u);
  EXPECT_HAS(tokenizer->notes()[0], "'<s>' has id 7 there and 1 in the vocabulary");
}

TEST(Tokenizer, NotesWhatItDoesNotApply) {
  Json json = bpe();
  json["truncation"] = Json::parse(R"({"max_length": 2})");
  json["model"]["sparkle"] = true;
  const auto tokenizer = made(json);
  EXPECT_EQ(tokenizer->ids("abcabcabc"), (Ids{4, 4, 4}));
  ASSERT_EQ(tokenizer->notes().size(), 2u);
  EXPECT_HAS(tokenizer->notes()[0], "truncation");
  EXPECT_HAS(tokenizer->notes()[1], "model: field 'sparkle'");
}

TEST(Tokenizer, UnigramWithoutUnknownPieceSaysWhatItCannotSpell) {
  Json json = bpe();
  json["model"] = Json::parse(R"({"type": "Unigram", "vocab": [["a", -1.0]]})");
  const auto tokenizer = made(json);
  EXPECT_EQ(tokenizer->ids("aa"), (Ids{0, 0}));
  try {
    tokenizer->ids("aéa");
    FAIL() << "accepted";
  } catch (const FormatError& error) {
    EXPECT_HAS(std::string(error.what()), "'é'");
  }
}

// BOS of checkpoint folders (model-families 8.4).
class Checkpoint : public testing::Test {
 protected:
  void SetUp() override {
    Json json = bpe();
    json["model"]["vocab"] =
        Json::parse(R"({"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4, "<unk>": 5, "<s>": 6, "</s>": 7, "<b>": 8})");
    json["post_processor"] = Json::parse(
        R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<b>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "pair": [], "special_tokens": {"<b>": {"id": "<b>", "ids": [8], "tokens": ["<b>"]}}})");
    write_file(folder_ / "tokenizer.json", json.dump());
  }
  Ids ids(const char* config) {
    write_file(folder_ / "tokenizer_config.json", config);
    return Tokenizer::open(folder_.path())->ids("abc");
  }
  const TestFolder folder_;
};

TEST_F(Checkpoint, WithoutConfigurationThePostProcessorDecides) {
  EXPECT_EQ(Tokenizer::open(folder_.path())->ids("abc"), (Ids{8, 4}));
  EXPECT_EQ(Tokenizer::open(folder_ / "tokenizer.json")->ids("abc"), (Ids{8, 4}));
}

TEST_F(Checkpoint, TheLlamaClassOverridesThePostProcessor) {
  for (const std::string name : {"LlamaTokenizer", "LlamaTokenizerFast"}) {
    const std::string start = R"({"tokenizer_class": ")" + name +
                              R"(", "bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false})";
    EXPECT_EQ(ids((start + "}").c_str()), (Ids{6, 4}));
    EXPECT_EQ(ids((start + R"(, "add_bos_token": false})").c_str()), (Ids{4}));
    EXPECT_EQ(ids((start + R"(, "add_eos_token": true})").c_str()), (Ids{6, 4, 7}));
    EXPECT_EQ(ids((start + R"(, "add_bos_token": null})").c_str()), (Ids{6, 4}));
  }
  EXPECT_EQ(ids(R"({"tokenizer_class": "LlamaTokenizer"})"), (Ids{6, 4})) << "the class has <s> by default";
  EXPECT_EQ(Tokenizer::open(folder_ / "tokenizer.json")->ids("abc"), (Ids{8, 4})) << "a bare file knows no class";
  const auto tokenizer = Tokenizer::open(folder_.path());
  EXPECT_EQ(tokenizer->ids("abc", false), (Ids{4}));
  EXPECT_EQ(tokenizer->encode("abc").offsets, (Offsets{{0, 0}, {0, 3}}));
  EXPECT_EQ(tokenizer->ids_before_text(), (Ids{6}));
  EXPECT_EQ(tokenizer->bos_id(), 6);
  EXPECT_EQ(tokenizer->bos_text(), "<s>");
}

TEST_F(Checkpoint, OtherClassesLeaveItToThePostProcessor) {
  EXPECT_EQ(ids(R"({"tokenizer_class": "GPTNeoXTokenizer", "bos_token": "<s>", "add_bos_token": true})"), (Ids{8, 4}));
  EXPECT_EQ(
      ids(R"({"tokenizer_class": "Qwen2Tokenizer", "bos_token": null, "eos_token": "</s>", "add_bos_token": false})"),
      (Ids{8, 4}));
  const auto tokenizer = Tokenizer::open(folder_.path());
  EXPECT_EQ(tokenizer->bos_id(), std::nullopt);
  EXPECT_EQ(tokenizer->bos_text(), std::nullopt);
  EXPECT_EQ(tokenizer->eos_id(), 7);
}

TEST_F(Checkpoint, ABosThatDoesNotExistIsRefusedWhereItIsNeeded) {
  EXPECT_THROW(ids(R"({"tokenizer_class": "LlamaTokenizer", "bos_token": null})"), FormatError);
  EXPECT_THROW(ids(R"({"tokenizer_class": "LlamaTokenizer", "bos_token": "<x>"})"), FormatError);
  EXPECT_EQ(ids(R"({"tokenizer_class": "LlamaTokenizer", "bos_token": null, "add_bos_token": false})"), (Ids{4}));
  EXPECT_EQ(ids(R"({"bos_token": "<x>"})"), (Ids{8, 4}));
  EXPECT_EQ(Tokenizer::open(folder_.path())->notes().size(), 1u);
}

TEST_F(Checkpoint, BrokenConfigurationIsRefused) {
  EXPECT_THROW(ids(R"({"tokenizer_class": 3})"), FormatError);
  EXPECT_THROW(ids(R"({"bos_token": 3})"), FormatError);
  EXPECT_THROW(ids(R"({"bos_token": {"text": "<s>"}})"), FormatError);
  EXPECT_THROW(ids(R"({"tokenizer_class": "LlamaTokenizer", "add_bos_token": "yes"})"), FormatError);
  EXPECT_THROW(ids("[]"), FormatError);
}

TEST_F(Checkpoint, IdsBeyondTheModelsVocabularyAreRefused) {
  write_file(folder_ / "config.json", R"({"vocab_size": 9})");
  EXPECT_NO_THROW(Tokenizer::open(folder_.path()));
  write_file(folder_ / "config.json", R"({"vocab_size": 8})");
  try {
    Tokenizer::open(folder_.path());
    FAIL() << "accepted";
  } catch (const ModelMismatch& error) {
    EXPECT_HAS(std::string(error.what()), "'<b>' has id 8, but vocab_size in config.json is 8");
  }
}

TEST_F(Checkpoint, AGapInTheIdsIsFineWhereTheModelIsLargeEnough) {
  Json json = bpe();
  json["model"]["vocab"]["x"] = 70;
  write_file(folder_ / "tokenizer.json", json.dump());
  EXPECT_THROW(Tokenizer::open(folder_.path()), FormatError);
  write_file(folder_ / "config.json", R"({"vocab_size": 71})");
  EXPECT_EQ(Tokenizer::open(folder_.path())->ids("xabc"), (Ids{70, 4}));
}

TEST(Tokenizer, WhatIsNotThereIsNamed) {
  const TestFolder folder;
  try {
    Tokenizer::open(folder.path());
    FAIL() << "accepted";
  } catch (const IoError& error) {
    EXPECT_HAS(std::string(error.what()), "no tokenizer.json and no tokenizer.model");
  }
  EXPECT_THROW(Tokenizer::open(folder / "tokenizer.json"), IoError);
}

double cpu_seconds(const std::function<void()>& work) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double begin = now();
  work();
  return now() - begin;
}

// How much longer a text of 2^20 bytes takes than one of 2^17: 8 and a little for n log n (more where it leaves the
// caches), 64 for n squared. Processor time of this thread, the best of three.
double growth(const Tokenizer& tokenizer, const std::string& unit) {
  double best[2] = {1e9, 1e9};
  for (int round = 0; round < 3; ++round)
    for (size_t i = 0; i < 2; ++i) {
      std::string text;
      while (text.size() < size_t{1} << (17 + 3 * i)) text += unit;
      best[i] = std::min(best[i], cpu_seconds([&] { tokenizer.encode(text); }));
    }
  return best[1] / best[0];
}

TEST(Tokenizer, TimeGrowsWithTheTextAndNotWithItsSquare) {
  Json json = bpe();
  json["model"]["vocab"] = Json::parse(R"({"a": 0, "aa": 1, "aaaa": 2, " ": 3, "  ": 4, "A": 5, "b": 6})");
  json["model"]["merges"] = Json::parse(R"([["a", "a"], ["aa", "aa"], [" ", " "]])");
  const auto whole = made(json);
  json["pre_tokenizer"] = Json::parse(R"({"type": "Split", "behavior": "Isolated", "invert": false, "pattern": {"Regex":
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[\\p{Lu}\\p{Lt}]+|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}})");
  const auto split = made(json);
  for (int i = 0; i < 300; ++i)
    json["added_tokens"].push_back({{"id", 7 + i},
                                    {"content", std::string(static_cast<size_t>(i % 20 + 1), 'b') + std::to_string(i)},
                                    {"special", false},
                                    {"normalized", false},
                                    {"single_word", false},
                                    {"lstrip", true},
                                    {"rstrip", true}});
  const auto many_added = made(json);
  for (const std::string unit : {"a", " ", "A", "aAab", "bbbb", "bbb7  "}) {
    EXPECT_LT(growth(*whole, unit), 30) << unit;
    EXPECT_LT(growth(*split, unit), 30) << unit;
    EXPECT_LT(growth(*many_added, unit), 30) << unit;
  }
  EXPECT_EQ(whole->ids(std::string(1 << 20, 'a')), Ids(1 << 18, 2));
  EXPECT_EQ(split->ids(std::string(1 << 20, ' ')), Ids(1 << 19, 4));
}

TEST(Tokenizer, ManyThreadsGetWhatOneGets) {
  const auto tokenizer = made(bpe());
  const std::string text = "abcabababccba";
  const Ids expected = tokenizer->ids(text);
  std::vector<std::thread> threads;
  threads.reserve(4);
  std::vector<int> wrong(4, 0);
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) wrong[static_cast<size_t>(t)] += tokenizer->ids(text) != expected;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace fare
