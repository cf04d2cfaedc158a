#include "fare/diagnosis/baselines.h"

#include <gtest/gtest.h>

namespace fare {
namespace {

Request request(std::vector<int32_t> context, std::vector<int32_t> continuation) {
  Request made;
  made.context = std::move(context);
  made.continuation = std::move(continuation);
  return made;
}

TEST(Baselines, APrefixStandsAfterThePrefixTokenAndChangesTheRowKeys) {
  Study study;
  study.prefix_token = 1;
  EncodedPair pair;
  pair.stereo = request({1}, {5, 6});
  pair.anti = request({1}, {5, 7});
  pair.item = item_hash({&pair.stereo, &pair.anti});
  study.pairs.push_back(pair);
  EncodedUtility item;
  item.choices = {request({8, 1, 9}, {5}), request({8, 1, 9}, {6})};  // no prefix token in front: the text comes first
  study.utility.push_back(item);
  study.neutral.push_back(request({1}, {4}));

  const Study changed = with_prefix(study, {20, 21});
  EXPECT_EQ(changed.pairs[0].stereo.context, (std::vector<int32_t>{1, 20, 21}));
  EXPECT_EQ(changed.pairs[0].anti.context, (std::vector<int32_t>{1, 20, 21}));
  EXPECT_EQ(changed.pairs[0].stereo.continuation, pair.stereo.continuation);
  EXPECT_EQ(changed.utility[0].choices[1].context, (std::vector<int32_t>{20, 21, 8, 1, 9}));
  EXPECT_EQ(changed.neutral[0].context, (std::vector<int32_t>{1, 20, 21}));
  EXPECT_NE(changed.pairs[0].item, study.pairs[0].item) << "rows of the plain study must not be taken for these";
  EXPECT_NE(changed.utility[0].key, study.utility[0].key);
  EXPECT_NE(with_prefix(study, {22}).pairs[0].item, changed.pairs[0].item);
}

}  // namespace
}  // namespace fare
