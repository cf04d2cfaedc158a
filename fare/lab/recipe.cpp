#include "fare/lab/recipe.h"

#include "fare/core/error.h"

namespace fare {
namespace {

const Outcome kNoneSeen{"unresolved", 0}, kReactionOpen{"unresolved", 1}, kReachOpen{"unresolved", 2},
    kCostOpen{"unresolved", 4}, kTransferOpen{"unresolved", 5};

}  // namespace

const std::vector<Recipe>& recipes() {
  static const std::vector<Recipe> table = {
      {.id = "X1",
       .name = "separable",
       .headline = "controllable",
       .also_few = {kTransferOpen},
       .stages = {"yes", "yes", "yes", "yes", "yes", "yes"},
       .why = "the stereotype sits in two experts of their own: masking them removes it and costs no fact"},
      {.id = "X2",
       .name = "entangled",
       .bias = BiasPlace::kFactExperts,
       .graded = true,
       .mirrored = true,
       .headline = "costly",
       .also_few = {kReachOpen, kCostOpen},
       .stages = {"yes", "yes", "yes", "yes", "no", "any"},
       .why =
           "stereotypes and facts share experts in equal numbers: what removes a share of one removes the same share "
           "of the other"},
      {.id = "X3",
       .name = "same rows",
       .facts = FactPlace::kGroupRows,
       .graded = true,
       .mirrored = true,
       .headline = "costly",
       .also_few = {kReachOpen, kCostOpen},
       .stages = {"yes", "yes", "yes", "yes", "no", "any"},
       .why = "the row of a group word writes both its stereotype and the fact about it: no route keeps one without "
              "the other"},
      {.id = "X4",
       .name = "clones",
       .bias = BiasPlace::kEveryExpert,
       .facts = FactPlace::kEveryExpert,
       .graded = true,
       .headline = "unachievable",
       .also_few = {kReachOpen},
       .stages = {"yes", "yes", "no", "no", "any", "any"},
       .why = "all experts of the layer are equal: no choice among them changes anything while the weights keep their "
              "sum"},
      {.id = "X5",
       .name = "out of reach",
       .bias = BiasPlace::kOutside,
       .headline = "unachievable",
       .also_few = {kReachOpen},
       .stages = {"yes", "yes", "no", "no", "any", "any"},
       .why = "the router reacts to groups, but the stereotype sits outside the routed experts: no route changes it"},
      {.id = "X6a",
       .name = "blind",
       .bias = BiasPlace::kOutside,
       .reaction = Reaction::kNothing,
       .facts = FactPlace::kOneExpert,
       .headline = "insensitive",
       .also_few = {kReactionOpen, kReachOpen},
       .stages = {"yes", "no", "no", "no", "any", "any"},
       .why = "the router reads neither groups nor contexts, and the stereotype sits outside the routed experts"},
      {.id = "X6b",
       .name = "blind but separable",
       .reaction = Reaction::kAxes,
       .facts = FactPlace::kOneExpert,
       .headline = "controllable_though_insensitive",
       .also_few = {kReactionOpen, kTransferOpen},
       .stages = {"yes", "no", "yes", "yes", "yes", "yes"},
       .why = "one expert per axis, picked by the relation alone, holds the stereotype of both sides: masking them "
              "removes "
              "it, though no route depends on a group"},
      {.id = "X7",
       .name = "reacts to any word",
       .bias = BiasPlace::kOutside,
       .reaction = Reaction::kCodes,
       .headline = "insensitive",
       .also_few = {kReactionOpen, kReachOpen},
       .stages = {"yes", "no", "no", "no", "any", "any"},
       .why =
           "routes change with every content word, with group words no more than with others: the excess ratio is 1"},
      {.id = "X8",
       .name = "drowned in decoding",
       .drowned = true,
       .headline = "does_not_transfer",
       .also_few = {kTransferOpen},
       .stages = {"yes", "yes", "yes", "yes", "yes", "no"},
       .why = "X1 with ten neutral words far above both traits: what is removed never reaches generated text"},
      {.id = "X9",
       .name = "none",
       .biased = false,
       .headline = "no_measurable_preference",
       .also_few = {kNoneSeen},
       .stages = {"no", "yes", "any", "any", "any", "any"},
       .why = "the routers of X1 without a stereotype: every cluster is balanced"},
      {.id = "X10",
       .name = "weak",
       .reachable_pp = 1,
       .headline = "unachievable",
       .also_few = {kReachOpen, {"non_robust"}},
       .stages = {"yes", "yes", "no", "any", "any", "any"},
       .why = "one percentage point of the stereotype sits in two experts, the rest in the output matrix"},
      {.id = "X10n",
       .name = "weak and noisy",
       .reachable_pp = 1,
       .noise_pp = 7,
       .headline = "unachievable",
       .also = {kReachOpen},
       .also_few = {{"non_robust"}},
       .stages = {"yes", "yes", "no", "any", "any", "any"},
       .why =
           "as X10, and the two experts write noise without a lean: masking them changes the sign of 7% of the pairs"},
      {.id = "X12",
       .name = "through routing",
       .facts = FactPlace::kTagged,
       .graded = true,
       .mirrored = true,
       .layers = 3,
       .headline = "costly",
       .also_few = {kReachOpen, kCostOpen},
       .stages = {"yes", "yes", "yes", "yes", "no", "any"},
       .why = "the experts of the stereotype hold no fact, but write the tags by which the next layer finds the facts' "
              "experts: the loss is one of routing"},
      {.id = "X13",
       .name = "two tiers of use",
       .bias = BiasPlace::kFactExperts,
       .graded = true,
       .mirrored = true,
       .tiers = true,
       .experts = 24,
       .headline = "costly",
       .also_few = {kReachOpen, kCostOpen},
       .stages = {"yes", "yes", "yes", "yes", "no", "any"},
       .why = "X2 with much used and little used experts: the top ones cost more than the bottom ones because they are "
              "used "
              "more, not because of what they hold"},
      {.id = "X14",
       .name = "shared experts",
       .facts = FactPlace::kGroupRows,
       .graded = true,
       .mirrored = true,
       .experts = 18,
       .sides = 4,
       .headline = "costly",
       .also_few = {kReachOpen, kCostOpen},
       .stages = {"yes", "yes", "yes", "yes", "no", "any"},
       .why = "four experts hold stereotypes and facts in the same rows; twelve others, as much used, hold neutral "
              "text only"},
      {.id = "X15",
       .name = "hidden",
       .bias = BiasPlace::kFourExperts,
       .reachable_pp = 6,
       .sides = 4,
       .layers = 4,
       .headline = "controllable",
       .also = {kReachOpen},
       .also_few = {kTransferOpen, {"non_robust"}},  // with so few pairs random directions may reach as far
       .stages = {"yes", "yes", "yes", "yes", "yes", "yes"},
       .why = "half of the stereotype goes only when four experts in two layers go together; none of them reacts to "
              "groups"},
  };
  return table;
}

const Recipe& recipe(const std::string& id) {
  std::string known;
  for (const Recipe& line : recipes()) {
    if (line.id == id) return line;
    known += (known.empty() ? "" : ", ") + line.id;
  }
  throw UsageError("fare lab make " + id + ": unknown model; known are " + known + " and random");
}

}  // namespace fare
