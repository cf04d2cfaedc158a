// Likelihood of running text: `fare_wikitext103` (56 encyclopaedia pages) and `fare_c4` (web text), scored whole.
// Definitions and data: README.md beside this file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fare/benchmarks/task.h"

namespace fare {

Task fare_wikitext103();
Task fare_c4();

// A page of the tokenised wiki text as ordinary text: spaces around punctuation and @-@ marks removed.
// Source: the harness's wikitext task.
std::string wikitext_detokenized(std::string page);

// Pieces of `text` between runs of white space, the empty ones at its ends included: what re.split(r"\s+", text) gives.
int64_t count_wikitext_words(const std::string& text);

// Ratios over documents: exp(-ll / words), exp(-ll / bytes), -ll / (bytes ln 2). None without words or bytes.
struct Perplexities {
  double word_perplexity = 0, byte_perplexity = 0, bits_per_byte = 0;
};
std::optional<Perplexities> perplexities(double sum_ll, double num_words, double num_bytes);

}  // namespace fare
