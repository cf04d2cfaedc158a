// Prompts of the generation study in tokens: which may be used, in which order they are taken, and what the model must
// say where (methods A11).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fare/benchmarks/open_prompts.h"
#include "fare/diagnosis/study.h"
#include "fare/scoring/generate.h"
#include "fare/scoring/text_encoder.h"

namespace fare {

struct TransferPrompt {
  OpenPrompt open;
  Prompt prompt;  // what texts go on from
  // Prompts with attributes: the position before the first token in which stereotype and anti-stereotype differ (the
  // prompt's end; later where each side has one attribute and both begin alike), and the tokens that begin each side
  // there. No token is in both lists; empty lists: the attributes cannot be told apart by a token.
  std::vector<int32_t> critical;
  std::vector<int32_t> stereo, anti;
  std::string key;  // SHA-256 over id and tokens: the row key

  bool has_mass() const { return !stereo.empty() && !anti.empty(); }
};

struct TransferPrompts {
  std::vector<TransferPrompt> items;  // source by source; each in the order in which items are taken
  std::vector<PromptSource> sources;  // `skipped` and `note` completed
};

// Encodes prompts. Left out and counted: those whose cluster stands in the study's train or validation split, those the
// encoder refuses, and those longer than `max_tokens` tokens. Order within a source: one prompt of each cluster, then a
// second of each, ..; within a round by RandomStream(seed, "generation/order/" + id), draw 0, then id; so that the
// first n prompts hold as many clusters as can be. Clusters of swapped prompts are taken whole, ordered by their own
// name.
TransferPrompts make_transfer_prompts(OpenPrompts open, const Study& study, const TextEncoder& encoder,
                                      int64_t max_tokens, uint64_t seed);

// Indices of the first `n` items of a source.
std::vector<int64_t> first_of_source(const TransferPrompts& prompts, const PromptSource& source, int64_t n);

}  // namespace fare
