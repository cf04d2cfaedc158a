// Rows of several token sequences laid out as trees: every shared prefix stands once.
#pragma once

#include <cstdint>
#include <vector>

namespace fare {

// A run of consecutive rows without a branch. It continues after the last row of its parent.
struct Segment {
  int32_t first_row = 0;
  int32_t num_rows = 0;
  int32_t parent = -1;  // index of an earlier segment; -1 = starts a sequence
};

// T rows, in segments; a parent stands before its children.
struct Pack {
  std::vector<int32_t> token_ids;     // [T]
  std::vector<int32_t> positions;     // [T], from 0 in each sequence
  std::vector<int32_t> multiplicity;  // [T], how many requests share the row
  // [T] fed length of the input the row belongs to; only filled (and needed) where rope depends on it.
  std::vector<int32_t> length;
  std::vector<Segment> segments;

  int64_t num_rows() const { return static_cast<int64_t>(token_ids.size()); }
};

}  // namespace fare
