#include "fare/benchmarks/context_split.h"
#include "fare/benchmarks/python_json.h"
#include "fare/benchmarks/test_support.h"
#include "fare/benchmarks/token_align.h"
#include "fare/benchmarks/unicode_case.h"
#include "fare/benchmarks/unicode_text.h"
#include "fare/core/error.h"

namespace fare {
namespace {

TEST(ContextSplit, EqualsThePublishedVectors) {
  FARE_NEED_VECTORS(cases, "context_split");
  for (const auto& entry : *cases) {
    SCOPED_TRACE(entry["id"].get<std::string>());
    const TextRequest split =
        split_context(entry["input"]["context"].get<std::string>(), entry["input"]["continuation"].get<std::string>());
    EXPECT_EQ(split.context, entry["expected"]["context"]);
    EXPECT_EQ(split.continuation, entry["expected"]["continuation"]);
  }
}

TEST(ContextSplit, MovesEveryPythonSpaceAndNothingElse) {
  for (const char* space :
       {"\t",     "\n",     "\v",     "\f",     "\r",     "\x1c",   "\x1d",   "\x1e",   "\x1f",   " ",
        "\u0085", "\u00a0", "\u1680", "\u2000", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"}) {
    const TextRequest split = split_context(std::string("a") + space, "b");
    EXPECT_EQ(split.context, "a");
    EXPECT_EQ(split.continuation, std::string(space) + "b");
  }
  // Zero-width space, byte-order mark, Mongolian vowel separator: not white space in Python.
  for (const char* other : {"\u200b", "\ufeff", "\u180e", "\u00e0", "\xa0"}) {
    const TextRequest split = split_context(std::string("a") + other, "b");
    EXPECT_EQ(split.context, std::string("a") + other);
    EXPECT_EQ(split.continuation, "b");
  }
  EXPECT_EQ(split_context(" \n", "b").context, "");
  EXPECT_EQ(split_context(" \n", "b").continuation, " \nb");
  EXPECT_EQ(split_context("", "b").context, "");
}

TEST(UnicodeText, CountsCodePointsAndSplitsAtSpace) {
  EXPECT_EQ(count_code_points("日本語の選択肢です"), 9);
  EXPECT_EQ(count_code_points("e\u0301"), 2);  // no normalisation
  EXPECT_EQ(count_code_points("\U0001F600"), 1);
  EXPECT_EQ(split_at_space(" a\u3000 bc\n"), (std::vector<std::string>{"a", "bc"}));
  EXPECT_EQ(strip("\u2003 x y\u00a0"), "x y");
  EXPECT_TRUE(is_valid_utf8("é"));
  for (const char* broken : {"\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf5\x80\x80\x80", "a\x80"})
    EXPECT_FALSE(is_valid_utf8(broken));
}

TEST(UnicodeCase, CapitalisesAsPythonDoes) {
  // str.capitalize() of CPython 3.11, one by one.
  for (const auto& [text, want] : {std::pair{"\u00dfa", "Ssa"},
                                   {"\u0149B", "\u02bcNb"},
                                   {"\ufb01X", "Fix"},
                                   {"a\u03a3", "A\u03c2"},
                                   {"\u0391\u03a3", "\u0391\u03c2"},
                                   {"\u03a3", "\u03a3"},
                                   {"\u0130A", "\u0130a"},
                                   {"\u01c6a", "\u01c5a"},
                                   {"the END", "The end"},
                                   {"1 A", "1 a"},
                                   {"'tis", "'tis"},
                                   {"", ""}})
    EXPECT_EQ(capitalize_text(text), want) << text;
}

TEST(TokenAlign, EqualsThePublishedSpans) {
  FARE_NEED_VECTORS(cases, "common_token_spans");
  for (const auto& entry : *cases) {
    SCOPED_TRACE(entry["id"].get<std::string>());
    const auto a = entry["input"]["a"].get<std::vector<int32_t>>();
    const auto b = entry["input"]["b"].get<std::vector<int32_t>>();
    const Alignment positions = block_positions(equal_blocks(a, b));
    EXPECT_EQ(positions.a, entry["expected"]["a_positions"].get<std::vector<size_t>>());
    EXPECT_EQ(positions.b, entry["expected"]["b_positions"].get<std::vector<size_t>>());
  }
}

// Expected by Python's difflib.SequenceMatcher(None, a, b).get_matching_blocks(): with 200 elements 7 is popular
// (more than 3 times) and starts no run, so the run found is the one around 1, extended over its neighbours.
TEST(TokenAlign, PopularElementsStartNoRunFromTwoHundredOn) {
  std::vector<int32_t> b(200, 7);
  b[150] = 1;
  const std::vector<int32_t> a{7, 7, 7, 1, 7};
  const auto blocks = equal_blocks(a, b);
  ASSERT_EQ(blocks.size(), 1u);
  EXPECT_EQ(blocks[0].b_begin, 147u);
  EXPECT_EQ(blocks[0].length, 5u);
  const std::vector<int32_t> only_popular{8, 7, 7};
  EXPECT_TRUE(equal_blocks(only_popular, b).empty());
  b.pop_back();
  EXPECT_EQ(equal_blocks(only_popular, b).size(), 1u);
}

TEST(TokenAlign, SubsequenceIsLongestAndTakesTheLeftOnTies) {
  const std::vector<int32_t> a{1, 2, 3, 4, 5, 6};
  const std::vector<int32_t> b{4, 5, 6, 1, 2, 3};
  EXPECT_EQ(longest_common_subsequence(a, b).a.size(), 3u);
  // The block matcher keeps only [2, 3]; the subsequence also keeps 9.
  const std::vector<int32_t> c{2, 3, 1, 9};
  const std::vector<int32_t> d{1, 2, 3, 8, 9};
  const Alignment shared = longest_common_subsequence(c, d);
  EXPECT_EQ(shared.a, (std::vector<size_t>{0, 1, 3}));
  EXPECT_EQ(shared.b, (std::vector<size_t>{1, 2, 4}));
  const std::vector<int32_t> twice{5, 5};
  const std::vector<int32_t> once{5};
  EXPECT_EQ(longest_common_subsequence(twice, once).a, (std::vector<size_t>{0}));
  EXPECT_TRUE(longest_common_subsequence(twice, {}).a.empty());
}

TEST(PythonJson, SpellsAsPythonDoes) {
  const OrderedJson value{{"z", 1},
                          {"a", {1.5, 1e-7, 5.0, -0.0, 1e16, nullptr, true}},
                          {"empty", OrderedJson::array()},
                          {"none", OrderedJson::object()},
                          {"text", "é\"\\\n\x01/\x7f"}};
  EXPECT_EQ(python_json_dumps(value),
            "{\"z\": 1, \"a\": [1.5, 1e-07, 5.0, -0.0, 1e+16, null, true], \"empty\": [], \"none\": {}, "
            "\"text\": \"é\\\"\\\\\\n\\u0001/\x7f\"}");
  EXPECT_EQ(python_json_dumps({{"a", {1, 2}}, {"b", OrderedJson::array()}}, 2),
            "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": []\n}");
}

TEST(PythonJson, ReadsBackNanAndKeepsOrderAndRefusesDuplicates) {
  const std::string text = "{\"b\": NaN, \"a\": [Infinity, -Infinity, \"NaN \\\" NaN\"]}";
  const OrderedJson value = python_json_loads(text, "f");
  EXPECT_EQ(python_json_dumps(value), text);
  EXPECT_NE(message_of<FormatError>([] {
              python_json_loads("{\"a\":1,\"a\":2}", "f.json", "line 3");
            }).find("f.json: line 3: duplicate key"),
            std::string::npos);
  EXPECT_THROW(python_json_loads("{\"a\": Nan}", "f"), FormatError);
  EXPECT_THROW(python_json_loads(std::string(70, '[') + std::string(70, ']'), "f"), FormatError);
}

TEST(PythonJson, FloatTextEqualsThePublishedVectors) {
  FARE_NEED_VECTORS(cases, "python_float_text");
  for (const auto& entry : *cases) {
    const double value = std::strtod(entry["input"]["hex"].get<std::string>().c_str(), nullptr);
    EXPECT_EQ(python_float_text(value), entry["expected"]["str"]);
    EXPECT_EQ(python_json_dumps(OrderedJson(value)), entry["expected"]["json"]);
  }
}

}  // namespace
}  // namespace fare
