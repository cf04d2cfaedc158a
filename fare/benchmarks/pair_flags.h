// What is known about a minimal pair from its two texts alone, and which pairs belong together.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fare {

// Words are the pieces between white space. Source of the classes: docs/data.md, CrowS-Pairs.
enum class PairClass { kOneSpanEqual, kOneSpanUnequal, kMultiSpan, kPunctuation };
std::string_view name_of(
    PairClass pair_class);  // "one_span_equal_length", "one_span_unequal", "multi_span", "punctuation"

struct PairFlags {
  int64_t num_words_first = 0, num_words_second = 0;
  int64_t num_spans = 0;  // places where the word sequences differ
  bool word_count_differs = false;
  bool last_character_differs = false;     // after trimming white space
  bool final_punctuation_differs = false;  // the same, and one of the two is not a letter or digit
  bool has_double_space = false;           // in either text
  bool has_line_break = false;
  // punctuation if final_punctuation_differs, else multi_span above one span, else by the words in the span.
  PairClass pair_class = PairClass::kOneSpanEqual;
  // Each differing place holds words on both sides, the final punctuation agrees, and neither text exceeds 60 words.
  bool filtered = false;
  std::vector<std::string> unchanged_words;  // words of the equal blocks, in order
};

PairFlags pair_flags(std::string_view first, std::string_view second);

// Clusters of pairs: the pairs of one writer, joined with another writer's where one pair of each is a near-duplicate,
// that is, where the sets of unchanged words have a Jaccard index of at least `min_jaccard`.
// Returns one name per pair: the alphabetically first writer of its cluster.
std::vector<std::string> writer_clusters(std::span<const std::string> writers,
                                         std::span<const std::vector<std::string>> unchanged_words,
                                         double min_jaccard = 0.8);

// For each pair the index of an earlier pair with the same two texts, in the same order.
std::vector<std::optional<size_t>> earlier_duplicates(std::span<const std::string> first,
                                                      std::span<const std::string> second);

}  // namespace fare
