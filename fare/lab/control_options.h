// What a person can ask of a control model, and the recipes there are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fare/lab/hf_layout.h"

namespace fare {

// Where the stereotype of a control model sits.
enum class BiasPlace {
  kSideExperts,  // in two experts that the router picks after a group word: one for side A, one for side B
  kFactExperts,  // in the experts that hold the facts, a context and a fact by the same hash
  kUnembedding,  // in the output matrix: outside the reach of routing
};

// One line of the table of control models. A new model is a new line, and a new place or reaction where it needs one.
struct Recipe {
  std::string id;
  std::string name;
  BiasPlace bias = BiasPlace::kSideExperts;
  bool biased = true;         // false: b = 0 and every cluster holds as many positive as negative pairs
  bool graded_facts = false;  // one distractor of each fact stands at U(0, 1) of the gold's logit
  bool mirrored = false;      // facts are routed as traits are: same gaps, same competitors, same side reaction
  std::string headline;                 // the code a right diagnosis gives
  std::vector<std::string> stages;      // answers of stages 0 to 5; "any" where nothing is required
  std::string why;                      // one sentence
};

const std::vector<Recipe>& recipes();
// Throws UsageError with the known ids.
const Recipe& recipe(const std::string& id);

struct ControlOptions {
  std::string id = "X1";
  std::string family = "olmoe";         // olmoe | mixtral
  std::string weights = "renormalised";  // renormalised | raw (raw: olmoe only)
  int64_t pairs = 1508;                 // main pairs; four make a cluster
  int64_t transfer_pairs = 500;         // pairs with another word order
  int64_t facts = 800;                  // utility items that the routed experts answer
  int64_t utility = 5000;               // all utility items, facts included
  int64_t prompts = 1000;               // generation prompts
  int64_t neutral_tokens = 20000;       // words of neutral text
  double bias_pp = 12;                  // planted preference above 50%, in percentage points
  uint64_t seed = 0;
};

// Throws UsageError naming the flag and what is accepted.
void check_options(const ControlOptions& options);

}  // namespace fare
