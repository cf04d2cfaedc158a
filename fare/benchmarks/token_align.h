// Aligning two short sequences of tokens or words: which positions hold the same thing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace fare {

// Positions of `a` and `b` (equally many, each ascending) that hold equal elements.
struct Alignment {
  std::vector<size_t> a;
  std::vector<size_t> b;
};

// A run of equal elements: a[a_begin + i] == b[b_begin + i] for i < length.
struct EqualBlock {
  size_t a_begin = 0;
  size_t b_begin = 0;
  size_t length = 0;
};

// Longest-common-block recursion: the longest run (leftmost in a, then leftmost in b), then the same to its left and
// to its right. Touching runs are joined; no empty run is returned. From 200 elements of `b` on, elements that make up
// more than 1% of it start no run. Source: the alignment of the original CrowS-Pairs score, i.e. Python's difflib.
std::vector<EqualBlock> equal_blocks(std::span<const int32_t> a, std::span<const int32_t> b);
std::vector<EqualBlock> equal_blocks(const std::vector<std::string>& a, const std::vector<std::string>& b);

// The positions of all blocks.
Alignment block_positions(const std::vector<EqualBlock>& blocks);

// Places where the sequences differ: the gaps before, between and after the blocks. Each is the pair of half-open
// ranges [a_begin, a_end), [b_begin, b_end), one of which may be empty.
struct DifferingSpan {
  size_t a_begin = 0, a_end = 0;
  size_t b_begin = 0, b_end = 0;
};
std::vector<DifferingSpan> differing_spans(const std::vector<EqualBlock>& blocks, size_t size_a, size_t size_b);

// Longest common subsequence. Among several of equal length: walking from the left, equal elements are taken as soon
// as met, and otherwise `a` advances where that loses nothing, else `b`. O(|a| |b|) time and memory.
Alignment longest_common_subsequence(std::span<const int32_t> a, std::span<const int32_t> b);

}  // namespace fare
