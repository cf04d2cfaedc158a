#include "fare/benchmarks/splits.h"

#include <algorithm>
#include <map>

#include "fare/benchmarks/crows_pairs.h"
#include "fare/benchmarks/test_support.h"
#include "fare/core/philox.h"

namespace fare {
namespace {

std::vector<SplitItem> items_of(int num_clusters, const std::string& axis) {
  std::vector<SplitItem> items;
  for (int c = 0; c < num_clusters; ++c)
    for (int i = 0; i <= c % 3; ++i) items.push_back({axis + std::to_string(c), axis});
  return items;
}

TEST(Splits, KeepClustersWholeAndSharesExactPerAxis) {
  auto items = items_of(20, "age");
  const auto more = items_of(30, "gender");
  items.insert(items.end(), more.begin(), more.end());
  const Splits splits = make_splits(items, 0);
  EXPECT_EQ(splits.num_clusters, (std::array<int64_t, 3>{10, 10, 30}));
  std::map<std::string, SplitPart> part_of;
  for (size_t i = 0; i < items.size(); ++i)
    EXPECT_EQ(part_of.emplace(items[i].cluster, splits.part[i]).first->second, splits.part[i]);
  EXPECT_EQ(splits.num_items[0] + splits.num_items[1] + splits.num_items[2], static_cast<int64_t>(items.size()));
}

TEST(Splits, OrderIsThatOfTheNamedStream) {
  const std::vector<SplitItem> items{{"c1", "x"}, {"c2", "x"}, {"c3", "x"}};
  std::vector<std::pair<uint64_t, std::string>> keys;
  for (const auto& item : items) keys.emplace_back(RandomStream(3, "split/" + item.cluster).u64(0), item.cluster);
  std::sort(keys.begin(), keys.end());
  const Splits splits = make_splits(items, 3);
  for (size_t i = 0; i < items.size(); ++i)
    EXPECT_EQ(keys[static_cast<size_t>(splits.bucket[i])].second, items[i].cluster);
}

TEST(Splits, DependOnTheSeedAndNotOnTheOrderOfItems) {
  auto items = items_of(40, "age");
  const Splits first = make_splits(items, 0);
  EXPECT_NE(first.bucket, make_splits(items, 1).bucket);
  std::map<std::string, int> bucket_of;
  for (size_t i = 0; i < items.size(); ++i) bucket_of[items[i].cluster] = first.bucket[i];
  std::reverse(items.begin(), items.end());
  const Splits again = make_splits(items, 0);
  for (size_t i = 0; i < items.size(); ++i) EXPECT_EQ(again.bucket[i], bucket_of[items[i].cluster]);
}

TEST(Splits, AClusterOfSeveralAxesGoesByItsMostFrequentOne) {
  // w has two items of b and one of a: were it counted under a, it would share the ranks of a1.
  const std::vector<SplitItem> items{{"w", "b"}, {"w", "a"}, {"w", "b"}, {"a1", "a"}};
  const Splits splits = make_splits(items, 0);
  EXPECT_EQ(splits.bucket, (std::vector<int>{0, 0, 0, 0}));
  EXPECT_EQ(make_splits({}, 0).part.size(), 0u);
}

TEST(Splits, OfTheOriginalCrowsPairs) {
  FARE_NEED_DATA("crows-pairs/crows_pairs_anonymized.csv");
  std::vector<SplitItem> items;
  for (const auto& document : fare_crows_pairs().load({testing::data_folder(), false}).documents)
    items.push_back({document.cluster, document.axis});
  const Splits splits = make_splits(items, 0);
  EXPECT_EQ(splits.num_clusters[0] + splits.num_clusters[1] + splits.num_clusters[2], 77);
  for (const int64_t count : splits.num_items) EXPECT_GT(count, 0);
}

}  // namespace
}  // namespace fare
