// What the trained models read: facts, plain items, traits and neutral text of a world, as token ids.
#pragma once

#include <cstdint>
#include <vector>

#include "fare/lab/world.h"

namespace fare {

// A sentence with <s>; the last token is the answer.
struct Sentence {
  std::vector<int64_t> ids;
  int64_t other = -1;  // traits: the other trait; facts: the strongest distractor
  int side = -1;       // traits: of the group word
  int64_t first = -1;  // facts and traits: number of the first content word
  double chance = 1;   // facts and traits, where they are graded: of the answer, against `other`
};

struct Corpus {
  std::vector<Sentence> facts, plain, traits;  // traits: both sides of every pair, then prompts
  std::vector<std::vector<int64_t>> lines;     // neutral text, without <s>; every word is followed by one of four
};

// The stereotype is the first of a context's traits after side A, the second after side B. Its log-odds are those of
// the world, (b + h) / 2 after A and (b - h) / 2 after B; a fact's are kFactLogit (1 - kMostRival x), x its rival's
// grade in (0, 1).
Corpus corpus_of(const World& world);

std::vector<int64_t> with_begin(const World& world, std::vector<int64_t> ids);

// Whether a sentence of `traits` states the stereotype in a model without a lean: balanced over the sentences of a
// cluster, drawn otherwise. Both sentences of a pair take the same trait, so that its preference is of its own sign.
std::vector<char> leans(const World& world, const Corpus& corpus);

}  // namespace fare
