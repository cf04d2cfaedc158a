#include "fare/tokenizer/oniguruma.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "fare/core/error.h"
#include "fare/tokenizer/text_pattern.h"

namespace fare {
namespace {

std::string matches(const char* expression, std::string_view text) {
  const TextPattern pattern = TextPattern::regex(expression, "test");
  TextPattern::Matcher matcher(pattern);
  std::string out;
  matcher.for_each_match(
      text, [&](size_t begin, size_t end) { out.append("[").append(text.substr(begin, end - begin)).append("]"); });
  return out;
}

TEST(Oniguruma, WhiteSpaceIsTheUnicodePropertyAndNothingElse) {
  EXPECT_EQ(matches(R"(\s)", "a\u180Eb\u3000c\u0085d"), "[\u3000][\u0085]");
  EXPECT_EQ(matches(R"([^\s]+)", "a\u180Eb\u3000c"), "[a\u180Eb][c]");
}

TEST(Oniguruma, KnowsCodePointsNewerThanThoseOfTheMatcher) {
  // U+1C89 Cyrillic capital letter Tje and U+11BC0 Sunuwar letter (both Unicode 16), U+16D70 Kirat Rai digit zero.
  EXPECT_EQ(matches(R"(\p{L}+)", "\u1C89\U00011BC0 \U00016D70"), "[\u1C89\U00011BC0]");
  EXPECT_EQ(matches(R"(\p{N})", "\u1C89\U00016D70"), "[\U00016D70]");
  EXPECT_EQ(matches(R"(\P{L})", "\u1C89!"), "[!]");
}

TEST(Oniguruma, AnchorsAreThoseOfLines) { EXPECT_EQ(matches(R"(^a|b$)", "ab\nab"), "[a][b][a][b]"); }

TEST(Oniguruma, EmptyMatchesRightBehindAnotherAreNotReported) {
  EXPECT_EQ(matches("x*", "axxb"), "[][xx][]");
  EXPECT_EQ(matches("", "aé"), "[][][]");
  EXPECT_EQ(matches("", ""), "");
}

TEST(Oniguruma, OptionMMeansDotAll) {
  EXPECT_EQ(matches("(?m:a.)", "a\n"), "[a\n]");
  EXPECT_EQ(matches("a.", "a\n"), "");
}

TEST(Oniguruma, WhatHasNoEqualIsRefused) {
  for (const char* expression :
       {"(a",          "a)",    "[a",  "[b-a]", "\\",      "\\p{Nope}", "\\pL", "(?~a)",      "(?s)a",
        "a{2}+",       "a{2}?", "\\y", "[\\q]", "(*FAIL)", "\\xFF",     "*a",   "[[:nope:]]", "(?<n>a)\\k<m>",
        "\\x{110000}", "\\u12", "(?",  "a**"}) {
    EXPECT_THROW(TextPattern::regex(expression, "test"), FormatError) << expression;
  }
}

TEST(Oniguruma, NamesTheExpressionInTheMessage) {
  try {
    TextPattern::regex("(?~a)", "t.json");
    FAIL() << "accepted";
  } catch (const FormatError& error) {
    EXPECT_NE(
        std::string(error.what()).find("t.json: the regular expression '(?~a)' does not compile: the absent operator"),
        std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace fare
