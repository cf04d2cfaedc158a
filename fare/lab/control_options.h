// What a person can ask of a control model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fare/lab/hf_layout.h"
#include "fare/lab/recipe.h"

namespace fare {

struct ControlOptions {
  std::string id = "X1";
  std::string family = "olmoe";          // olmoe | mixtral | qwen2_moe
  std::string weights = "renormalised";  // renormalised | raw (raw: not mixtral)
  int64_t pairs = 1508;                  // main pairs; four make a cluster
  int64_t transfer_pairs = 500;          // pairs with another word order
  int64_t facts = 800;                   // utility items that the routed experts answer
  int64_t utility = 5000;                // all utility items, facts included
  int64_t prompts = 1000;                // generation prompts
  int64_t neutral_tokens = 20000;        // words of neutral text
  double bias_pp = 12;                   // planted preference above 50%, in percentage points
  // Where the side experts hold the stereotype: the part of bias_pp they hold, and the share of pairs that change sign
  // when their own noise goes. Empty: as the recipe says.
  std::optional<double> reachable_pp, noise_pp;
  int64_t axes = 2;         // 1 to 4
  int64_t trait_pairs = 0;  // LanguageSize::trait_pairs; of trained models, no construction has them
  int64_t experts = 0;      // per layer; 0 = as the recipe says
  int64_t top_k = 3;
  int64_t layers = 0;  // 0 = as the recipe says
  int64_t bias_layer = 1;
  std::vector<int64_t> side_experts;     // which experts hold or react; empty = the last ones
  std::vector<int64_t> grammar_experts;  // which experts are always chosen; empty = those before the side experts
  uint64_t seed = 0;
};

// The line of the table with what the options put in its place.
Recipe made_of(const ControlOptions& options);

// Fills in what the recipe decides and checks everything else. Throws UsageError naming the flag and what is accepted.
ControlOptions checked_options(const ControlOptions& options);

// Who does what among the experts of a layer: every layer has the same roles.
struct Roles {
  std::vector<int64_t> facts, grammar, sides;
  bool tiers = false;

  // Contexts and entities are hashed by their first word into classes, and each class has its expert.
  int64_t num_classes() const;
  int64_t class_expert(int64_t hash) const { return facts[static_cast<size_t>(class_index(hash))]; }
  // Types of neutral words, each with its expert: one per fact expert (two in the upper tier), then one per side
  // expert.
  int64_t num_types() const { return num_fact_types() + static_cast<int64_t>(sides.size()); }
  int64_t type_expert(int64_t type) const;

 private:
  int64_t class_index(int64_t hash) const;
  int64_t num_fact_types() const { return static_cast<int64_t>(facts.size()) * (tiers ? 3 : 2) / 2; }
};

// `options` as checked_options returns them.
Roles make_roles(const ControlOptions& options);

}  // namespace fare
