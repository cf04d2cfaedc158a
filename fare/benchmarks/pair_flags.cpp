#include "fare/benchmarks/pair_flags.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "fare/benchmarks/token_align.h"
#include "fare/benchmarks/unicode_text.h"
#include "fare/core/error.h"

namespace fare {
namespace {

constexpr int64_t kMaxFilteredWords = 60;

char32_t last_character(std::string_view text) {
  text = strip_right(text);
  char32_t last = 0;
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    last = point.value;
    at += point.num_bytes;
  }
  return last;
}

// Letters and digits as far as English sentences end in them: everything outside ASCII counts as a letter except the
// general punctuation block (typographic quotes, dashes, the ellipsis).
bool is_letter_or_digit(char32_t c) {
  if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return c < 0x2000 || c > 0x206F;
}

double jaccard(const std::set<std::string>& a, const std::set<std::string>& b) {
  size_t common = 0;
  for (const auto& word : a) common += b.count(word);
  const size_t all = a.size() + b.size() - common;
  return all == 0 ? 0 : static_cast<double>(common) / static_cast<double>(all);
}

}  // namespace

std::string_view name_of(PairClass pair_class) {
  switch (pair_class) {
    case PairClass::kOneSpanEqual: return "one_span_equal_length";
    case PairClass::kOneSpanUnequal: return "one_span_unequal";
    case PairClass::kMultiSpan: return "multi_span";
    case PairClass::kPunctuation: return "punctuation";
  }
  return "";
}

PairFlags pair_flags(std::string_view first, std::string_view second) {
  const auto words_first = split_at_space(first);
  const auto words_second = split_at_space(second);
  const auto blocks = equal_blocks(words_first, words_second);
  const auto spans = differing_spans(blocks, words_first.size(), words_second.size());

  PairFlags flags;
  flags.num_words_first = static_cast<int64_t>(words_first.size());
  flags.num_words_second = static_cast<int64_t>(words_second.size());
  flags.num_spans = static_cast<int64_t>(spans.size());
  flags.word_count_differs = words_first.size() != words_second.size();
  const char32_t last_first = last_character(first);
  const char32_t last_second = last_character(second);
  flags.last_character_differs = last_first != last_second;
  flags.final_punctuation_differs =
      flags.last_character_differs && !(is_letter_or_digit(last_first) && is_letter_or_digit(last_second));
  for (const auto text : {first, second}) {
    if (text.find("  ") != std::string_view::npos) flags.has_double_space = true;
    if (text.find('\n') != std::string_view::npos) flags.has_line_break = true;
  }
  for (const size_t i : block_positions(blocks).a) flags.unchanged_words.push_back(words_first[i]);

  if (flags.final_punctuation_differs) flags.pair_class = PairClass::kPunctuation;
  else if (flags.num_spans > 1) flags.pair_class = PairClass::kMultiSpan;
  else if (flags.word_count_differs) flags.pair_class = PairClass::kOneSpanUnequal;

  const bool only_replacements = std::all_of(spans.begin(), spans.end(), [](const DifferingSpan& span) {
    return span.a_begin < span.a_end && span.b_begin < span.b_end;
  });
  flags.filtered = !spans.empty() && only_replacements && !flags.final_punctuation_differs &&
                   std::max(flags.num_words_first, flags.num_words_second) <= kMaxFilteredWords;
  return flags;
}

std::vector<std::string> writer_clusters(std::span<const std::string> writers,
                                         std::span<const std::vector<std::string>> unchanged_words,
                                         double min_jaccard) {
  FARE_CHECK(writers.size() == unchanged_words.size(), "one list of words per writer");
  std::map<std::string, std::string> parent;
  const auto root = [&](std::string writer) {
    while (parent.at(writer) != writer) writer = parent.at(writer);
    return writer;
  };
  std::vector<std::set<std::string>> sets;
  for (size_t i = 0; i < writers.size(); ++i) {
    parent.emplace(writers[i], writers[i]);
    sets.emplace_back(unchanged_words[i].begin(), unchanged_words[i].end());
  }
  for (size_t i = 0; i < writers.size(); ++i) {
    for (size_t j = i + 1; j < writers.size(); ++j) {
      if (writers[i] == writers[j]) continue;
      // The smaller set over the larger bounds the index from above: most pairs need no comparison.
      const auto [small, large] = std::minmax({sets[i].size(), sets[j].size()});
      if (static_cast<double>(small) < min_jaccard * static_cast<double>(large)) continue;
      if (jaccard(sets[i], sets[j]) < min_jaccard) continue;
      const std::string a = root(writers[i]);
      const std::string b = root(writers[j]);
      parent[std::max(a, b)] = std::min(a, b);
    }
  }
  std::vector<std::string> clusters;
  for (const auto& writer : writers) clusters.push_back(root(writer));
  return clusters;
}

std::vector<std::optional<size_t>> earlier_duplicates(std::span<const std::string> first,
                                                      std::span<const std::string> second) {
  FARE_CHECK(first.size() == second.size(), "pairs need two texts");
  std::map<std::pair<std::string, std::string>, size_t> seen;
  std::vector<std::optional<size_t>> duplicates;
  for (size_t i = 0; i < first.size(); ++i) {
    const auto [place, is_new] = seen.emplace(std::make_pair(first[i], second[i]), i);
    duplicates.push_back(is_new ? std::nullopt : std::optional<size_t>(place->second));
  }
  return duplicates;
}

}  // namespace fare
