#include "fare/diagnosis/study.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "fare/core/file.h"
#include "fare/diagnosis/control_study_test.h"

namespace fare {
namespace {

Request request_of(std::vector<int32_t> context, std::vector<int32_t> continuation) {
  Request request;
  request.context = std::move(context);
  request.continuation = std::move(continuation);
  return request;
}

std::string text_of(const std::vector<PairAlignment::Matched>& list) {
  std::string text;
  for (const auto& m : list) text += fmt::format("{}-{} ", m.stereo, m.anti);
  return text;
}

TEST(Alignment, OneWordChanged) {
  const PairAlignment a = align_pair(request_of({0}, {5, 7, 8, 9}), request_of({0}, {5, 6, 8, 9}));
  EXPECT_EQ(text_of(a.before), "0-0 1-1 ");
  EXPECT_EQ(text_of(a.after), "3-3 ");  // the last token is never fed
  EXPECT_EQ(a.differs_stereo, std::vector<int32_t>{2});
  EXPECT_EQ(a.differs_anti, std::vector<int32_t>{2});
}

TEST(Alignment, AWordOfMoreTokensShiftsWhatFollows) {
  const PairAlignment a = align_pair(request_of({0, 1}, {20, 8, 9, 2}), request_of({0, 1}, {21, 22, 23, 8, 9, 2}));
  EXPECT_EQ(text_of(a.before), "0-0 1-1 ");
  EXPECT_EQ(text_of(a.after), "3-5 4-6 ");
  EXPECT_EQ(a.differs_stereo, std::vector<int32_t>{2});
  EXPECT_EQ(a.differs_anti, (std::vector<int32_t>{2, 3, 4}));
}

TEST(Alignment, TwoChangesAndAnInsertedWord) {
  const PairAlignment a = align_pair(request_of({0}, {1, 30, 2, 31, 3, 9}), request_of({0}, {1, 40, 2, 3, 4, 9}));
  EXPECT_EQ(text_of(a.before), "0-0 1-1 ");
  EXPECT_EQ(text_of(a.after), "3-3 5-4 ");
  EXPECT_EQ(a.differs_stereo, (std::vector<int32_t>{2, 4}));
  EXPECT_EQ(a.differs_anti, (std::vector<int32_t>{2, 5}));
}

TEST(Alignment, AChangeOfTheLastTokenLeavesNothingAfterIt) {
  const PairAlignment a = align_pair(request_of({0}, {1, 2, 3}), request_of({0}, {1, 2, 4}));
  EXPECT_EQ(text_of(a.before), "0-0 1-1 2-2 ");
  EXPECT_TRUE(a.after.empty());
  EXPECT_TRUE(a.differs_stereo.empty());
}

TEST(Alignment, ATextTooLongForTheModelIsAlignedOnWhatIsFed) {
  const ControlStudy control(small_control("X1"));
  StudyItems items;
  items.pairs = {control.study.pairs.front().pair};
  for (int i = 0; i < 30; ++i) items.pairs[0].context += i == 0 ? "the" : " the";
  items.pairs[0].stereo.insert(0, 1, ' ');
  items.pairs[0].anti.insert(0, 1, ' ');
  items.utility = {control.study.utility.front().item};
  const Study study =
      make_study(std::move(items), TextEncoder(*control.tokenizer), 12, control.model->spec().vocab_size, 0);
  const PairAlignment& a = study.pairs.front().alignment;
  ASSERT_FALSE(a.after.empty());
  for (const auto* list : {&a.before, &a.after})
    for (const auto& m : *list) EXPECT_LT(std::max(m.stereo, m.anti), 12);
}

TEST(MakeStudy, CountsItemsByTheFileTheyCameFrom) {
  const ControlStudy control(small_control("X1"));
  StudyItems items;
  for (size_t i = 0; i < 12; ++i) {
    UtilityItem item = control.study.utility[i % 4].item;
    item.task = i < 2 ? "first" : "subject " + std::to_string(i);
    item.cluster = i < 2 ? "first/" + std::to_string(i) : item.task;
    item.id = item.task + "/" + std::to_string(i);
    items.utility.push_back(item);
  }
  for (size_t i = 0; i < 3; ++i) {
    items.pairs.push_back(control.study.pairs[i].pair);
    items.pairs.back().id = (i == 0 ? "p/" : "q/") + std::to_string(i);
  }
  const auto file = [&](const char* role, const std::string& name) {
    Study::SourceFile one;
    one.role = role;
    one.name = name;
    items.files.push_back(one);
  };
  file("pairs", "p"), file("pairs", "q"), file("utility", "first");
  for (size_t i = 2; i < 12; ++i) file("utility", "subject " + std::to_string(i));
  const Study study =
      make_study(std::move(items), TextEncoder(*control.tokenizer), 512, control.model->spec().vocab_size, 0);
  EXPECT_EQ(study.files[0].used, 1);
  EXPECT_EQ(study.files[1].used, 2);
  EXPECT_EQ(study.files[2].used, 2);
  for (size_t f = 3; f < 13; ++f) EXPECT_EQ(study.files[f].used, 1) << study.files[f].name;
  ASSERT_EQ(study.files.size(), 14u);  // and one row of neutral text
  EXPECT_TRUE(study.files[13].name.starts_with("first, subject 2, ")) << study.files[13].name;
  // Ten tasks of one cluster each are spread over the parts together.
  EXPECT_EQ(study.utility_clusters.num_clusters, 12);
  EXPECT_EQ(study.utility_in(SplitPart::kTest).size(), 6u);
  EXPECT_EQ(study.utility_in(SplitPart::kValidation).size(), 2u);
}

}  // namespace
}  // namespace fare
