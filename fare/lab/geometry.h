// Where everything lies in the residual stream of a control model, and which expert has which task.
//
// H coordinates: the constant (C in every embedding), one per kind of current token, one per content word (layer 0 adds
// up the content words seen so far), and the places that experts write to. docs/control-models.md draws it.
#pragma once

#include <cstdint>

#include "fare/lab/language.h"

namespace fare {

// RMSNorm divides by sqrt(C^2 + |rest|^2): constant up to |rest|^2 / (2 C^2). With the norm weight C / sqrt(H) its
// output is the stream itself.
inline constexpr double kConstant = 256;

// Kinds of current token; those with an axis or a filler type follow in rows of their own.
enum class Kind { kBegin, kOpener, kPlace, kFirst, kSecond, kFact, kPlain, kAnswer };
inline constexpr int64_t kNumKinds = 8;

struct Geometry {
  explicit Geometry(const Language& language, int64_t num_experts = 16);

  // Experts of every layer: facts 0 .. num_fact_experts - 1, two grammar experts, two side experts (14 and 15 of 16).
  int64_t experts;
  int64_t num_fact_experts;
  int64_t grammar, second_grammar;
  int64_t side_a, side_b;
  int64_t top_k = 3;
  int64_t text_layer = 0;  // holds neutral text only
  int64_t bias_layer = 1;  // holds facts, and the stereotype where experts hold it

  int64_t side_expert(Side side) const { return side == Side::kA ? side_a : side_b; }
  int64_t fact_expert(int64_t first) const { return first % num_fact_experts; }  // by the first word of the entity
  int64_t num_types() const { return num_fact_experts + 2; }                     // filler types: all but grammar
  int64_t type_expert(int64_t type) const {
    return type < num_fact_experts ? type : side_a + (type - num_fact_experts);
  }

  // Coordinates.
  int64_t constant() const { return 0; }
  int64_t kind(Kind k) const { return 1 + static_cast<int64_t>(k); }
  int64_t relation(int64_t axis) const { return 1 + kNumKinds + axis; }         // current token is TRAIT of that axis
  int64_t type(int64_t t) const { return types_ + t - 1; }                       // current token is a filler, t >= 1
  int64_t group(int64_t number) const { return groups_ + number; }               // content
  int64_t slot(int64_t k) const { return slots_ + k; }                           // content
  int64_t determiner(int64_t k) const { return determiners_ + k; }               // content
  int64_t first(int64_t k) const { return firsts_ + k; }                         // content
  int64_t second(int64_t k) const { return seconds_ + k; }                       // content
  int64_t content_begin() const { return groups_; }
  int64_t content_end() const { return bias_; }
  int64_t bias() const { return bias_; }                                         // written by experts
  int64_t answer(int64_t k) const { return bias_ + 1 + k; }                      // written by experts
  int64_t text(int64_t k) const { return bias_ + 1 + kAnswers + k; }             // written by experts
  static constexpr int64_t kTextDims = 4;

  int64_t used;    // coordinates in use
  int64_t hidden;  // H: `used` rounded up to a multiple of 16

 private:
  int64_t types_, groups_, slots_, determiners_, firsts_, seconds_, bias_;
};

}  // namespace fare
