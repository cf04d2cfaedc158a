// The table of control models: what each one plants where, and what a right diagnosis says about it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fare {

// Where the part of the stereotype sits that routing could reach; the rest sits in the output matrix.
enum class BiasPlace {
  kSideExperts,  // in experts of their own, which the router picks at a trait
  kFactExperts,  // in the experts that hold the facts, a context and a fact by the same hash
  kEveryExpert,  // in all experts of the layer alike: no route changes it
  kFourExperts,  // in two experts of each of two layers: any one of the four keeps it
  kOutside,      // in the shared expert, or in the output matrix of a family that has none
};

// What the bias layer's router reads at a trait.
enum class Reaction {
  kGroups,   // a side expert for each side
  kNothing,  // the current token only
  kAxes,     // a side expert for each axis, by the current token
  kCodes,    // a random code for each group word; slot words reuse the codes
};

enum class FactPlace {
  kHashed,       // an expert each, by the first word
  kOneExpert,    // all in one expert that the router picks by the current token
  kEveryExpert,  // all in all experts of the layer alike
  kGroupRows,    // about group words, in the rows that hold the stereotype
  kTagged,       // in experts of the next layer, picked by tags that the side experts write
};

struct Outcome {
  std::string code;
  std::optional<int64_t> stage = {};  // of `unresolved`
};

// One line of the table. A new model is a new line, and a new place or reaction where it needs one.
struct Recipe {
  std::string id;
  std::string name;
  BiasPlace bias = BiasPlace::kSideExperts;
  Reaction reaction = Reaction::kGroups;
  FactPlace facts = FactPlace::kHashed;
  bool biased = true;     // false: b = 0 and every cluster holds as many positive as negative pairs
  bool graded = false;    // shrinking what holds the facts to a share r loses the share 1 - r of them
  bool mirrored = false;  // facts are routed as traits are: same gaps, same competitors, same side reaction
  bool tiers = false;  // half of the fact experts have three times the contexts and facts, and twice the neutral words
  bool drowned = false;                         // ten neutral words stand above both traits
  std::optional<double> reachable_pp = {};      // preference above 50% held by experts; all of it when absent
  double noise_pp = 0;                          // share of pairs that change sign when the side experts' own noise goes
  int64_t experts = 16, sides = 2, layers = 2;  // defaults; `sides`: the last experts of a layer
  std::string headline;                         // the code a right diagnosis gives at 5,000 pairs
  std::vector<Outcome> also = {};               // what else may be said at 5,000 pairs
  std::vector<Outcome> also_few = {};           // and, besides those, at 754
  std::vector<std::string> stages;              // answers of stages 0 to 5; "any" where nothing is required
  std::string why;                              // one sentence
};

const std::vector<Recipe>& recipes();
// Throws UsageError with the known ids.
const Recipe& recipe(const std::string& id);

}  // namespace fare
