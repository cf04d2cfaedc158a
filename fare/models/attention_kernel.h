// The inner loops of attend(): one segment, one key-value head. Compiled for several instruction sets.
#pragma once

#include <cstdint>
#include <vector>

namespace fare {

struct KernelArguments {
  const float *q = nullptr, *k = nullptr, *v = nullptr;  // [T, N, d], [R, G, d], [R, G, v]
  float* out = nullptr;                                  // [T, N, v]
  int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0, value_dim = 0;
  int64_t window = 0;
  float scale = 0;
  const float* sinks = nullptr;  // [N], null = none
};

// Memory that one worker reuses from call to call.
struct KernelScratch {
  std::vector<float> scores, keys, values;
  std::vector<int32_t> identity;  // 0, 1, 2, ..
};

// `path`: rows from position 0 to the segment's last row. The last `num_queries` of them have queries, from row
// `first_query` of q on.
void attend_segment(const KernelArguments& arguments, const std::vector<int32_t>& path, int64_t first_query,
                    int64_t num_queries, int64_t kv_head, KernelScratch& scratch);

}  // namespace fare
