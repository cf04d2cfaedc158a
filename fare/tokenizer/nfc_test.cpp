#include "fare/tokenizer/nfc.h"

#include <gtest/gtest.h>

namespace fare {
namespace {

AlignedText normalized(std::string_view text) {
  AlignedText aligned = AlignedText::part(text, 10, true);
  normalize_nfc(aligned);
  return aligned;
}

TEST(Nfc, ComposesAndKeepsTheFirstPartsPlace) {
  const AlignedText text = normalized("ae\u0301b");
  EXPECT_EQ(text.text, "aéb");
  EXPECT_EQ(text.source, (std::vector<ByteRange>{{10, 11}, {11, 12}, {11, 12}, {14, 15}}));
}

TEST(Nfc, OrdersMarksByClassBeforeComposing) {
  EXPECT_EQ(normalized("q\u0307\u0323").text, "q\u0323\u0307");
  EXPECT_EQ(normalized("a\u0315\u0300").text, "\u00E0\u0315");
  EXPECT_EQ(normalized("a\u0327\u0301\u0304").text, "\u00E1\u0327\u0304");
}

TEST(Nfc, AMarkOfTheSameClassBlocksTheNext) {
  EXPECT_EQ(normalized("a\u0305\u0301e\u0301").text, "a\u0305\u0301é");
  EXPECT_EQ(normalized("ab\u0301\u0301").text, "ab\u0301\u0301");
}

TEST(Nfc, CharactersNewerThanUnicode9DoNotCombine) {
  // U+1DF6 (Unicode 10) would reorder and let the grave through; U+11938 (Unicode 13) is composed of these two.
  EXPECT_EQ(normalized("a\u1DF6\u0300").text, "a\u1DF6\u0300");
  EXPECT_EQ(normalized("\U00011935\U00011930").text, "\U00011935\U00011930");
}

TEST(Nfc, KeepsExclusionsDecomposed) {
  EXPECT_EQ(normalized("\u0958").text, "\u0915\u093C");
  EXPECT_EQ(normalized("\u212B").text, "\u00C5");
  EXPECT_EQ(normalized("\uFB01").text, "\uFB01") << "compatibility forms stay";
}

TEST(Nfc, ComposesHangul) { EXPECT_EQ(normalized("\u1112\u1161\u11AB").text, "\uD55C"); }

TEST(Nfc, LeavesComposedTextAlone) {
  const AlignedText text = normalized("é \U0001F600");
  EXPECT_EQ(text.text, "é \U0001F600");
  EXPECT_EQ(text.source[0], (ByteRange{10, 12}));
}

}  // namespace
}  // namespace fare
