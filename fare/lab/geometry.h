// Where everything lies in the residual stream of a control model, and which expert has which task.
//
// H coordinates: the constant (C in every embedding), one per kind of current token, one per content word (layer 0 adds
// up the content words seen so far), and the places that experts write to. docs/control-models.md draws it.
#pragma once

#include <cstdint>
#include <vector>

#include "fare/lab/control_options.h"
#include "fare/lab/language.h"

namespace fare {

// RMSNorm divides by sqrt(C^2 + |rest|^2): constant up to |rest|^2 / (2 C^2). With the norm weight C / sqrt(H) its
// output is the stream itself.
inline constexpr double kConstant = 256;

// Kinds of current token; those with an axis or a filler type follow in rows of their own.
enum class Kind { kBegin, kOpener, kPlace, kFirst, kSecond, kFact, kPlain, kAnswer };
inline constexpr int64_t kNumKinds = 8;

struct Geometry {
  // `options` as checked_options returns them.
  Geometry(const Language& language, const ControlOptions& options);

  Roles roles;  // the same in every layer
  int64_t experts, top_k, layers;
  int64_t bias_layer;  // reacts to groups; holds the stereotype where experts hold it
  int64_t fact_layer;  // where the facts' experts are
  // The experts that hold the stereotype where it sits in experts of their own (else those that react), and their
  // layers.
  std::vector<int64_t> planted;
  std::vector<int64_t> planted_layers;
  int64_t readout_layer = -1;  // X15: where all experts alike turn what the planted ones write into the stereotype

  bool is_text_layer(int64_t layer) const;  // holds neutral text only, does not look at content
  // The side expert that reacts to a group word, by its number.
  int64_t side_expert(int64_t group) const;
  int64_t fact_expert(int64_t first) const { return roles.class_expert(first); }  // by the first word of the entity

  // Coordinates.
  int64_t constant() const { return 0; }
  int64_t kind(Kind k) const { return 1 + static_cast<int64_t>(k); }
  int64_t relation(int64_t axis) const { return 1 + kNumKinds + axis; }  // current token is TRAIT of that axis
  int64_t type(int64_t t) const { return types_ + t - 1; }               // current token is a filler, t >= 1
  int64_t group(int64_t number) const { return groups_ + number; }       // content
  int64_t slot(int64_t k) const { return slots_ + k; }                   // content
  int64_t determiner(int64_t k) const { return determiners_ + k; }       // content
  int64_t first(int64_t k) const { return firsts_ + k; }                 // content
  int64_t second(int64_t k) const { return seconds_ + k; }               // content
  int64_t content_begin() const { return groups_; }
  int64_t content_end() const { return bias_; }
  int64_t bias() const { return bias_; }                              // written by experts
  int64_t answer(int64_t k) const { return bias_ + 1 + k; }           // written by experts
  int64_t text(int64_t k) const { return bias_ + 1 + kAnswers + k; }  // written by experts
  int64_t tag(int64_t k) const { return text(kTextDims) + k; }  // X12: one per fact expert; X15: tag(0) counts the four
  static constexpr int64_t kTextDims = 4;

  int64_t used;    // coordinates in use
  int64_t hidden;  // H: `used` rounded up to a multiple of 16

 private:
  bool by_axis_;
  int64_t num_reacting_, num_axes_;
  int64_t types_, groups_, slots_, determiners_, firsts_, seconds_, bias_;
};

}  // namespace fare
