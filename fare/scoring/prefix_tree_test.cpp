#include "fare/scoring/prefix_tree.h"

#include <gtest/gtest.h>

#include "fare/models/attention.h"
#include "fare/scoring/generation_pack.h"

namespace fare {
namespace {

using Ids = std::vector<int32_t>;
using Marks = std::vector<uint32_t>;

std::vector<Sequence> sequences_of(const std::vector<Ids>& all) {
  std::vector<Sequence> sequences;
  for (const Ids& ids : all) sequences.push_back({ids, {}, 0});
  return sequences;
}

std::vector<Sequence> in_order(const std::vector<Sequence>& sequences) {
  std::vector<Sequence> ordered;
  for (const int64_t i : prefix_order(sequences)) ordered.push_back(sequences[static_cast<size_t>(i)]);
  return ordered;
}

// Each sequence can be read back along its segments: rows, tokens and positions; segments tile the rows in order.
void expect_sound(const std::vector<Sequence>& sequences, const PackedSequences& packed) {
  const Pack& pack = packed.pack;
  int32_t next = 0;
  std::vector<int> segment_of(pack.token_ids.size(), -1);
  for (size_t s = 0; s < pack.segments.size(); ++s) {
    EXPECT_EQ(pack.segments[s].first_row, next);
    EXPECT_LT(pack.segments[s].parent, static_cast<int32_t>(s));
    for (int32_t i = 0; i < pack.segments[s].num_rows; ++i)
      segment_of[static_cast<size_t>(next++)] = static_cast<int>(s);
  }
  EXPECT_EQ(next, pack.num_rows());
  std::vector<int32_t> uses(pack.token_ids.size(), 0);
  for (size_t i = 0; i < sequences.size(); ++i) {
    ASSERT_EQ(packed.rows[i].size(), sequences[i].ids.size());
    for (size_t p = 0; p < packed.rows[i].size(); ++p) {
      const size_t row = static_cast<size_t>(packed.rows[i][p]);
      EXPECT_EQ(pack.token_ids[row], sequences[i].ids[p]);
      EXPECT_EQ(pack.positions[row], static_cast<int32_t>(p));
      ++uses[row];
    }
    const std::vector<int32_t> path = path_rows(pack.segments, static_cast<size_t>(segment_of[packed.rows[i].back()]));
    EXPECT_TRUE(std::equal(packed.rows[i].begin(), packed.rows[i].end(), path.begin())) << "sequence " << i;
  }
  EXPECT_EQ(uses, pack.multiplicity);
}

TEST(PrefixTree, SharedBeginningsStandOnce) {
  const std::vector<Ids> all = {{1, 2, 3, 4}, {9}, {1, 2, 5}, {1, 2, 3, 4, 6}, {1, 2, 3, 4}};
  const auto ordered = in_order(sequences_of(all));
  const PackedSequences packed = pack_sequences(ordered);
  expect_sound(ordered, packed);
  EXPECT_EQ(packed.pack.token_ids, (Ids{1, 2, 3, 4, 6, 5, 9}));
  EXPECT_EQ(packed.pack.multiplicity, (Ids{4, 4, 3, 3, 1, 1, 1}));
  ASSERT_EQ(packed.pack.segments.size(), 4u);  // 1 2 | 3 4 6 | 5 | 9
  EXPECT_EQ(packed.pack.segments[2].parent, 0);
  EXPECT_EQ(packed.pack.segments[3].parent, -1);
}

TEST(PrefixTree, OrderPutsSharersSideBySideAndKeepsEqualOnesInTheirOrder) {
  const std::vector<Ids> all = {{2, 1}, {1, 7}, {2, 1}, {1}, {1, 7, 0}};
  EXPECT_EQ(prefix_order(sequences_of(all)), (std::vector<int64_t>{3, 1, 4, 0, 2}));
}

TEST(PrefixTree, MarksKeepRowsApartFromTheFirstDifferenceOn) {
  const std::vector<Ids> ids = {{1, 2, 3}, {1, 2, 3}, {1, 2, 3}};
  const std::vector<Marks> marks = {{0, 0, 1}, {0, 0, 0}, {}};  // no marks = all 0
  std::vector<Sequence> sequences;
  for (size_t i = 0; i < 3; ++i) sequences.push_back({ids[i], marks[i], 0});
  const auto ordered = in_order(sequences);
  const PackedSequences packed = pack_sequences(ordered);
  expect_sound(ordered, packed);
  EXPECT_EQ(packed.pack.num_rows(), 4);
  EXPECT_EQ(shared_prefix(sequences[0], sequences[1]), 2);
  EXPECT_EQ(shared_prefix(sequences[1], sequences[2]), 3);
}

TEST(PrefixTree, SequencesOfAnotherRopeLengthShareNothing) {
  const Ids ids = {1, 2, 3};
  const std::vector<Sequence> sequences = {{ids, {}, 8}, {ids, {}, 9}};
  EXPECT_EQ(shared_prefix(sequences[0], sequences[1]), 0);
  const PackedSequences packed = pack_sequences(sequences);
  EXPECT_EQ(packed.pack.length, (Ids{8, 8, 8, 9, 9, 9}));
}

TEST(PrefixTree, WithoutSharingEverySequenceHasItsOwnRows) {
  const std::vector<Ids> all = {{1, 2}, {1, 2}, {1, 2, 3}};
  const PackedSequences packed = pack_sequences(sequences_of(all), false);
  expect_sound(sequences_of(all), packed);
  EXPECT_EQ(packed.pack.num_rows(), 7);
  EXPECT_EQ(packed.pack.segments.size(), 3u);
}

TEST(GenerationPack, BranchesBeginAfterTheLastRowOfAPrompt) {
  // One prompt is the beginning of another and ends inside its segment; two are equal.
  const std::vector<Ids> all = {{1, 2}, {1, 2}, {1, 2, 3, 4}, {1, 2, 3, 4, 5}, {7}};
  const auto ordered = in_order(sequences_of(all));
  PackedSequences packed = pack_sequences(ordered);
  std::vector<int32_t> last;
  for (const auto& rows : packed.rows) last.push_back(rows.back());
  const std::vector<int32_t> segment_of = cut_after(packed.pack.segments, last);
  ASSERT_EQ(segment_of.size(), all.size());
  expect_sound(ordered, packed);
  for (size_t i = 0; i < all.size(); ++i)
    EXPECT_EQ(path_rows(packed.pack.segments, static_cast<size_t>(segment_of[i])), packed.rows[i]) << i;
}

TEST(GenerationPack, ChildrenOfACutSegmentContinueAfterItsLastPiece) {
  std::vector<Segment> segments = {{0, 4, -1}, {4, 2, 0}, {6, 1, 0}};
  const std::vector<int32_t> rows = {1, 6};
  EXPECT_EQ(cut_after(segments, rows), (Ids{0, 3}));
  ASSERT_EQ(segments.size(), 4u);
  EXPECT_EQ(segments[1].first_row, 2);
  EXPECT_EQ(segments[1].parent, 0);
  EXPECT_EQ(segments[2].parent, 1);
  EXPECT_EQ(segments[3].parent, 1);
}

}  // namespace
}  // namespace fare
