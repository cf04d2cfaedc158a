// Measures of generated texts: sentiment, hurtful words, refusals, broken text, gaps between groups.
#include <cmath>

#include "fare/benchmarks/group_gaps.h"
#include "fare/benchmarks/hurtful_words.h"
#include "fare/benchmarks/reply_rules.h"
#include "fare/benchmarks/sentiment.h"
#include "fare/benchmarks/test_support.h"
#include "fare/core/error.h"
#include "fare/core/source_folder.h"

namespace fare {
namespace {

void expect_sentiment(const SentimentLexicon& lexicon, const std::string& text, const Json& expected) {
  const Sentiment got = lexicon.score(text);
  EXPECT_NEAR(got.negative, expected["neg"], 1e-9) << text;
  EXPECT_NEAR(got.neutral, expected["neu"], 1e-9) << text;
  EXPECT_NEAR(got.positive, expected["pos"], 1e-9) << text;
  EXPECT_NEAR(got.compound, expected["compound"], 1e-9) << text;
}

TEST(Sentiment, EqualsTheReferenceVectors) {
  FARE_NEED_DATA("lexicons/vader");
  FARE_NEED_VECTORS(vectors, "vader");
  const auto lexicon = SentimentLexicon::load(testing::data_folder());
  EXPECT_EQ(lexicon.num_words(), 7506u);
  EXPECT_EQ(lexicon.num_emoji(), 3570u);
  for (const auto& vector : *vectors) expect_sentiment(lexicon, vector["input"]["text"], vector["expected"]);
}

// tests/golden/vader: made by the reference implementation.
TEST(Sentiment, EqualsTheReferenceImplementation) {
  FARE_NEED_DATA("lexicons/vader");
  const auto lexicon = SentimentLexicon::load(testing::data_folder());
  const Json golden = read_json_file(source_folder() / "tests/golden/vader/sentiment.json");
  EXPECT_EQ(golden.size(), 424u);
  for (const auto& entry : golden) expect_sentiment(lexicon, entry["text"], entry);
}

TEST(Sentiment, BrokenLexiconsAreNamed) {
  const auto message = [](const std::string& words, const std::string& emoji) {
    return message_of<FormatError>([&] { SentimentLexicon::parse(words, "words.txt", emoji, "emoji.txt"); });
  };
  EXPECT_NE(message("good 1.9\n", "").find("words.txt: line 1"), std::string::npos);
  EXPECT_NE(message("good\tmuch\t0\n", "").find("is no number"), std::string::npos);
  EXPECT_NE(message("", "").find("no word"), std::string::npos);
  EXPECT_NE(message("good\t1.9\n", "x\n").find("emoji.txt"), std::string::npos);
  EXPECT_THROW(SentimentLexicon::load(testing::scratch("no-lexicon")), IoError);
}

TEST(Honest, EqualsTheReferenceVector) {
  FARE_NEED_VECTORS(vectors, "honest");
  for (const auto& vector : *vectors) {
    const auto& input = vector["input"];
    const auto words = input["lexicon"].get<std::vector<std::string>>();
    const auto score = honest_score(input["predictions"], input["groups"], {words.begin(), words.end()});
    ASSERT_TRUE(score);
    EXPECT_NEAR(score->honest, vector["expected"]["honest"], 1e-12);
    for (const auto& [group, value] : vector["expected"]["per_group"].items())
      EXPECT_NEAR(score->per_group.at(group), value.get<double>(), 1e-12);
  }
}

TEST(Honest, TheFirstCompletionDecidesAndInputsAreChecked) {
  const std::unordered_set<std::string> lexicon{"rat", "old rat"};
  EXPECT_EQ(honest_score({{"nice", "an old rat"}}, {}, lexicon)->honest, 0.5);   // words: counted once
  EXPECT_EQ(honest_score({{"so nice", "an old rat"}}, {}, lexicon)->honest, 0);  // whole completions
  EXPECT_EQ(honest_score({{"so nice", "old rat"}}, {}, lexicon)->honest, 0.5);
  EXPECT_EQ(honest_score({{"Rat"}}, {}, lexicon)->honest, 0);  // no lower-casing
  EXPECT_FALSE(honest_score({}, {}, lexicon));
  EXPECT_THROW(honest_score({{"a"}, {"a", "b"}}, {}, lexicon), UsageError);
  EXPECT_THROW(honest_score({{"a"}}, {"m", "f"}, lexicon), UsageError);
  EXPECT_THROW(honest_score({{}}, {}, lexicon), UsageError);
}

TEST(HurtLex, CountsAndAccents) {
  FARE_NEED_DATA("lexicons/hurtlex");
  const auto lemmas = load_hurtlex(testing::data_folder());
  EXPECT_GT(lemmas.size(), 1000u);
  EXPECT_LE(lemmas.size(), 3360u);  // rows of the level "conservative", repeats included
  EXPECT_EQ(without_accents("fiancé Ürün"), "fiance Urun");
  EXPECT_NE(message_of<FormatError>([] { parse_hurtlex("id\tlemma\tlevel\n1\ta\tsome\n", "h"); }).find("line 2"),
            std::string::npos);
}

TEST(BlockList, FindsWholeWordsAndPhrases) {
  const BlockList list({"bad", "really bad", "naïve"});
  EXPECT_EQ(list.count("That is BAD, badly."), 1);
  EXPECT_EQ(list.count("a really bad, bad day"), 2);  // the longest entry first, each place once
  EXPECT_EQ(list.count("so naive!"), 1);
  EXPECT_EQ(list.count(""), 0);
  FARE_NEED_DATA("lexicons/ldnoobw");
  EXPECT_GT(BlockList::load(testing::data_folder()).size(), 390u);
}

TEST(Refusal, EqualsTheReferenceVectors) {
  FARE_NEED_VECTORS(vectors, "xstest_string_match");
  for (const auto& vector : *vectors) {
    const std::string text = vector["input"]["completion"];
    EXPECT_EQ(is_refusal_compat(text), vector["expected"]["label"] == "2_full_refusal") << text;
    EXPECT_EQ(is_refusal(text), vector["expected"]["label_after_apostrophe_folding"] == "2_full_refusal") << text;
  }
  EXPECT_TRUE(is_refusal_wide("I won\xE2\x80\x99t do that"));
  EXPECT_FALSE(is_refusal("I won't do that"));
}

TEST(BrokenText, EmptyRepeatedOrUnlikely) {
  EXPECT_TRUE(is_broken(" \n"));
  EXPECT_FALSE(is_broken("one two three"));
  EXPECT_TRUE(is_broken("a b c d a b c d a b c d a b c d"));
  EXPECT_EQ(repeated_four_grams("a a a a a a"), 2.0 / 3);
  EXPECT_EQ(repeated_four_grams("a b c d a b c d"), 0.2);
  EXPECT_FALSE(repeated_four_grams("a b c"));
  EXPECT_EQ(distinct_two("a b a b"), 2.0 / 3);
  EXPECT_FALSE(is_broken("fine text here", 6.0));
  EXPECT_TRUE(is_broken("fine text here", 6.01));
  EXPECT_EQ(reply_of("sorry sorry sorry sorry sorry sorry sorry"), Reply::kBroken);  // damage is not read as a refusal
  EXPECT_EQ(reply_of("Sorry, no."), Reply::kRefusal);
  EXPECT_EQ(reply_of("Here you are"), Reply::kCompliance);
}

TEST(GroupGaps, EqualTheReferenceVectors) {
  FARE_NEED_VECTORS(vectors, "group_gaps");
  for (const auto& vector : *vectors) {
    const auto gaps = group_gaps(vector["input"]["scores"].get<std::map<std::string, std::vector<double>>>());
    const auto& expected = vector["expected"];
    for (const auto& [name, mean] : expected["means"].items())
      EXPECT_NEAR(gaps->means.at(name), mean.get<double>(), 1e-12);
    EXPECT_NEAR(gaps->range, expected["range"], 1e-12);
    EXPECT_NEAR(gaps->grand_mean, expected["grand_mean"], 1e-12);
    EXPECT_NEAR(gaps->max_abs_deviation, expected["max_abs_deviation"], 1e-12);
    EXPECT_NEAR(gaps->between_group_sd, expected["between_group_sd"], 1e-12);
  }
  EXPECT_FALSE(group_gaps({}));
  EXPECT_FALSE(shuffled_gaps({{"a", 1}, {"a", 2}}, 10, 0));
  const GroupGaps null = *shuffled_gaps({{"a", 1}, {"b", 3}}, 10, 0);  // whichever way round: the same gaps
  EXPECT_NEAR(null.range, 2, 1e-12);
  EXPECT_NEAR(null.max_abs_deviation, 1, 1e-12);
  EXPECT_NEAR(null.between_group_sd, 1, 1e-12);
}

TEST(Toxicity, EqualsTheReferenceVectors) {
  FARE_NEED_VECTORS(vectors, "toxicity");
  for (const auto& vector : *vectors) {
    const auto scores = toxicity_scores(vector["input"]["scores"], vector["input"]["threshold"]);
    const auto& expected = vector["expected"];
    EXPECT_NEAR(scores->expected_max, expected["expected_max_toxicity"], 1e-12);
    EXPECT_NEAR(scores->probability, expected["toxicity_probability"], 1e-12);
    EXPECT_NEAR(scores->ratio, expected["toxicity_ratio"], 1e-12);
    EXPECT_NEAR(scores->mean, expected["mean"], 1e-12);
  }
  EXPECT_FALSE(toxicity_scores({}));
  EXPECT_THROW(toxicity_scores({{0.1}, {0.1, 0.2}}), UsageError);
}

}  // namespace
}  // namespace fare
