// Compiled with relaxed floating-point rules (fare/models/CMakeLists.txt) so that sums vectorise; no NaN reaches here.
#include "fare/models/attention_kernel.h"

#include <algorithm>
#include <cmath>

#include "fare/models/clones.h"

namespace fare {
namespace {

// Scores of one query against the rows path[begin..end), softmaxed in place, then the weighted sum of values.
FARE_CLONES void attend_query(const float* __restrict q, const float* __restrict k, const float* __restrict v,
                              float* __restrict out, const int32_t* __restrict path, int64_t begin, int64_t end,
                              int64_t key_stride, int64_t value_stride, int64_t head_dim, int64_t value_dim, float scale,
                              float* __restrict scratch) {
  float largest = -3.0e38f;
  for (int64_t j = begin; j < end; ++j) {
    const float* key = k + path[j] * key_stride;
    float dot = 0;
    for (int64_t i = 0; i < head_dim; ++i) dot += q[i] * key[i];
    scratch[j] = dot * scale;
    largest = std::max(largest, scratch[j]);
  }
  float total = 0;
  for (int64_t j = begin; j < end; ++j) {
    scratch[j] = std::exp(scratch[j] - largest);
    total += scratch[j];
  }
  const float inverse = 1.0f / total;
  for (int64_t i = 0; i < value_dim; ++i) out[i] = 0;
  for (int64_t j = begin; j < end; ++j) {
    const float weight = scratch[j] * inverse;
    const float* value = v + path[j] * value_stride;
    for (int64_t i = 0; i < value_dim; ++i) out[i] += weight * value[i];
  }
}

}  // namespace

void attend_segment(const KernelArguments& a, const std::vector<int32_t>& path, int64_t first_row, int64_t num_rows,
                    int64_t kv_head, float* scratch) {
  const int64_t group = a.num_heads / a.num_kv_heads;
  const int64_t first_position = static_cast<int64_t>(path.size()) - num_rows;
  for (int64_t r = std::max<int64_t>(0, a.first_query - first_row); r < num_rows; ++r) {
    const int64_t position = first_position + r;
    const int64_t begin = a.window > position ? 0 : position + 1 - a.window;
    const int64_t query = first_row + r - a.first_query;
    for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
      attend_query(a.q + (query * a.num_heads + h) * a.head_dim, a.k + kv_head * a.head_dim, a.v + kv_head * a.value_dim,
                   a.out + (query * a.num_heads + h) * a.value_dim, path.data(), begin, position + 1,
                   a.num_kv_heads * a.head_dim, a.num_kv_heads * a.value_dim, a.head_dim, a.value_dim, a.scale, scratch);
    }
  }
}

}  // namespace fare
