#include "fare/models/attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <map>

#include "fare/core/error.h"
#include "fare/models/attention_kernel.h"
#include "fare/models/device.h"
#include "fare/routing/parallel_rows.h"

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

namespace {

// Of each segment the rows from `first_query` on.
std::vector<SegmentQueries> rows_from(const std::vector<Segment>& segments, int64_t first_query) {
  std::vector<SegmentQueries> queries;
  for (const Segment& part : segments) {
    const int32_t skip = std::clamp(static_cast<int32_t>(first_query) - part.first_row, 0, part.num_rows);
    queries.push_back({skip, part.first_row + skip - static_cast<int32_t>(first_query)});
  }
  return queries;
}

}  // namespace

at::Tensor attend(const at::Tensor& q_TNd, const at::Tensor& k_RGd, const at::Tensor& v_RGv,
                  const std::vector<Segment>& segments, const AttentionShape& shape,
                  std::span<const SegmentQueries> queries) {
  if (needs_operations(q_TNd)) return attend_by_operations(q_TNd, k_RGd, v_RGv, segments, shape, queries);
  const int64_t num_queries = q_TNd.size(0), num_heads = q_TNd.size(1), head_dim = q_TNd.size(2);
  const int64_t num_rows = k_RGd.size(0), num_kv = k_RGd.size(1), value_dim = v_RGv.size(2);
  std::vector<SegmentQueries> last_rows;
  if (queries.empty()) queries = last_rows = rows_from(segments, num_rows - num_queries);
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
  else parallel_rows(0, threads, 1, [&](int64_t, int64_t) { worker(); });
  return out_TNv;
}

at::Tensor attend_by_operations(const at::Tensor& q_TNd, const at::Tensor& k_RGd, const at::Tensor& v_RGv,
                                const std::vector<Segment>& segments, const AttentionShape& shape,
                                std::span<const SegmentQueries> queries) {
  // Segments of one shape are one batch: a pass over many short texts is few operations, forward and backward.
  // B segments of a batch, M rows of their own that have queries, L rows on their path.
  std::vector<SegmentQueries> last_rows;
  if (queries.empty()) queries = last_rows = rows_from(segments, k_RGd.size(0) - q_TNd.size(0));
  constexpr int64_t kLargestBatch = int64_t{1} << 24;  // numbers in the keys of a batch
  const int64_t repeats = q_TNd.size(1) / k_RGd.size(1), num_heads = q_TNd.size(1);
  std::map<std::pair<int64_t, int64_t>, std::vector<size_t>> by_shape;  // (own rows, path)
  std::vector<std::vector<int32_t>> paths(segments.size());
  for (size_t s = 0; s < segments.size(); ++s) {
    const int64_t own = segments[s].num_rows - queries[s].skip;
    if (own == 0) continue;
    paths[s] = path_rows(segments, s);
    by_shape[{own, static_cast<int64_t>(paths[s].size())}].push_back(s);
  }
  const auto on_device = [&](const std::vector<int32_t>& rows) {
    return at::tensor(at::ArrayRef<int32_t>(rows), at::kInt).to(q_TNd.device());
  };
  std::vector<at::Tensor> outputs;
  std::vector<int32_t> place(static_cast<size_t>(q_TNd.size(0)));  // of each row among the outputs
  int64_t next = 0;
  for (const auto& [rows, members] : by_shape) {
    const auto [own, length] = rows;
    const size_t most = static_cast<size_t>(
        std::max<int64_t>(1, kLargestBatch / std::max<int64_t>(1, length * num_heads * q_TNd.size(2))));
    const at::Tensor query_position = at::arange(length - own, length).unsqueeze(1);
    const at::Tensor key_position = at::arange(length).unsqueeze(0);
    at::Tensor hidden = key_position > query_position;
    if (shape.sliding_window) hidden = hidden.logical_or(key_position <= query_position - *shape.sliding_window);
    hidden = hidden.to(q_TNd.device());
    for (size_t begin = 0; begin < members.size(); begin += most) {
      const size_t end = std::min(members.size(), begin + most);
      std::vector<int32_t> on_path, own_rows;
      for (size_t m = begin; m < end; ++m) {
        on_path.insert(on_path.end(), paths[members[m]].begin(), paths[members[m]].end());
        const int32_t first = queries[members[m]].first;
        for (int32_t r = first; r < first + static_cast<int32_t>(own); ++r) {
          own_rows.push_back(r);
          place[static_cast<size_t>(r)] = static_cast<int32_t>(next++);
        }
      }
      const int64_t batch = static_cast<int64_t>(end - begin);
      const at::Tensor path_index = on_device(on_path), own_index = on_device(own_rows);
      const auto heads_first = [&](const at::Tensor& rows_by_head,
                                   int64_t count) {  // [B * count, N, x] -> [B, N, count, x]
        return rows_by_head.view({batch, count, num_heads, rows_by_head.size(2)}).transpose(1, 2);
      };
      const at::Tensor keys = heads_first(k_RGd.index_select(0, path_index).repeat_interleave(repeats, 1), length);
      const at::Tensor values = heads_first(v_RGv.index_select(0, path_index).repeat_interleave(repeats, 1), length);
      const at::Tensor own_queries = heads_first(q_TNd.index_select(0, own_index), own);
      at::Tensor scores_BNML = (at::matmul(own_queries, keys.transpose(2, 3)) * shape.scale)
                                   .masked_fill(hidden, -std::numeric_limits<float>::infinity());
      if (shape.sinks_N.defined())
        scores_BNML = at::cat({scores_BNML, shape.sinks_N.view({1, -1, 1, 1}).expand({batch, num_heads, own, 1})}, -1);
      outputs.push_back(
          at::matmul(scores_BNML.softmax(-1).narrow(-1, 0, length), values).transpose(1, 2).flatten(0, 1));
    }
  }
  return at::cat(outputs, 0).index_select(0, on_device(place));
}

}  // namespace fare
