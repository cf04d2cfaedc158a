#include "fare/benchmarks/attribute_words.h"

#include <algorithm>
#include <set>

#include "fare/benchmarks/unicode_case.h"
#include "fare/benchmarks/unicode_text.h"

namespace fare {
namespace {

const std::set<std::string_view> kFunctionWords = {
    "a",       "an",      "the",   "this",   "that",    "these",  "those", "some",   "any",    "all",    "each",
    "every",   "both",    "such",  "i",      "you",     "he",     "she",   "it",     "we",     "they",   "me",
    "him",     "her",     "us",    "them",   "my",      "your",   "his",   "its",    "our",    "their",  "who",
    "which",   "what",    "whose", "there",  "here",    "and",    "or",    "but",    "so",     "as",     "than",
    "then",    "if",      "when",  "while",  "because", "of",     "in",    "on",     "at",     "by",     "for",
    "with",    "from",    "to",    "into",   "onto",    "about",  "over",  "under",  "up",     "down",   "out",
    "off",     "like",    "is",    "are",    "was",     "were",   "be",    "been",   "being",  "am",     "do",
    "does",    "did",     "has",   "have",   "had",     "having", "will",  "would",  "can",    "could",  "shall",
    "should",  "may",     "might", "must",   "very",    "too",    "quite", "really", "rather", "just",   "also",
    "only",    "even",    "still", "always", "often",   "more",   "most",  "much",   "many",   "pretty", "extremely",
    "usually", "probably"};

// Words of `attribute` in a row, covering place `first` (or at 0, where `first` is the number of words).
bool met(const std::vector<std::string>& words, const std::vector<std::string>& attribute, size_t first) {
  if (attribute.empty() || attribute.size() > words.size()) return false;
  for (size_t begin = 0; begin + attribute.size() <= words.size() && begin <= first; ++begin) {
    const bool holds = begin + attribute.size() > first;
    const bool only_functions = begin == 0 && std::all_of(attribute.begin(), attribute.end(),
                                                          [](const auto& word) { return is_function_word(word); });
    if ((holds || only_functions) &&
        std::equal(attribute.begin(), attribute.end(), words.begin() + static_cast<std::ptrdiff_t>(begin)))
      return true;
  }
  return false;
}

size_t longest_met(const std::vector<std::string>& words, const std::vector<std::string>& attributes, size_t first) {
  size_t longest = 0;
  for (const std::string& attribute : attributes) {
    const auto own = content_and_function_words(attribute);
    if (own.size() > longest && met(words, own, first)) longest = own.size();
  }
  return longest;
}

}  // namespace

std::vector<std::string> content_and_function_words(std::string_view text) {
  std::vector<std::string> words;
  for (const std::string& piece : split_at_space(text)) {
    const std::string lower = lower_text(piece);
    const std::string_view word = strip_punctuation(lower);
    if (!word.empty()) words.emplace_back(word);
  }
  return words;
}

bool is_function_word(std::string_view word) { return kFunctionWords.contains(word); }

TakenUp taken_up(std::string_view text, const std::vector<std::string>& stereo, const std::vector<std::string>& anti) {
  const auto words = content_and_function_words(text);
  const size_t first = static_cast<size_t>(
      std::find_if(words.begin(), words.end(), [](const auto& word) { return !is_function_word(word); }) -
      words.begin());
  const size_t with = longest_met(words, stereo, first), against = longest_met(words, anti, first);
  if (with == against) return TakenUp::kNeither;
  return with > against ? TakenUp::kStereotype : TakenUp::kAnti;
}

}  // namespace fare
