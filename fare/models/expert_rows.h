// The rows of a route sorted by expert: gathered, given to one expert after another, and summed again.
// Shapes: T rows, D width, K slots, E experts; an entry is one (row, slot) with an expert.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace fare {

// Entries grouped by expert: those of expert e are [first[e], first[e + 1]).
struct ExpertRows {
  std::vector<int64_t> first;
  std::vector<int64_t> row;       // of each entry
  std::vector<int64_t> place;     // of each entry in [T, K], row by row
  std::vector<int64_t> entry_TK;  // the other way round; -1 = absent slot

  int64_t num_experts() const { return static_cast<int64_t>(first.size()) - 1; }
  int64_t count(int64_t expert) const {
    return first[static_cast<size_t>(expert + 1)] - first[static_cast<size_t>(expert)];
  }
};

// ids_TK: int32 in host memory, below 0 = absent.
ExpertRows group_by_expert(const at::Tensor& ids_TK, int64_t num_experts);

// The rows of one expert, [M, D], M at least its count: a product is prepared once for each number of rows, which costs
// time and half a megabyte, so at most sixteen numbers between two powers of two are used, with rows of zeros up to the
// next (1 in 32 on average). x_TD lies in host memory.
at::Tensor gather_rows(const at::Tensor& x_TD, const ExpertRows& rows, int64_t expert);

// Weighted sum over slots in slot order, float32 [T, D]; without weights_TK, the plain sum. outputs[e]: [M, D],
// contiguous, M at least the expert's count; those of experts without rows may be undefined.
at::Tensor combine(const ExpertRows& rows, const std::vector<at::Tensor>& outputs, const at::Tensor& weights_TK,
                   at::IntArrayRef shape_TD, at::ScalarType type);

// Calls body(e) for every expert with rows, those with most rows first: on several threads, one expert each, where
// there are at least two for each thread. The first exception is rethrown once all have stopped.
void for_busy_experts(const ExpertRows& rows, const std::function<void(int64_t expert)>& body);

}  // namespace fare
