// Resolves a Selector to rows of one request.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fare/routing/edit.h"

namespace fare {

// One request as a selector sees it. Everything is referenced, nothing owned.
struct RequestView {
  const std::string* id = nullptr;
  std::span<const int32_t> fed_ids;  // fed tokens after truncation
  int64_t first_position = 0;        // position of fed_ids[0] before truncation
  int64_t num_context = 0;           // leading fed rows that hold context tokens
  // Named spans as ranges [begin, end) of fed rows after truncation (may reach beyond the fed rows).
  const std::map<std::string, std::vector<std::pair<int64_t, int64_t>>>* spans = nullptr;
};

// 1 for each fed row in scope.
std::vector<uint8_t> resolve(const Selector& selector, const RequestView& request);

}  // namespace fare
