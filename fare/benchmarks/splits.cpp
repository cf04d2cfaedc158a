#include "fare/benchmarks/splits.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "fare/core/philox.h"

namespace fare {
namespace {

constexpr int kNumBuckets = 10;
constexpr int kFirstValidation = 2;
constexpr int kFirstTest = 4;

SplitPart part_of(int bucket) {
  if (bucket < kFirstValidation) return SplitPart::kTrain;
  return bucket < kFirstTest ? SplitPart::kValidation : SplitPart::kTest;
}

}  // namespace

std::string_view name_of(SplitPart part) {
  switch (part) {
    case SplitPart::kTrain: return "train";
    case SplitPart::kValidation: return "validation";
    case SplitPart::kTest: return "test";
  }
  return "";
}

Splits make_splits(std::span<const SplitItem> items, uint64_t seed) {
  std::map<std::string, std::map<std::string, int64_t>> axes_of;  // cluster -> axis -> items
  for (const auto& item : items) ++axes_of[item.cluster][item.axis];

  std::map<std::string, std::vector<std::pair<uint64_t, std::string>>> clusters_of;  // axis -> (key, cluster)
  for (const auto& [cluster, axes] : axes_of) {
    // max_element keeps the first of equals, and a map is in alphabetical order.
    const auto most =
        std::max_element(axes.begin(), axes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    clusters_of[most->first].emplace_back(RandomStream(seed, "split/" + cluster).u64(0), cluster);
  }

  Splits splits;
  std::map<std::string, int> bucket_of;
  for (auto& [axis, clusters] : clusters_of) {
    std::sort(clusters.begin(), clusters.end());
    for (size_t rank = 0; rank < clusters.size(); ++rank) {
      const int bucket = static_cast<int>(rank % kNumBuckets);
      bucket_of[clusters[rank].second] = bucket;
      ++splits.num_clusters[static_cast<size_t>(part_of(bucket))];
    }
  }
  for (const auto& item : items) {
    const int bucket = bucket_of.at(item.cluster);
    splits.bucket.push_back(bucket);
    splits.part.push_back(part_of(bucket));
    ++splits.num_items[static_cast<size_t>(part_of(bucket))];
  }
  return splits;
}

}  // namespace fare
