// Train, validation and test parts: whole clusters, balanced within each axis, the same for everybody with the same
// seed.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fare {

enum class SplitPart { kTrain, kValidation, kTest };
std::string_view name_of(SplitPart part);  // "train", "validation", "test"

struct SplitItem {
  std::string cluster;
  std::string axis;
};

struct Splits {
  std::vector<SplitPart> part;            // per item
  std::vector<int> bucket;                // per item, 0 to 9: rank of its cluster within its axis, modulo 10
  std::array<int64_t, 3> num_items{};     // per part
  std::array<int64_t, 3> num_clusters{};  // per part
};

// A cluster's axis is the most frequent one of its items (the alphabetically first on ties). Within an axis clusters
// are ordered by (first 64 bits of Philox(seed, "split/" + cluster), cluster); bucket = rank mod 10: 0-1 train, 2-3
// validation, 4-9 test.
Splits make_splits(std::span<const SplitItem> items, uint64_t seed);

}  // namespace fare
