#include "fare/models/attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "fare/core/error.h"
#include "fare/models/attention_kernel.h"

namespace fare {

std::vector<int32_t> path_rows(const std::vector<Segment>& segments, size_t segment) {
  std::vector<size_t> chain;
  for (int64_t s = static_cast<int64_t>(segment); s >= 0; s = segments[static_cast<size_t>(s)].parent)
    chain.push_back(static_cast<size_t>(s));
  std::vector<int32_t> rows;
  for (auto it = chain.rbegin(); it != chain.rend(); ++it) {
    const Segment& part = segments[*it];
    for (int32_t i = 0; i < part.num_rows; ++i) rows.push_back(part.first_row + i);
  }
  return rows;
}

at::Tensor attend(const at::Tensor& q_TNd, const at::Tensor& k_RGd, const at::Tensor& v_RGv,
                  const std::vector<Segment>& segments, const AttentionShape& shape,
                  std::span<const SegmentQueries> queries) {
  const int64_t num_queries = q_TNd.size(0), num_heads = q_TNd.size(1), head_dim = q_TNd.size(2);
  const int64_t num_rows = k_RGd.size(0), num_kv = k_RGd.size(1), value_dim = v_RGv.size(2);
  std::vector<SegmentQueries> last_rows;
  if (queries.empty()) {
    const int32_t first_query = static_cast<int32_t>(num_rows - num_queries);
    for (const Segment& part : segments) {
      const int32_t skip = std::clamp(first_query - part.first_row, 0, part.num_rows);
      last_rows.push_back({skip, part.first_row + skip - first_query});
    }
    queries = last_rows;
  }
  at::Tensor out_TNv = at::empty({num_queries, num_heads, value_dim}, at::kFloat);

  // Segments that hold queries, most work first so that threads finish together. Cost: queries times keys.
  struct Work {
    size_t segment;
    int64_t cost;
  };
  std::vector<int64_t> length(segments.size());  // of each segment's path
  std::vector<Work> work;
  for (size_t s = 0; s < segments.size(); ++s) {
    const Segment& part = segments[s];
    length[s] = part.num_rows + (part.parent >= 0 ? length[static_cast<size_t>(part.parent)] : 0);
    if (queries[s].skip < part.num_rows) work.push_back({s, (part.num_rows - queries[s].skip) * length[s]});
  }
  std::stable_sort(work.begin(), work.end(), [](const Work& a, const Work& b) { return a.cost > b.cost; });

  const KernelArguments arguments{.q = q_TNd.const_data_ptr<float>(),
                                  .k = k_RGd.const_data_ptr<float>(),
                                  .v = v_RGv.const_data_ptr<float>(),
                                  .out = out_TNv.mutable_data_ptr<float>(),
                                  .num_heads = num_heads,
                                  .num_kv_heads = num_kv,
                                  .head_dim = head_dim,
                                  .value_dim = value_dim,
                                  .window = shape.sliding_window.value_or(std::numeric_limits<int64_t>::max()),
                                  .scale = static_cast<float>(shape.scale),
                                  .sinks = shape.sinks_N.defined() ? shape.sinks_N.const_data_ptr<float>() : nullptr};
  // Workers take (segment, key-value head) one by one; which worker computes what does not change any value.
  const int64_t num_tasks = static_cast<int64_t>(work.size()) * num_kv;
  std::atomic<int64_t> next{0};
  const auto worker = [&] {
    std::vector<int32_t> rows;
    KernelScratch scratch;
    int64_t known = -1;
    for (int64_t i = next++; i < num_tasks; i = next++) {
      const size_t segment = work[static_cast<size_t>(i / num_kv)].segment;
      if (static_cast<int64_t>(segment) != known) {
        rows = path_rows(segments, segment);
        known = static_cast<int64_t>(segment);
      }
      const SegmentQueries& asked = queries[segment];
      attend_segment(arguments, rows, asked.first, segments[segment].num_rows - asked.skip, i % num_kv, scratch);
    }
  };
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), num_tasks);
  if (threads <= 1) worker();
  else at::parallel_for(0, threads, 1, [&](int64_t, int64_t) { worker(); });
  return out_TNv;
}

at::Tensor attend_differentiable(const at::Tensor& q_TNd, const at::Tensor& k_TGd, const at::Tensor& v_TGv,
                                 const std::vector<Segment>& segments, const AttentionShape& shape) {
  const int64_t repeats = q_TNd.size(1) / k_TGd.size(1);
  std::vector<at::Tensor> outputs;
  for (size_t s = 0; s < segments.size(); ++s) {
    const std::vector<int32_t> path = path_rows(segments, s);
    const int64_t length = static_cast<int64_t>(path.size());
    const int64_t own = segments[s].num_rows;
    const at::Tensor index = at::tensor(at::ArrayRef<int32_t>(path), at::kInt);
    const at::Tensor keys = k_TGd.index_select(0, index).repeat_interleave(repeats, 1).transpose(0, 1);
    const at::Tensor values = v_TGv.index_select(0, index).repeat_interleave(repeats, 1).transpose(0, 1);
    const at::Tensor queries = q_TNd.narrow(0, segments[s].first_row, own).transpose(0, 1);
    const at::Tensor query_position = at::arange(length - own, length).unsqueeze(1);
    const at::Tensor key_position = at::arange(length).unsqueeze(0);
    at::Tensor hidden = key_position > query_position;
    if (shape.sliding_window) hidden = hidden.logical_or(key_position <= query_position - *shape.sliding_window);
    at::Tensor scores = (at::matmul(queries, keys.transpose(1, 2)) * shape.scale)
                            .masked_fill(hidden, -std::numeric_limits<float>::infinity());
    if (shape.sinks_N.defined())
      scores = at::cat({scores, shape.sinks_N.view({-1, 1, 1}).expand({scores.size(0), own, 1})}, -1);
    outputs.push_back(at::matmul(scores.softmax(-1).narrow(-1, 0, length), values).transpose(0, 1));
  }
  return at::cat(outputs, 0);
}

}  // namespace fare
