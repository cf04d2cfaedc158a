// Compiled with relaxed floating-point rules (fare/models/CMakeLists.txt) so that sums vectorise; no NaN reaches here.
#include "fare/models/attention_kernel.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "fare/core/clones.h"

namespace fare {
namespace {

constexpr int64_t kQueriesWorthPacking = 4;  // queries that read the same keys

// Written with vector types: left to itself the compiler joins two rounds of the outer loop and then runs the inner one
// value by value. Each instruction set splits the lanes as it needs.
constexpr int64_t kLanes = 16;
typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));

// Scores of one query against the rows path[begin..end), softmaxed in place together with `sink` (null = none), then
// the weighted sum of values. Inlined with constant dimensions, the loops over them unroll and the sums stay in
// registers.
inline __attribute__((always_inline)) void attend_row(const float* __restrict q, const float* __restrict k,
                                                      const float* __restrict v, float* __restrict out,
                                                      const int32_t* __restrict path, int64_t begin, int64_t end,
                                                      int64_t key_stride, int64_t value_stride, int64_t head_dim,
                                                      int64_t value_dim, float scale, const float* sink,
                                                      float* __restrict scratch) {
  float largest = sink != nullptr ? *sink : -3.0e38f;
  for (int64_t j = begin; j < end; ++j) {
    const float* key = k + path[j] * key_stride;
    Lanes sum = {};
    int64_t i = 0;
    for (; i + kLanes <= head_dim; i += kLanes) {
      Lanes a, b;
      std::memcpy(&a, q + i, sizeof a);
      std::memcpy(&b, key + i, sizeof b);
      sum += a * b;
    }
    float lane[kLanes], dot = 0;
    std::memcpy(lane, &sum, sizeof lane);
    for (int64_t n = 0; n < kLanes; ++n) dot += lane[n];
    for (; i < head_dim; ++i) dot += q[i] * key[i];
    scratch[j] = dot * scale;
    largest = std::max(largest, scratch[j]);
  }
  float total = sink != nullptr ? std::exp(*sink - largest) : 0.0f;
  for (int64_t j = begin; j < end; ++j) {
    scratch[j] = std::exp(scratch[j] - largest);
    total += scratch[j];
  }
  const float inverse = 1.0f / total;
  int64_t i = 0;
  for (; i + 4 * kLanes <= value_dim; i += 4 * kLanes) {
    Lanes sum0 = {}, sum1 = {}, sum2 = {}, sum3 = {}, part;
    for (int64_t j = begin; j < end; ++j) {
      const float weight = scratch[j] * inverse;
      const float* value = v + path[j] * value_stride + i;
      std::memcpy(&part, value, sizeof part), sum0 += weight * part;
      std::memcpy(&part, value + kLanes, sizeof part), sum1 += weight * part;
      std::memcpy(&part, value + 2 * kLanes, sizeof part), sum2 += weight * part;
      std::memcpy(&part, value + 3 * kLanes, sizeof part), sum3 += weight * part;
    }
    std::memcpy(out + i, &sum0, sizeof sum0);
    std::memcpy(out + i + kLanes, &sum1, sizeof sum1);
    std::memcpy(out + i + 2 * kLanes, &sum2, sizeof sum2);
    std::memcpy(out + i + 3 * kLanes, &sum3, sizeof sum3);
  }
  for (; i + kLanes <= value_dim; i += kLanes) {
    Lanes sum = {}, part;
    for (int64_t j = begin; j < end; ++j) {
      std::memcpy(&part, v + path[j] * value_stride + i, sizeof part);
      sum += scratch[j] * inverse * part;
    }
    std::memcpy(out + i, &sum, sizeof sum);
  }
  for (; i < value_dim; ++i) {
    float sum = 0;
    for (int64_t j = begin; j < end; ++j) sum += scratch[j] * inverse * v[path[j] * value_stride + i];
    out[i] = sum;
  }
}

FARE_CLONES void attend_query(const float* __restrict q, const float* __restrict k, const float* __restrict v,
                              float* __restrict out, const int32_t* __restrict path, int64_t begin, int64_t end,
                              int64_t key_stride, int64_t value_stride, int64_t head_dim, int64_t value_dim,
                              float scale, const float* sink, float* __restrict scratch) {
  if (head_dim == 64 && value_dim == 64)
    attend_row(q, k, v, out, path, begin, end, key_stride, value_stride, 64, 64, scale, sink, scratch);
  else if (head_dim == 128 && value_dim == 128)
    attend_row(q, k, v, out, path, begin, end, key_stride, value_stride, 128, 128, scale, sink, scratch);
  else attend_row(q, k, v, out, path, begin, end, key_stride, value_stride, head_dim, value_dim, scale, sink, scratch);
}

}  // namespace

void attend_segment(const KernelArguments& a, const std::vector<int32_t>& path, int64_t first_query,
                    int64_t num_queries, int64_t kv_head, KernelScratch& scratch) {
  const int64_t group = a.num_heads / a.num_kv_heads;
  const int64_t length = static_cast<int64_t>(path.size()), first_position = length - num_queries;
  scratch.scores.resize(path.size());
  const float *keys = a.k + kv_head * a.head_dim, *values = a.v + kv_head * a.value_dim;
  int64_t key_stride = a.num_kv_heads * a.head_dim, value_stride = a.num_kv_heads * a.value_dim;
  const int32_t* rows = path.data();
  // One head's keys lie a row apart, often a power of two that maps them all to a few cache sets. Packed together they
  // are read as many times as there are queries; the arithmetic, and so every bit, is that of the unpacked rows.
  if (num_queries * group >= kQueriesWorthPacking) {
    scratch.keys.resize(static_cast<size_t>(length * a.head_dim));
    scratch.values.resize(static_cast<size_t>(length * a.value_dim));
    for (int64_t j = 0; j < length; ++j) {
      std::copy_n(keys + path[static_cast<size_t>(j)] * key_stride, a.head_dim, scratch.keys.data() + j * a.head_dim);
      std::copy_n(values + path[static_cast<size_t>(j)] * value_stride, a.value_dim,
                  scratch.values.data() + j * a.value_dim);
    }
    for (int64_t j = static_cast<int64_t>(scratch.identity.size()); j < length; ++j)
      scratch.identity.push_back(static_cast<int32_t>(j));
    keys = scratch.keys.data(), values = scratch.values.data(), rows = scratch.identity.data();
    key_stride = a.head_dim, value_stride = a.value_dim;
  }
  for (int64_t r = 0; r < num_queries; ++r) {
    const int64_t position = first_position + r;
    const int64_t begin = a.window > position ? 0 : position + 1 - a.window;
    const int64_t query = first_query + r;
    for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
      attend_query(a.q + (query * a.num_heads + h) * a.head_dim, keys, values,
                   a.out + (query * a.num_heads + h) * a.value_dim, rows, begin, position + 1, key_stride, value_stride,
                   a.head_dim, a.value_dim, a.scale, a.sinks != nullptr ? a.sinks + h : nullptr, scratch.scores.data());
    }
  }
}

}  // namespace fare
