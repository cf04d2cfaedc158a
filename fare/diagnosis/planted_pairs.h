// Texts for a planted association (methods E7): each pair of the study, followed by a name of an invented group, a word
// that is the same everywhere, and one of two traits.
//
//   "The old man forgot his keys. Zorvan the job"  against  "The young man forgot his keys. Melkin the job"
//
// The planted expert says: after the first name the first trait, not the second. What the study's own sentences add to
// the margin stays in as the noise that a diagnosis of this study has to see through; which of the two comes first
// alternates, so that it prefers neither side.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "fare/diagnosis/study.h"

namespace fare {

// A name with what follows it, in tokens. The last token tells the traits apart; all before it are equal, and the last
// of these, the token at which the trait is predicted, is the same for all names.
struct NamedEnding {
  std::string name;
  std::vector<int32_t> plus, minus;
};

struct PlantedPhrase {
  std::string shared;                 // the word between name and trait: the most frequent of the pairs' texts
  std::string plus, minus;            // traits: words that pairs of the study end with
  int32_t plus_id = 0, minus_id = 0;  // the tokens that tell them apart
  bool invented = true;               // false: the vocabulary is closed, and the names are words of the study's own
  std::vector<NamedEnding> names;     // two or more
  std::string obstacle;               // why there is no such phrase; then all else is empty
};

// Invented names where the tokenizer can spell them, else words of the study that tell no pair's texts apart.
PlantedPhrase planted_phrase(const Study& study, const TextEncoder& encoder);

// The text of a request with an ending behind it.
Request with_ending(const Request& request, const std::vector<int32_t>& ending);

// The study with its pairs replaced by planted ones, one for each, of one axis, "planted", and in the clusters they had
// (split anew with the same seed); utility items as they are; no nulls and no transfer set. Neutral texts get endings
// too, names and traits in turn: an edit of what only the group's name reaches has a dose there, as one of real groups
// has in real text. Within a cluster the four combinations of which text comes first and which trait follows take
// turns; `exchanged` (per pair of the study; empty = none) has the two texts change places, the names and traits not.
// Pairs that are then longer than `max_length` are left out.
Study planted_study(const Study& study, const NamedEnding& group, const NamedEnding& other, int64_t max_length,
                    int64_t vocab_size, uint64_t seed, const std::vector<bool>& exchanged = {});

// Which pairs exchange their texts so that as many planted pairs prefer either side, in each split: of each pair that
// arrangement which brings the count so far closest to one half. `as_is`, `other_way`: whether a pair prefers the
// stereotype (1, 0, or 1/2) in each arrangement, in the order of `planted`'s pairs, of which `part` names the splits.
std::vector<bool> balancing_exchanges(const std::vector<double>& as_is, const std::vector<double>& other_way,
                                      const std::vector<SplitPart>& part);

}  // namespace fare
