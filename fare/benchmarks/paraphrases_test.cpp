#include "fare/benchmarks/paraphrases.h"

#include <gtest/gtest.h>

#include <set>

#include "fare/benchmarks/csv.h"
#include "fare/benchmarks/fixture.h"
#include "fare/benchmarks/test_support.h"
#include "fare/benchmarks/words.h"

namespace fare {
namespace {

std::vector<std::string> texts_of(const std::string& text) {
  std::vector<std::string> texts;
  for (const Paraphrase& one : paraphrases(text)) texts.push_back(one.text);
  return texts;
}

using Texts = std::vector<std::string>;

TEST(Paraphrases, ExchangeOnePhraseAtATime) {
  EXPECT_EQ(
      texts_of("The nurse didn't sleep because the ward was full."),
      (Texts{"The nurse did not sleep because the ward was full.", "The nurse didn't sleep since the ward was full."}));
  const auto one = paraphrases("They do not agree.");
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].text, "They don't agree.");
  EXPECT_EQ(one[0].begin, 5u);
  EXPECT_EQ(one[0].from, "do not");
  EXPECT_EQ(one[0].to, "don't");
}

TEST(Paraphrases, KeepCapitalsAndApostrophes) {
  EXPECT_EQ(texts_of("Someone called."), Texts{"Somebody called."});
  EXPECT_EQ(texts_of("She doesn\xE2\x80\x99t care."), Texts{"She does not care."});
  EXPECT_EQ(texts_of("The man\xE2\x80\x99s dog did not bark."),
            Texts{"The man\xE2\x80\x99s dog didn\xE2\x80\x99t bark."});
}

TEST(Paraphrases, StayAwayWhereTheSenseWouldChange) {
  EXPECT_TRUE(texts_of("Why don't you come?").empty());           // not: do not you come
  EXPECT_TRUE(texts_of("He left because of the rain.").empty());  // not: since of
  EXPECT_TRUE(texts_of("It was the very best day.").empty());
  EXPECT_TRUE(texts_of("That is who they're.").empty());    // nothing follows
  EXPECT_TRUE(texts_of("They do, not we alone.").empty());  // a mark between the words
  EXPECT_TRUE(texts_of("He undid nothing").empty());
  EXPECT_TRUE(texts_of("").empty());
}

// No entry brings a group in or takes one out, none does nothing, none is there twice.
TEST(Paraphrases, TheListHoldsNoWordForPeople) {
  std::set<std::string> seen;
  const std::set<std::string> people = {"man", "woman", "men",  "women", "he",    "she", "his",
                                        "her", "boy",   "girl", "black", "white", "old", "young"};
  for (const auto& entry : json_fixture("equivalent_phrases.json")) {
    const std::string from = entry["from"], to = entry["to"];
    EXPECT_NE(from, to);
    EXPECT_TRUE(seen.insert(from + "|" + to).second) << from;
    std::set<std::string> a, b;
    for (const std::string& word : words_of(lower_ascii(from)).words) a.insert(word.substr(0, word.find('\'')));
    for (const std::string& word : words_of(lower_ascii(to)).words) b.insert(word.substr(0, word.find('\'')));
    for (const std::string& word : people) EXPECT_EQ(a.contains(word), b.contains(word)) << from << " / " << to;
  }
  EXPECT_EQ(seen.size(), 89u);
}

TEST(Paraphrases, FindAThirdOfCrowsPairs) {
  FARE_NEED_DATA("crows-pairs/crows_pairs_anonymized.csv");
  int64_t with = 0, rows = 0;
  const auto path = testing::data_folder() / "crows-pairs/crows_pairs_anonymized.csv";
  const Table table(parse_csv(read_file(path), path.string()), path.string(), {"sent_more"});
  for (size_t row = 0; row < table.num_rows(); ++row) {
    ++rows;
    with += !paraphrases(table.cell(row, "sent_more")).empty();
  }
  EXPECT_EQ(rows, 1508);
  EXPECT_EQ(with, 473);
}

}  // namespace
}  // namespace fare
