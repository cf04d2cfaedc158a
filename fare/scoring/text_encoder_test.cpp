// Splitting by hand with a word tokenizer whose merges can be read off its vocabulary.
#include "fare/scoring/text_encoder.h"

#include <gtest/gtest.h>

#include "fare/checkpoint/test_safetensors.h"
#include "fare/core/error.h"
#include "fare/core/file.h"

namespace fare {
namespace {

using Ids = std::vector<int32_t>;

// Characters as tokens, and the merge "ab"; a BOS (id 0, "<s>") is put before a text when `with_bos`.
constexpr const char* kTokenizer = R"({
  "version": "1.0", "truncation": null, "padding": null,
  "added_tokens": [{"id": 0, "content": "<s>", "special": true, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false}],
  "normalizer": null, "pre_tokenizer": null,
  "post_processor": POST, "decoder": null,
  "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": {"<s>": 0, "a": 1, "b": 2, "c": 3, " ": 4, "ab": 5, "é": 6, "<": 7, "s": 8, ">": 9, "\n": 10, "\u3000": 11},
            "merges": [["a", "b"]]}})";
constexpr const char* kTemplate =
    R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}})";

class TextEncoding : public ::testing::Test {
 protected:
  // `config` is tokenizer_config.json.
  std::unique_ptr<Tokenizer> tokenizer(bool with_bos, const std::string& config) {
    std::string text = kTokenizer;
    text.replace(text.find("POST"), 4, with_bos ? kTemplate : "null");
    write_file(folder_ / "tokenizer.json", text);
    write_file(folder_ / "tokenizer_config.json", config);
    return Tokenizer::open(folder_.path());
  }
  TestFolder folder_;
  const std::string bos_config_ = R"({"bos_token": "<s>"})";
};

TEST_F(TextEncoding, WhiteSpaceMovesToTheContinuation) {
  const auto tok = tokenizer(false, bos_config_);
  const TextEncoder encoder(*tok);
  const Request a = encoder.encode("a", "c", " b"), b = encoder.encode("b", "c ", "b");
  EXPECT_EQ(a.context, Ids{3});
  EXPECT_EQ(a.continuation, (Ids{4, 2}));
  EXPECT_EQ(b.context, a.context);
  EXPECT_EQ(b.continuation, a.continuation);
  EXPECT_EQ(encoder.encode("c", "c\xE3\x80\x80\n", "b").continuation, (Ids{11, 10, 2}));
}

TEST_F(TextEncoding, ATokenAcrossTheBorderIsFlagged) {
  const auto tok = tokenizer(false, bos_config_);
  const TextEncoder encoder(*tok);
  // "ca" + "bc": whole = c ab c, context = c a; by count one token, c, is left.
  const Request merged = encoder.encode("m", "ca", "bc");
  EXPECT_TRUE(merged.boundary_merge);
  EXPECT_EQ(merged.context, (Ids{3, 1}));
  EXPECT_EQ(merged.continuation, (Ids{3}));
  EXPECT_FALSE(encoder.encode("n", "ca", "c").boundary_merge);
  EXPECT_THROW(encoder.encode("x", "ca", "b"), UsageError);  // nothing is left
}

