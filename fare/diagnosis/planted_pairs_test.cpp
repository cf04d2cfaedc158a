#include "fare/diagnosis/planted_pairs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "fare/diagnosis/control_study_test.h"
#include "fare/lab/random_model.h"

namespace fare {
namespace {

// A tokenizer that spells every word, byte by byte.
struct ByteLevel {
  ByteLevel() : folder("planted-bytes") {
    RandomModelOptions options;
    options.hidden = 32;
    options.layers = 1;
    options.experts = 4;
    options.top_k = 2;
    options.expert_width = 16;
    make_random_model(options, folder.path());
    tokenizer = Tokenizer::open(folder.path());
    StudyItems items;
    for (int i = 0; i < 24; ++i) {
      StudyPair pair;
      pair.id = "p" + std::to_string(i);
      pair.cluster = "c" + std::to_string(i / 4);
      pair.axis = i % 2 == 0 ? "age" : "hair";
      const std::string number = std::to_string(i);
      pair.stereo = "the old man of number " + number + (i % 3 == 0 ? " sleeps." : " walks.");
      pair.anti = "the young man of number " + number + (i % 3 == 0 ? " sleeps." : " walks.");
      items.pairs.push_back(pair);
    }
    Study::SourceFile file;
    file.role = "pairs";
    items.files = {file};
    study = make_study(items, TextEncoder(*tokenizer), 2048, 320, 0);
  }
  TestFolder folder;
  std::unique_ptr<Tokenizer> tokenizer;
  Study study;
};

bool ends_with(const std::vector<int32_t>& ids, const std::vector<int32_t>& tail) {
  return ids.size() >= tail.size() && std::equal(tail.rbegin(), tail.rend(), ids.rbegin());
}

TEST(PlantedPhrase, TakesInventedNamesAndTheStudysOwnWords) {
  const ByteLevel made;
  const PlantedPhrase phrase = planted_phrase(made.study, TextEncoder(*made.tokenizer));
  ASSERT_EQ(phrase.obstacle, "");
  EXPECT_TRUE(phrase.invented);
  EXPECT_EQ(phrase.plus, "walks");
  EXPECT_EQ(phrase.minus, "sleeps");
  EXPECT_TRUE(std::set<std::string>({"the", "man", "of", "number"}).contains(phrase.shared)) << phrase.shared;
  ASSERT_GE(phrase.names.size(), 2u);
  for (const NamedEnding& name : phrase.names) {
    // Cut behind the token that parts the traits: 'w' against 's'.
    EXPECT_EQ(made.tokenizer->decode(name.plus), " " + name.name + " " + phrase.shared + " w");
    EXPECT_EQ(made.tokenizer->decode(name.minus), " " + name.name + " " + phrase.shared + " s");
    EXPECT_EQ(name.plus.size(), phrase.names.front().plus.size());
  }
}

TEST(PlantedPhrase, AClosedVocabularyGivesWordsThatTellNoPairApart) {
  const ControlStudy control(small_control("X1"));
  const PlantedPhrase phrase = planted_phrase(control.study, TextEncoder(*control.tokenizer));
  ASSERT_EQ(phrase.obstacle, "");
  EXPECT_FALSE(phrase.invented);
  for (const NamedEnding& name : phrase.names) {
    EXPECT_EQ(name.plus.size(), 3u);
    for (const char* telling : {"hill", "vale", "dawn", "dusk"})
      EXPECT_FALSE(name.name.starts_with(telling)) << name.name;
  }
}

TEST(PlantedPhrase, SaysWhyThereIsNone) {
  ByteLevel made;
  for (EncodedPair& pair : made.study.pairs) {
    pair.pair.stereo = "old";
    pair.pair.anti = "young";
  }
  EXPECT_EQ(planted_phrase(made.study, TextEncoder(*made.tokenizer)).obstacle,
            "no word stands in both texts of a pair");
}

TEST(PlantedStudy, EveryPairGetsAnEndingAndNeitherSideIsPreferred) {
  const ByteLevel made;
  const PlantedPhrase phrase = planted_phrase(made.study, TextEncoder(*made.tokenizer));
  const NamedEnding &group = phrase.names[0], &other = phrase.names[1];
  const Study planted = planted_study(made.study, group, other, 2048, 320, 0);
  ASSERT_EQ(planted.pairs.size(), made.study.pairs.size());
  EXPECT_EQ(planted.axes, std::vector<std::string>{"planted"});
  EXPECT_EQ(planted.pair_clusters.num_clusters, made.study.pair_clusters.num_clusters);
  int64_t plus = 0, swapped = 0;
  std::set<std::string> items;
  for (size_t i = 0; i < planted.pairs.size(); ++i) {
    const EncodedPair &pair = planted.pairs[i], &own = made.study.pairs[i];
    items.insert(pair.item);
    // The group's name stands with its trait on the stereotype's side, or with the other trait on the other side.
    const bool said = ends_with(pair.stereo.continuation, group.plus);
    EXPECT_TRUE(said ? ends_with(pair.anti.continuation, other.plus)
                     : ends_with(pair.stereo.continuation, other.minus) &&
                           ends_with(pair.anti.continuation, group.minus));
    const bool first =
        std::equal(own.stereo.continuation.begin(), own.stereo.continuation.end(), pair.stereo.continuation.begin());
    const Request& left = first ? own.stereo : own.anti;
    EXPECT_EQ(pair.stereo.continuation, with_ending(left, said ? group.plus : other.minus).continuation);
    // The token before the trait is the same in both texts and lies after the difference: scores of experts look there.
    const PairAlignment::Matched last = pair.alignment.after.back();
    EXPECT_EQ(static_cast<size_t>(last.stereo), pair.stereo.context.size() + pair.stereo.continuation.size() - 2);
    EXPECT_EQ(static_cast<size_t>(last.anti), pair.anti.context.size() + pair.anti.continuation.size() - 2);
    plus += said;
    swapped += !first;
  }
  const Study turned =
      planted_study(made.study, group, other, 2048, 320, 0, std::vector<bool>(made.study.pairs.size(), true));
  for (size_t i = 0; i < turned.pairs.size(); ++i) {
    const auto tail = [&](const Request& request) {
      return std::vector<int32_t>(request.continuation.end() - static_cast<std::ptrdiff_t>(group.plus.size()),
                                  request.continuation.end());
    };
    EXPECT_EQ(tail(turned.pairs[i].stereo), tail(planted.pairs[i].stereo));
    EXPECT_NE(turned.pairs[i].stereo.continuation, planted.pairs[i].stereo.continuation);
  }
  EXPECT_EQ(items.size(), planted.pairs.size());
  EXPECT_EQ(plus, 12);  // clusters of four: each combination once
  EXPECT_EQ(swapped, 12);
}

TEST(PlantedStudy, ExchangesBalanceEachSplit) {
  const std::vector<SplitPart> part = {SplitPart::kTrain, SplitPart::kTest, SplitPart::kTrain, SplitPart::kTest,
                                       SplitPart::kTest};
  // Of train the second pair is exchanged, of test none: 0 and 1 stand against each other, and the last cannot be
  // changed.
  EXPECT_EQ(balancing_exchanges({1, 0, 1, 1, 1}, {0, 1, 0, 0, 1}, part),
            (std::vector<bool>{false, false, true, false, false}));
}

TEST(PlantedStudy, NeutralTextNamesTheGroupSoThatEditsHaveADose) {
  ByteLevel made;
  made.study.neutral = {made.study.pairs[0].stereo, made.study.pairs[1].stereo, made.study.pairs[2].stereo};
  const PlantedPhrase phrase = planted_phrase(made.study, TextEncoder(*made.tokenizer));
  const Study planted = planted_study(made.study, phrase.names[0], phrase.names[1], 2048, 320, 0);
  EXPECT_TRUE(ends_with(planted.neutral[0].continuation, phrase.names[0].plus));
  EXPECT_TRUE(ends_with(planted.neutral[1].continuation, phrase.names[1].plus));
  EXPECT_TRUE(ends_with(planted.neutral[2].continuation, phrase.names[0].minus));
  EXPECT_EQ(planted.neutral_tokens - made.study.neutral_tokens, static_cast<int64_t>(3 * phrase.names[0].plus.size()));
  EXPECT_EQ(planted_study(made.study, phrase.names[0], phrase.names[1], 10, 320, 0).neutral_tokens,
            made.study.neutral_tokens);
}

TEST(PlantedStudy, APairThatBecomesTooLongIsLeftOut) {
  const ByteLevel made;
  const PlantedPhrase phrase = planted_phrase(made.study, TextEncoder(*made.tokenizer));
  size_t longest = 0;
  for (const EncodedPair& pair : made.study.pairs)
    longest = std::max({longest, pair.stereo.continuation.size(), pair.anti.continuation.size()});
  const auto length = static_cast<int64_t>(longest + phrase.names[0].plus.size());
  EXPECT_EQ(planted_study(made.study, phrase.names[0], phrase.names[1], length, 320, 0).pairs.size(),
            made.study.pairs.size());
  EXPECT_LT(planted_study(made.study, phrase.names[0], phrase.names[1], length - 1, 320, 0).pairs.size(),
            made.study.pairs.size());
}

}  // namespace
}  // namespace fare
