#include "fare/diagnosis/null_pairs.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "fare/diagnosis/control_study_test.h"
#include "fare/diagnosis/margin_spread.h"
#include "fare/diagnosis/sensitivity.h"
#include "fare/lab/random_model.h"

namespace fare {
namespace {

TEST(ChangedWord, IsTheOneWordThatDiffers) {
  const auto word = changed_word("The old man's hat, red.", "The old woman's hat, red.");
  ASSERT_TRUE(word);
  EXPECT_EQ(word->a, "man's");
  EXPECT_EQ(word->b, "woman's");
  EXPECT_EQ(word->left, "old");
  EXPECT_EQ(changed_word("Men cook", "Women cook")->left, "");
  EXPECT_FALSE(changed_word("he lost his hat", "she lost her hat"));  // two words
  EXPECT_FALSE(changed_word("a man", "a man"));                       // none
  EXPECT_FALSE(changed_word("a man, red", "a woman red"));            // the marks differ as well
  EXPECT_FALSE(changed_word("a man", "a young man"));
}

// A control study without its nulls: words of the texts stand in.
struct Bare : testing::Test {
  Bare() : control(small_control("X1")) {
    control.study.nulls.clear();
    control.study.null_of.clear();
    train = control.study.pairs_in(SplitPart::kTrain);
  }
  void build(const WordLists& lists = {}) {
    add_null_pairs(control.study, TextEncoder(*control.tokenizer), *control.model, control.model->spec().max_positions,
                   train, lists, 0);
  }
  // The words of each group that the pairs of train name.
  WordLists group_words() const {
    WordLists lists;
    for (const int64_t i : train) {
      const EncodedPair& pair = control.study.pairs[static_cast<size_t>(i)];
      const auto word = changed_word(pair.pair.stereo, pair.pair.anti);
      for (const std::string& one : {word->a, word->b}) {
        std::vector<std::string>& list = lists[one.substr(0, 4)];  // hill, vale, dawn, dusk
        if (std::find(list.begin(), list.end(), one) == list.end()) list.push_back(one);
      }
    }
    return lists;
  }
  ControlStudy control;
  std::vector<int64_t> train;
};

TEST_F(Bare, EveryPairIsBuiltForOrCountedWithAReason) {
  build();
  for (const char* name : {"N1", "N2"}) {
    ASSERT_TRUE(control.study.built_nulls.contains(name));
    const auto& built = control.study.built_nulls.at(name);
    std::set<int64_t> with;
    for (size_t i = 0; i < control.study.nulls.size(); ++i)
      if ((control.study.nulls[i].pair.kind == PairKind::kNullNeutral) == (std::string(name) == "N1"))
        with.insert(control.study.null_of[i]);
    int64_t without = 0;
    for (const auto& [reason, count] : built.without) without += count;
    EXPECT_EQ(without + static_cast<int64_t>(with.size()), static_cast<int64_t>(train.size())) << name;
  }
  EXPECT_EQ(control.study.built_nulls.at("N2").without.at("no word list was at hand"),
            static_cast<int64_t>(train.size()));
}

// A store takes one value for a row: pairs that were built have keys of their own.
TEST_F(Bare, BuiltPairsAreMeasuredAndKept) {
  build(group_words());
  ASSERT_GT(control.study.nulls.size(), 1u);
  for (const EncodedPair& null : control.study.nulls) EXPECT_EQ(null.item, item_hash({&null.stereo, &null.anti}));
  Store store(control.folder.path() / "rows.sqlite");
  const Progress quiet;
  Measurer measurer(*control.scorer, control.study, &store, quiet);
  const auto spreads = measure_margin_spread(measurer);
  EXPECT_EQ(spreads[0].margins.size(), train.size());
  EXPECT_EQ(spreads[2].margins.size(), control.study.nulls.size());
}

TEST_F(Bare, ListsGiveWordsOfTheSameGroup) {
  const WordLists lists = group_words();
  build(lists);
  EXPECT_EQ(control.study.built_nulls.at("N2").built, static_cast<int64_t>(2 * train.size()));
  for (const EncodedPair& null : control.study.nulls) {
    if (null.pair.kind != PairKind::kNullSameGroup) continue;
    const auto word = changed_word(null.pair.stereo, null.pair.anti);
    ASSERT_TRUE(word);
    EXPECT_EQ(word->a.substr(0, 4), word->b.substr(0, 4)) << null.pair.stereo << " / " << null.pair.anti;
    EXPECT_FALSE(null.alignment.after.empty());
  }
  // The same twice.
  const size_t count = control.study.nulls.size();
  const std::string first = control.study.nulls.front().pair.anti;
  control.study.nulls.clear();
  control.study.null_of.clear();
  build(lists);
  EXPECT_EQ(control.study.nulls.size(), count);
  EXPECT_EQ(control.study.nulls.front().pair.anti, first);
}

TEST_F(Bare, WhatWasGivenIsNotBuilt) {
  ControlStudy given(small_control("X1"));
  const size_t before = given.study.nulls.size();
  add_null_pairs(given.study, TextEncoder(*given.tokenizer), *given.model, given.model->spec().max_positions, train, {},
                 0);
  EXPECT_EQ(given.study.nulls.size(), before);
  EXPECT_FALSE(given.study.built_nulls.contains("N1") || given.study.built_nulls.contains("N2"));
  // The control language has no two ways to say the same.
  EXPECT_EQ(given.study.built_nulls.at("N3").without.at("no phrase of both texts has an equivalent"),
            static_cast<int64_t>(train.size()));
}

// English over the byte tokens of a random model.
TEST(Paraphrased, TextsKeepTheirGroup) {
  TestFolder folder("null-paraphrase");
  RandomModelOptions small;
  small.hidden = small.expert_width = 16;
  small.layers = 1;
  make_random_model(small, folder.path());
  const auto model = Model::open(folder.path(), Execution{});
  const auto tokenizer = Tokenizer::open(folder.path());
  StudyItems items;
  const auto pair = [&](const std::string& id, const std::string& stereo, const std::string& anti) {
    StudyPair one;
    one.id = one.cluster = id;
    one.axis = "age";
    one.stereo = stereo;
    one.anti = anti;
    items.pairs.push_back(one);
  };
  pair("both", "The old man didn't run.", "The young man didn't run.");
  pair("two", "Old people often nap because they are tired.", "Young people often nap because they are tired.");
  pair("none", "The old man ran.", "The young man ran.");
  pair("one side", "The old man ran because he could.",
       "The young man ran when he could.");                                            // the phrase is the change
  pair("last", "The old man left for someone I", "The young man left for someone I");  // the space before "I" is fed
  Study study = make_study(std::move(items), TextEncoder(*tokenizer), 512, model->spec().vocab_size, 0);
  add_null_pairs(study, TextEncoder(*tokenizer), *model, 512, {0, 1, 2, 3, 4}, {}, 0);
  std::map<std::string, std::vector<std::string>> said;  // id of the pair -> "text | paraphrase"
  for (const EncodedPair& null : study.nulls) {
    if (null.pair.kind != PairKind::kNullParaphrase) continue;
    said[null.pair.null_of.value()].push_back(null.pair.stereo + " | " + null.pair.anti);
    EXPECT_FALSE(null.alignment.after.empty());
  }
  using Texts = std::vector<std::string>;
  EXPECT_EQ(said["both"], (Texts{"The old man didn't run. | The old man did not run.",
                                 "The young man didn't run. | The young man did not run."}));
  ASSERT_EQ(said["two"].size(), 2u);
  const std::set<std::string> allowed = {"Old people frequently nap because they are tired.",
                                         "Old people often nap since they are tired."};
  EXPECT_TRUE(allowed.contains(said["two"][0].substr(said["two"][0].find(" | ") + 3))) << said["two"][0];
  EXPECT_FALSE(said.contains("none"));
  EXPECT_FALSE(said.contains("one side"));
  const auto& built = study.built_nulls.at("N3");
  EXPECT_EQ(built.built, 6);
  EXPECT_EQ(built.without.at("no phrase of both texts has an equivalent"), 2);
}

// Made-up English over the byte tokens of a random model is too large for here: the matching is tried on a vocabulary
// of the control language, whose slot words follow "the" as the groups do.
TEST_F(Bare, NeutralWordsFitThePlace) {
  StudyItems items;
  for (const int64_t i : train) items.pairs.push_back(control.study.pairs[static_cast<size_t>(i)].pair);
  const std::vector<StudyPair> demographic = items.pairs;
  items.utility.push_back(control.study.utility.front().item);
  // Sentences whose subject is a slot word; each of the eight then stands about as often as each of the sixteen groups.
  for (size_t i = 0; i < demographic.size(); i += 2) {
    StudyPair slot = demographic[i];
    slot.id += "/slot";
    const auto word = changed_word(slot.stereo, slot.anti);
    slot.stereo.replace(word->begin_a, word->a.size(), fmt::format("stone{}", i / 2 % 8));
    slot.anti = slot.stereo;
    items.pairs.push_back(slot);
  }
  Study study = make_study(std::move(items), TextEncoder(*control.tokenizer), control.model->spec().max_positions,
                           control.model->spec().vocab_size, 0);
  std::vector<int64_t> all;
  for (size_t i = 0; i < demographic.size(); ++i) all.push_back(static_cast<int64_t>(i));
  add_null_pairs(study, TextEncoder(*control.tokenizer), *control.model, control.model->spec().max_positions, all, {},
                 0);
  const auto& built = study.built_nulls.at("N1");
  EXPECT_GT(built.built, 0);
  for (size_t i = 0; i < study.nulls.size(); ++i) {
    const EncodedPair& null = study.nulls[i];
    ASSERT_EQ(null.pair.kind, PairKind::kNullNeutral);
    const auto word = changed_word(null.pair.stereo, null.pair.anti);
    ASSERT_TRUE(word);
    EXPECT_TRUE(word->a.starts_with("stone") && word->b.starts_with("stone"))
        << null.pair.stereo << " / " << null.pair.anti;
    EXPECT_NE(word->a, word->b);
    // Distances are within a tenth.
    const auto distance = [&](const EncodedPair& pair) {
      const std::vector<int32_t> a = {fed_part(pair.stereo, 64, control.model->spec().vocab_size)
                                          .ids[static_cast<size_t>(pair.alignment.differs_stereo[0])]};
      const std::vector<int32_t> b = {fed_part(pair.anti, 64, control.model->spec().vocab_size)
                                          .ids[static_cast<size_t>(pair.alignment.differs_anti[0])]};
      return (control.model->embed(a) - control.model->embed(b)).norm().item<double>();
    };
    const double wanted = distance(study.pairs[static_cast<size_t>(study.null_of[i])]);
    EXPECT_NEAR(distance(null) / wanted, 1, 0.1 + 1e-6);
  }
}

// Bad input: what a pair can be, and what is said of it.
TEST_F(Bare, PairsWithoutATokenAfterTheChangeOrWithoutAChange) {
  StudyItems items;
  StudyPair pair = control.study.pairs.front().pair;
  const auto word = changed_word(pair.stereo, pair.anti);
  StudyPair equal = pair, first = pair, last = pair;
  equal.id = "equal";
  equal.cluster = "equal";
  equal.anti = equal.stereo;
  first.id = "first token";
  first.cluster = "first";
  first.axis = "alone";  // an axis with one item
  first.stereo = pair.stereo.substr(word->begin_a);
  first.anti = pair.anti.substr(word->begin_b);
  last.id = "last";
  last.cluster = "last";
  last.stereo = pair.stereo.substr(0, word->begin_a + word->a.size());
  last.anti = pair.anti.substr(0, word->begin_b + word->b.size());
  items.pairs = {pair, equal, first, last};
  items.utility = {control.study.utility.front().item};
  const Study study = make_study(std::move(items), TextEncoder(*control.tokenizer), control.model->spec().max_positions,
                                 control.model->spec().vocab_size, 0);
  EXPECT_TRUE(study.pairs[1].alignment.after.empty());  // equal sentences: all tokens stand before a change
  EXPECT_TRUE(study.pairs[1].alignment.differs_stereo.empty());
  EXPECT_EQ(study.pairs[2].alignment.before.size(), 1u);  // the prefix token alone
  EXPECT_FALSE(study.pairs[2].alignment.after.empty());
  EXPECT_TRUE(study.pairs[3].alignment.after.empty());  // the change is never fed
  const Scorer scorer(*control.model, ScorerOptions{});
  Measurer measurer(scorer, study, nullptr, control.progress);
  DiagnosisOptions options;
  options.permutations = options.bootstrap_replicates = 100;
  const Sensitivity found = measure_sensitivity(measurer, options, std::vector<int64_t>{0, 1, 2, 3}, "all");
  EXPECT_EQ(found.answer.answer, Answer::kNotRun);  // no null to compare with
  EXPECT_FALSE(found.answer.reason.empty());
  for (const StatisticsRow& row : found.statistics) {
    if (row.span == "P" && row.axis == "all") {
      EXPECT_EQ(row.n, 2);
    }
  }
  for (const AdjustedEffect& effect : found.adjusted) EXPECT_FALSE(effect.demographic);
}

}  // namespace
}  // namespace fare