TEST_F(TextEncoding, AnEmptyContextIsThePrefixToken) {
  const auto tok = tokenizer(false, bos_config_);
  const TextEncoder encoder(*tok);
  EXPECT_EQ(encoder.encode("e", "", "ca").context, Ids{0});
  EXPECT_EQ(encoder.encode("e", "", "ca").continuation, (Ids{3, 1}));
  // White space alone moves away and leaves an empty context.
  EXPECT_EQ(encoder.encode("w", " ", "ca").context, Ids{0});
  EXPECT_EQ(encoder.encode("w", " ", "ca").continuation, (Ids{4, 3, 1}));
  // A user's token replaces it, and is used up where the text begins with it.
  const TextEncoder with_c(*tok, 3);
  EXPECT_EQ(with_c.encode("u", "", "ca").context, Ids{3});
  EXPECT_EQ(with_c.encode("u", "", "ca").continuation, (Ids{1}));
  EXPECT_THROW(with_c.encode("u", "", "c"), UsageError);
  EXPECT_EQ(encoder.encode("s", "", "<s>c").continuation, (Ids{3}));
  const auto bare = tokenizer(false, "{}");
  EXPECT_THROW(TextEncoder(*bare).encode("n", "", "c"), UsageError);
  EXPECT_EQ(TextEncoder(*bare, 2).encode("n", "", "c").context, Ids{2});
  const auto end_only = tokenizer(false, R"({"eos_token": "<s>"})");
  EXPECT_EQ(TextEncoder(*end_only).encode("n", "", "c").context, Ids{0});
}

TEST_F(TextEncoding, ABosIsAddedToBothUnlessTheTextBeginsWithIt) {
  const auto tok = tokenizer(true, bos_config_);
  const TextEncoder encoder(*tok);
  const Request plain = encoder.encode("a", "c", "b"), with = encoder.encode("b", "<s>c", "b");
  EXPECT_EQ(plain.context, (Ids{0, 3}));
  EXPECT_EQ(plain.continuation, Ids{2});
  EXPECT_EQ(with.context, plain.context);
  EXPECT_EQ(with.continuation, plain.continuation);
  EXPECT_EQ(encoder.encode("e", "", "cb").context, Ids{0});
  EXPECT_EQ(encoder.encode("e", "", "cb").continuation, (Ids{3, 2}));
  EXPECT_EQ(encoder.prompt("p", "cb "), (Ids{0, 3, 2, 4}));
  EXPECT_EQ(encoder.prompt("p", "<s>c"), (Ids{0, 3}));
  EXPECT_EQ(encoder.prompt("p", ""), (Ids{0}));
}

TEST_F(TextEncoding, AnEmptyPromptIsThePrefixToken) {
  const auto tok = tokenizer(false, bos_config_);
  EXPECT_EQ(TextEncoder(*tok).prompt("p", ""), Ids{0});
  EXPECT_EQ(TextEncoder(*tok, 2).prompt("p", ""), Ids{2});
  EXPECT_EQ(TextEncoder(*tok).prompt("p", " "), Ids{4});
  const auto bare = tokenizer(false, "{}");
  EXPECT_THROW(TextEncoder(*bare).prompt("p", ""), UsageError);
}

TEST_F(TextEncoding, SpansHoldTokensThatOverlapByAByte) {
  const auto tok = tokenizer(false, bos_config_);
  const TextEncoder encoder(*tok);
  using Ranges = std::vector<std::pair<int64_t, int64_t>>;
  // Continuation as given "ab é c": tokens ab | space | é (2 bytes) | space | c; bytes 0-2, 2, 3-5, 5, 6.
  const auto spans = [&](const std::string& context, std::pair<int64_t, int64_t> range) {
    return encoder.encode("s", context, "ab é c", {{"x", {range}}}).spans.at("x");
  };
  EXPECT_EQ(spans("c", {1, 2}), (Ranges{{0, 1}}));
  EXPECT_EQ(spans("c", {2, 4}), (Ranges{{1, 3}}));
  EXPECT_EQ(spans("c", {4, 5}), (Ranges{{2, 3}}));
  // White space moved from the context stands before the continuation's first byte.
  EXPECT_EQ(spans("c ", {0, 1}), (Ranges{{1, 2}}));
  EXPECT_EQ(spans("", {6, 7}), (Ranges{{4, 5}}));
  // A token used up as the prefix is in no span, and the others keep theirs.
  const TextEncoder with_ab(*tok, 5);
  EXPECT_EQ(with_ab.encode("s", "", "ab c", {{"x", {{0, 3}}}}).spans.at("x"), (Ranges{{0, 1}}));
}

}  // namespace
}  // namespace fare
