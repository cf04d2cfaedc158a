// Causal attention over a pack: each row sees its own prefix, through the tree, and nothing else.
// Shapes: T rows, N query heads, G key-value heads (each serves N/G consecutive query heads), d and v head dimensions.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "fare/models/pack.h"

namespace fare {

struct AttentionShape {
  double scale = 0;
  std::optional<int64_t> sliding_window;  // keys visible per query, itself included
  // One more score per query head, float32 [N], neither scaled nor masked: it takes its share of the softmax and adds
  // nothing to the output (the attention sinks of GPT-OSS). Undefined = none.
  at::Tensor sinks_N;
};

// The rows of a segment that have queries: all but the first `skip`; the first of them is row `first` of q.
struct SegmentQueries {
  int32_t skip = 0;
  int32_t first = 0;
};

// q_TNd, k_RGd, v_RGv: float32, contiguous, all on one device. Keys and values hold all R rows known so far; queries
// are the last T of them (T = R unless earlier rows come from a cache), or those that `queries` says, one per segment.
// `segments` covers all R rows. Returns [T, N, v]. Every row is computed on its own in a fixed order: the result does
// not depend on what else is in the pack.
at::Tensor attend(const at::Tensor& q_TNd, const at::Tensor& k_RGd, const at::Tensor& v_RGv,
                  const std::vector<Segment>& segments, const AttentionShape& shape,
                  std::span<const SegmentQueries> queries = {});

// The same by tensor operations: differentiable, and on any device.
at::Tensor attend_by_operations(const at::Tensor& q_TNd, const at::Tensor& k_RGd, const at::Tensor& v_RGv,
                                const std::vector<Segment>& segments, const AttentionShape& shape,
                                std::span<const SegmentQueries> queries = {});

// Row indices of a segment's whole path, from position 0 to its last row.
std::vector<int32_t> path_rows(const std::vector<Segment>& segments, size_t segment);

}  // namespace fare
