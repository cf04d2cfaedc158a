// Stored routes of a set of requests: what `--trace routes` writes and `force_routes` replays.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace fare {

// Rows are the fed tokens of all requests in order; rows of request i are offsets[i] to offsets[i+1].
struct RouteTable {
  struct Layer {
    int64_t k = 0;               // slots per row
    std::vector<int32_t> ids;    // [T, k] row-major, -1 = absent
    std::vector<float> weights;  // [T, k], 0 where absent
  };
  std::vector<int64_t> offsets;     // [N + 1]
  std::vector<int32_t> token_ids;   // [T]
  std::map<int64_t, Layer> layers;  // by decoder layer index
};

// Throws ModelMismatch (naming `file`, the request by its number and the token) unless a run that feeds `token_ids`,
// cut into requests by `offsets` [N + 1], has the rows of `table` one to one.
void require_same_tokens(const RouteTable& table, std::span<const int64_t> offsets, std::span<const int32_t> token_ids,
                         const std::string& file);

}  // namespace fare
