// Lays out token sequences as a pack in which every shared prefix stands once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fare/models/pack.h"

namespace fare {

// One sequence to place. Two sequences share a row as long as tokens and marks agree from the start.
struct Sequence {
  std::span<const int32_t> ids;
  std::span<const uint32_t> marks;  // empty = all 0; whatever else must be equal for a row to be shared
  int32_t length = 0;               // fed length, for rope variants that depend on it; else 0
};

struct PackedSequences {
  Pack pack;
  std::vector<std::vector<int32_t>> rows;  // rows[i][p]: the row of position p of sequence i
};

// Order of the sequences in which those with long shared prefixes are neighbours (ids, then marks, then index).
std::vector<int64_t> prefix_order(std::span<const Sequence> sequences);

// Number of leading positions two sequences share.
int64_t shared_prefix(const Sequence& a, const Sequence& b);

// `sequences` must be in prefix order for sharing to be complete. With `share` false every sequence gets own rows.
PackedSequences pack_sequences(std::span<const Sequence> sequences, bool share = true);

}  // namespace fare
