// Null pairs for data that has none: what the routing of a demographic change is compared with (methods A1).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "fare/diagnosis/study.h"
#include "fare/models/model.h"

namespace fare {

// Word lists, each of words for one group or thing ("MaleTerms"), by name.
using WordLists = std::map<std::string, std::vector<std::string>>;

// The target and attribute lists of the WEAT files weat*.jsonl of a folder; empty where there is no such folder.
// Throws FormatError on a broken file.
WordLists read_word_lists(const std::filesystem::path& folder);

// The one word in which two texts differ: everything else, spaces and marks included, is the same. None where they
// differ in more, or not at all.
struct ChangedWord {
  size_t begin_a = 0, begin_b = 0;  // byte offsets
  std::string a, b;
  std::string left;  // the word before it, lower case; "" at the start
};
std::optional<ChangedWord> changed_word(const std::string& a, const std::string& b);

// Adds nulls of the kinds that the study has none of, up to two for each demographic pair in `pairs` (indices), and
// notes in Study::built_nulls how many were built and why pairs went without.
//   N1  two words u, v of the study's own texts that stand nowhere in a demographic change and in no list, put in the
//       changed word's place; each like the word it replaces: seen after the same word (which stands for the part of
//       speech), same capitals and ending, as many tokens, unigram log-probability within 0.5 nat on the study's texts;
//       the distance of u and v (mean input embeddings) within 10% of the pair's.
//   N2  the changed word and another of a list that holds it: same capitals, as many tokens.
//   N3  each text of the pair and the same text with one phrase exchanged for an equivalent one (paraphrases.h), drawn
//   among
//       those whose words stand in both texts, so that the group stays, and that leave a fed token after the change.
// N1 and N2 need a pair that differs in one word, N3 any pair.
// Deterministic: choices are drawn by (seed, "nulls/N1", "nulls/N2" or "nulls/N3", pair).
void add_null_pairs(Study& study, const TextEncoder& encoder, const Model& model, int64_t max_length,
                    const std::vector<int64_t>& pairs, const WordLists& lists, uint64_t seed);

}  // namespace fare
