#include "fare/scoring/prefix_tree.h"

#include <algorithm>
#include <numeric>

namespace fare {
namespace {

uint32_t mark_at(const Sequence& sequence, size_t position) {
  return sequence.marks.empty() ? 0 : sequence.marks[position];
}

}  // namespace

std::vector<int64_t> prefix_order(std::span<const Sequence> sequences) {
  std::vector<int64_t> order(sequences.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) {
    const Sequence &a = sequences[static_cast<size_t>(i)], &b = sequences[static_cast<size_t>(j)];
    if (a.length != b.length) return a.length < b.length;
    for (size_t p = 0; p < std::min(a.ids.size(), b.ids.size()); ++p) {
      if (a.ids[p] != b.ids[p]) return a.ids[p] < b.ids[p];
      if (mark_at(a, p) != mark_at(b, p)) return mark_at(a, p) < mark_at(b, p);
    }
    return a.ids.size() < b.ids.size();
  });
  return order;
}

int64_t shared_prefix(const Sequence& a, const Sequence& b) {
  if (a.length != b.length) return 0;
  const size_t longest = std::min(a.ids.size(), b.ids.size());
  size_t p = 0;
  while (p < longest && a.ids[p] == b.ids[p] && mark_at(a, p) == mark_at(b, p)) ++p;
  return static_cast<int64_t>(p);
}

PackedSequences pack_sequences(std::span<const Sequence> sequences, bool share) {
  PackedSequences out;
  Pack& pack = out.pack;
  std::vector<int32_t> parent, children;  // per row
  out.rows.resize(sequences.size());
  for (size_t i = 0; i < sequences.size(); ++i) {
    const Sequence& sequence = sequences[i];
    std::vector<int32_t>& rows = out.rows[i];
    rows.reserve(sequence.ids.size());
    if (share && i > 0) {
      const auto& previous = out.rows[i - 1];
      rows.assign(previous.begin(), previous.begin() + shared_prefix(sequences[i - 1], sequence));
      for (const int32_t row : rows) ++pack.multiplicity[static_cast<size_t>(row)];
    }
    for (size_t p = rows.size(); p < sequence.ids.size(); ++p) {
      const int32_t row = static_cast<int32_t>(pack.token_ids.size());
      pack.token_ids.push_back(sequence.ids[p]);
      pack.positions.push_back(static_cast<int32_t>(p));
      pack.multiplicity.push_back(1);
      if (sequence.length > 0) pack.length.push_back(sequence.length);
      parent.push_back(p == 0 ? -1 : rows[p - 1]);
      children.push_back(0);
      if (p > 0) ++children[static_cast<size_t>(rows[p - 1])];
      rows.push_back(row);
    }
  }
  // Rows stand in preorder, so a row without siblings follows its parent directly and extends its segment.
  std::vector<int32_t> segment_of(pack.token_ids.size());
  for (size_t row = 0; row < pack.token_ids.size(); ++row) {
    const int32_t above = parent[row];
    if (above >= 0 && children[static_cast<size_t>(above)] == 1 && above + 1 == static_cast<int32_t>(row)) {
      segment_of[row] = segment_of[static_cast<size_t>(above)];
      ++pack.segments[static_cast<size_t>(segment_of[row])].num_rows;
    } else {
      segment_of[row] = static_cast<int32_t>(pack.segments.size());
      pack.segments.push_back({.first_row = static_cast<int32_t>(row),
                               .num_rows = 1,
                               .parent = above < 0 ? -1 : segment_of[static_cast<size_t>(above)]});
    }
  }
  return out;
}

}  // namespace fare
