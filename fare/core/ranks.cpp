#include "fare/core/ranks.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "fare/core/error.h"

namespace fare {

std::string from_first(Ranks& ranks, const std::string& bytes) {
  return ranks.exchange(ranks.rank() == 0 ? bytes : std::string()).front();
}

std::vector<size_t> claim_parts(Ranks& ranks, std::span<const double> costs,
                                const std::function<void(size_t, int64_t)>& compute) {
  std::vector<size_t> order(costs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (ranks.size() == 1) {  // in order, and again from the start after a `compute` that threw
    for (const size_t part : order) compute(part, static_cast<int64_t>(part) + 1);
    return order;
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return costs[a] > costs[b]; });
  std::vector<size_t> own;
  for (int64_t n = ranks.next(); n < static_cast<int64_t>(order.size()); n = ranks.next()) {
    const size_t part = order[static_cast<size_t>(n)];
    compute(part, n + 1);
    own.push_back(part);
  }
  return own;
}

std::vector<std::string> divide(Ranks& ranks, std::span<const double> costs,
                                const std::function<std::string(size_t, int64_t)>& compute) {
  std::vector<std::string> results(costs.size());
  std::vector<std::string> handed;  // number of the part, its bytes, and so on
  claim_parts(ranks, costs, [&](size_t part, int64_t started) {
    handed.push_back(std::to_string(part));
    handed.push_back(compute(part, started));
  });
  for (const std::string& bytes : ranks.exchange(join_texts(handed))) {
    const std::vector<std::string> texts = split_texts(bytes);
    for (size_t i = 0; i + 1 < texts.size(); i += 2) results.at(std::stoul(texts[i])) = texts[i + 1];
  }
  return results;
}

std::string join_texts(std::span<const std::string> texts) {
  std::string bytes;
  for (const std::string& text : texts) {
    const uint64_t size = text.size();
    bytes.append(reinterpret_cast<const char*>(&size), sizeof size);
    bytes += text;
  }
  return bytes;
}

std::vector<std::string> split_texts(const std::string& bytes) {
  std::vector<std::string> texts;
  for (size_t at = 0; at < bytes.size();) {
    uint64_t size = 0;
    FARE_CHECK(bytes.size() - at >= sizeof size, "joined texts are cut short");
    std::memcpy(&size, bytes.data() + at, sizeof size);
    at += sizeof size;
    FARE_CHECK(bytes.size() - at >= size, "joined texts are cut short");
    texts.push_back(bytes.substr(at, size));
    at += size;
  }
  return texts;
}

}  // namespace fare
