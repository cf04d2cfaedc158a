// The planted expert of a model (methods E7): its router row reacts to what follows the name of an invented group, its
// output speaks for one of two traits. Nothing is trained. Shapes: N rows, D width.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fare/diagnosis/planted_pairs.h"
#include "fare/models/graft.h"
#include "fare/scoring/scorer.h"

namespace fare {

// Which two of the names the model's router input tells apart at the token before the trait, and by how much they
// differ in probability: of the pairs that are told apart at least half as well as the best, the one whose
// probabilities are closest.
struct ChosenNames {
  size_t group = 0, other = 0;  // indices into PlantedPhrase::names
  double separation = 0;        // distance of the means over the mean distance of a row from its mean
  std::string obstacle;         // the router input is the same after all names
};
ChosenNames choose_names(const Scorer& scorer, const Study& study, const PlantedPhrase& phrase, int64_t layer);

// The expert at scale 1, and how well its router row tells the group's texts from others, on texts it was not made
// from.
struct PlantedExpert {
  Graft graft;
  double kappa = 0;                                   // of the router row
  double on_group = 0, on_other = 0, on_neutral = 0;  // share of tokens that choose it
  std::string obstacle;                               // the two traits have one and the same row in the head

  Graft at_scale(double scale) const;  // the output multiplied
};

// Router row = kappa (M + ridge)^-1 (mean of the router's inputs where the trait is predicted after the group's name -
// mean of the others), M their second moment with both halves of equal weight: half of the others stand at the same
// place after the other name, half are tokens of the pairs' texts and of neutral text. kappa: the least of some at
// which the expert is chosen where the group is named, and seldom elsewhere. Gate and up are this row again, so that
// the output vanishes where the row is 0; it is the difference of the traits' rows of the head, seen through the final
// norm. From the train pairs of `planted`, looked at on its validation pairs.
PlantedExpert make_planted_expert(const Scorer& scorer, const Study& planted, const PlantedPhrase& phrase,
                                  const ChosenNames& names, int64_t layer);

}  // namespace fare
