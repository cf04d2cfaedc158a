#include "fare/routing/selector.h"

#include <algorithm>

#include "fare/core/error.h"

namespace fare {
namespace {

// Clears every row of `scope_T` that lies in none of `ranges` ([begin, end), moved by -`first`).
void keep_ranges(const std::vector<std::pair<int64_t, int64_t>>& ranges, int64_t first, std::vector<uint8_t>& scope_T) {
  const int64_t num_rows = static_cast<int64_t>(scope_T.size());
  std::vector<uint8_t> inside_T(scope_T.size(), 0);
  for (const auto& [from, to] : ranges) {
    const int64_t begin = std::clamp<int64_t>(from - first, 0, num_rows);
    const int64_t end = std::clamp<int64_t>(to - first, begin, num_rows);
    std::fill(inside_T.begin() + begin, inside_T.begin() + end, uint8_t{1});
  }
  for (size_t t = 0; t < scope_T.size(); ++t) scope_T[t] &= inside_T[t];
}

}  // namespace

std::vector<uint8_t> resolve(const Selector& selector, const RequestView& request) {
  const int64_t num_rows = static_cast<int64_t>(request.fed_ids.size());
  std::vector<uint8_t> scope_T(request.fed_ids.size(), 1);
  const auto nothing = [&] { return std::vector<uint8_t>(request.fed_ids.size(), 0); };

  if (!selector.requests.empty()) {
    FARE_CHECK(request.id != nullptr, "a selector by request needs the request's id");
    if (std::find(selector.requests.begin(), selector.requests.end(), *request.id) == selector.requests.end())
      return nothing();
  }
  const int64_t boundary = std::clamp<int64_t>(request.num_context, 0, num_rows);
  if (selector.phase == Selector::Phase::kPrompt) std::fill(scope_T.begin() + boundary, scope_T.end(), uint8_t{0});
  if (selector.phase == Selector::Phase::kGenerated) std::fill(scope_T.begin(), scope_T.begin() + boundary, uint8_t{0});
  if (!selector.spans.empty()) {
    std::vector<std::pair<int64_t, int64_t>> ranges;
    for (const std::string& name : selector.spans) {
      if (request.spans == nullptr) break;
      const auto found = request.spans->find(name);
      if (found != request.spans->end()) ranges.insert(ranges.end(), found->second.begin(), found->second.end());
    }
    keep_ranges(ranges, 0, scope_T);
  }
  if (!selector.positions.empty()) keep_ranges(selector.positions, request.first_position, scope_T);
  if (!selector.token_ids.empty()) {
    std::vector<int32_t> sorted = selector.token_ids;
    std::sort(sorted.begin(), sorted.end());
    int64_t last = -1 - selector.following;  // row of the last such token
    for (int64_t t = 0; t < num_rows; ++t) {
      if (std::binary_search(sorted.begin(), sorted.end(), request.fed_ids[t])) last = t;
      scope_T[t] &= static_cast<uint8_t>(t - last <= selector.following);
    }
  }
  return scope_T;
}

}  // namespace fare
