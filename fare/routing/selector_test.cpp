#include "fare/routing/selector.h"

#include <gtest/gtest.h>

namespace fare {
namespace {

using Scope = std::vector<uint8_t>;
using Spans = std::map<std::string, std::vector<std::pair<int64_t, int64_t>>>;

// Six fed tokens, of which the first two are context; two tokens were cut off in front.
class SelectorTest : public ::testing::Test {
 protected:
  SelectorTest() { view_ = RequestView{&id_, ids_, 2, 2, &spans_}; }

  std::string id_ = "r1";
  std::vector<int32_t> ids_ = {10, 11, 12, 10, 14, 15};
  Spans spans_ = {{"group", {{3, 4}, {5, 9}}}, {"trait", {{2, 3}}}};
  RequestView view_;
};

TEST_F(SelectorTest, TakesEveryRowByDefault) {
  EXPECT_TRUE(Selector().everywhere());
  EXPECT_FALSE(Selector().depends_on_request());
  EXPECT_EQ(resolve(Selector(), view_), Scope(6, 1));
}

TEST_F(SelectorTest, ByPhase) {
  Selector selector;
  selector.phase = Selector::Phase::kPrompt;
  EXPECT_EQ(resolve(selector, view_), (Scope{1, 1, 0, 0, 0, 0}));
  selector.phase = Selector::Phase::kGenerated;
  EXPECT_EQ(resolve(selector, view_), (Scope{0, 0, 1, 1, 1, 1}));
  EXPECT_TRUE(selector.depends_on_request());
  EXPECT_FALSE(selector.everywhere());
}

TEST_F(SelectorTest, BySpans) {
  Selector selector;
  selector.spans = {"group"};
  EXPECT_EQ(resolve(selector, view_), (Scope{0, 0, 0, 1, 0, 1}));
  selector.spans = {"group", "trait", "no such span"};
  EXPECT_EQ(resolve(selector, view_), (Scope{0, 0, 1, 1, 0, 1}));
  selector.spans = {"no such span"};
  EXPECT_EQ(resolve(selector, view_), Scope(6, 0));
  view_.spans = nullptr;
  EXPECT_EQ(resolve(selector, view_), Scope(6, 0));
}

TEST_F(SelectorTest, ByTokenId) {
  Selector selector;
  selector.token_ids = {15, 10};
  EXPECT_EQ(resolve(selector, view_), (Scope{1, 0, 0, 1, 0, 1}));
  EXPECT_FALSE(selector.depends_on_request());
}

TEST_F(SelectorTest, ByPositionBeforeTruncation) {
  Selector selector;
  selector.positions = {{0, 3}, {6, 7}};
  EXPECT_EQ(resolve(selector, view_), (Scope{1, 0, 0, 0, 1, 0}));
  selector.positions = {{0, 2}, {8, 100}};
  EXPECT_EQ(resolve(selector, view_), Scope(6, 0));
  EXPECT_TRUE(selector.depends_on_request());
}

TEST_F(SelectorTest, ByRequest) {
  Selector selector;
  selector.requests = {"r0", "r1"};
  EXPECT_EQ(resolve(selector, view_), Scope(6, 1));
  selector.requests = {"r2"};
  EXPECT_EQ(resolve(selector, view_), Scope(6, 0));
}

TEST_F(SelectorTest, AllPartsMustHold) {
  Selector selector;
  selector.phase = Selector::Phase::kGenerated;
  selector.spans = {"group"};
  selector.token_ids = {10};
  selector.requests = {"r1"};
  selector.positions = {{0, 6}};
  EXPECT_EQ(resolve(selector, view_), (Scope{0, 0, 0, 1, 0, 0}));
}

}  // namespace
}  // namespace fare
