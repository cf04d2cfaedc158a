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
  const Study study = make_study(std::move(items), TextEncoder(*control.tokenizer), 12, control.model->spec().vocab_size, 0);
  const PairAlignment& a = study.pairs.front().alignment;
  ASSERT_FALSE(a.after.empty());
  for (const auto* list : {&a.before, &a.after})
    for (const auto& m : *list) EXPECT_LT(std::max(m.stereo, m.anti), 12);
}

}  // namespace
}  // namespace fare
