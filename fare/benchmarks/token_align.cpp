#include "fare/benchmarks/token_align.h"

#include <algorithm>
#include <map>
#include <unordered_map>

namespace fare {
namespace {

constexpr size_t kPopularFrom = 200;

class BlockFinder {
 public:
  BlockFinder(std::span<const int32_t> a, std::span<const int32_t> b) : a_(a), b_(b) {
    for (size_t j = 0; j < b.size(); ++j) places_[b[j]].push_back(j);
    if (b.size() >= kPopularFrom)
      std::erase_if(places_, [&](const auto& entry) { return entry.second.size() > b.size() / 100 + 1; });
  }

  void find(size_t a_begin, size_t a_end, size_t b_begin, size_t b_end, std::vector<EqualBlock>& out) const {
    const EqualBlock best = longest(a_begin, a_end, b_begin, b_end);
    if (best.length == 0) return;
    find(a_begin, best.a_begin, b_begin, best.b_begin, out);
    out.push_back(best);
    find(best.a_begin + best.length, a_end, best.b_begin + best.length, b_end, out);
  }

 private:
  EqualBlock longest(size_t a_begin, size_t a_end, size_t b_begin, size_t b_end) const {
    EqualBlock best{a_begin, b_begin, 0};
    // ends[j]: length of the run that ends at the current element of a and at b[j].
    std::unordered_map<size_t, size_t> ends;
    for (size_t i = a_begin; i < a_end; ++i) {
      std::unordered_map<size_t, size_t> next;
      const auto found = places_.find(a_[i]);
      if (found != places_.end()) {
        for (const size_t j : found->second) {
          if (j < b_begin) continue;
          if (j >= b_end) break;
          const auto before = j == 0 ? ends.end() : ends.find(j - 1);
          const size_t length = before == ends.end() ? 1 : before->second + 1;
          next[j] = length;
          if (length > best.length) best = {i + 1 - length, j + 1 - length, length};
        }
      }
      ends = std::move(next);
    }
    // Popular elements start no run but extend one.
    while (best.a_begin > a_begin && best.b_begin > b_begin && a_[best.a_begin - 1] == b_[best.b_begin - 1])
      --best.a_begin, --best.b_begin, ++best.length;
    while (best.a_begin + best.length < a_end && best.b_begin + best.length < b_end &&
           a_[best.a_begin + best.length] == b_[best.b_begin + best.length])
      ++best.length;
    return best;
  }

  std::span<const int32_t> a_;
  std::span<const int32_t> b_;
  std::map<int32_t, std::vector<size_t>> places_;
};

}  // namespace

std::vector<EqualBlock> equal_blocks(std::span<const int32_t> a, std::span<const int32_t> b) {
  std::vector<EqualBlock> found;
  BlockFinder(a, b).find(0, a.size(), 0, b.size(), found);
  std::vector<EqualBlock> joined;
  for (const auto& block : found) {
    if (!joined.empty() && joined.back().a_begin + joined.back().length == block.a_begin &&
        joined.back().b_begin + joined.back().length == block.b_begin)
      joined.back().length += block.length;
    else joined.push_back(block);
  }
  return joined;
}

std::vector<EqualBlock> equal_blocks(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::map<std::string, int32_t> numbers;
  const auto number_all = [&](const std::vector<std::string>& words) {
    std::vector<int32_t> ids;
    for (const auto& word : words)
      ids.push_back(numbers.emplace(word, static_cast<int32_t>(numbers.size())).first->second);
    return ids;
  };
  const auto ids_a = number_all(a);
  const auto ids_b = number_all(b);
  return equal_blocks(ids_a, ids_b);
}

Alignment block_positions(const std::vector<EqualBlock>& blocks) {
  Alignment positions;
  for (const auto& block : blocks) {
    for (size_t i = 0; i < block.length; ++i) {
      positions.a.push_back(block.a_begin + i);
      positions.b.push_back(block.b_begin + i);
    }
  }
  return positions;
}

std::vector<DifferingSpan> differing_spans(const std::vector<EqualBlock>& blocks, size_t size_a, size_t size_b) {
  std::vector<DifferingSpan> spans;
  size_t a = 0;
  size_t b = 0;
  const auto gap_until = [&](size_t a_end, size_t b_end) {
    if (a < a_end || b < b_end) spans.push_back({a, a_end, b, b_end});
  };
  for (const auto& block : blocks) {
    gap_until(block.a_begin, block.b_begin);
    a = block.a_begin + block.length;
    b = block.b_begin + block.length;
  }
  gap_until(size_a, size_b);
  return spans;
}

Alignment longest_common_subsequence(std::span<const int32_t> a, std::span<const int32_t> b) {
  // best[i][j]: length of the longest common subsequence of a[i..] and b[j..].
  const size_t width = b.size() + 1;
  std::vector<int32_t> best((a.size() + 1) * width, 0);
  for (size_t i = a.size(); i-- > 0;)
    for (size_t j = b.size(); j-- > 0;)
      best[i * width + j] = a[i] == b[j] ? best[(i + 1) * width + j + 1] + 1
                                         : std::max(best[(i + 1) * width + j], best[i * width + j + 1]);
  Alignment shared;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a[i] == b[j]) {
      shared.a.push_back(i++);
      shared.b.push_back(j++);
    } else if (best[(i + 1) * width + j] >= best[i * width + j + 1]) {
      ++i;
    } else {
      ++j;
    }
  }
  return shared;
}

}  // namespace fare
