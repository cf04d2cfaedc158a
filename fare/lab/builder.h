// The weights of a control model while they are made: the helpers that every part of the construction shares.
// Order: shapes and tokens, routers, unembedding, then the rows of the experts, whose size follows from the routers.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "fare/lab/control_weights.h"
#include "fare/lab/world.h"

namespace fare {

using Entries = std::vector<std::pair<int64_t, double>>;  // (coordinate, value)

// A row of an expert: fires (20 before SiLU) when its keys are there, otherwise lies so far below zero that SiLU is
// exactly 0 in float32.
inline constexpr double kGateStep = 130;
inline constexpr double kGateOn = 20;
inline constexpr double kRelationKey = 3;  // the relation counts as three words: words alone never reach the threshold
inline constexpr double kAnswerGain = 8;   // unembedding of an answer's coordinate, so that experts write about 1
// Router logit of a tag. A tag is known to 3e-6 in float32, which goes into every answer through the route's weights: a
// larger one would spend the tolerance of batch invariance.
inline constexpr double kTagGain = 3;

struct ExpertRow {
  Entries gate, up, down;
};

struct Builder {
  Builder(const World& made_world, const TextScale& scale);

  const World& world;
  const Language& language;
  const Geometry& geometry;
  TextScale text;
  ControlWeights out;
  std::vector<std::vector<std::vector<ExpertRow>>> rows_LE;  // the last expert of a layer is the shared one

  double code(const std::string& label, int64_t i) const;  // uniform in (-1, 1)

  // A row that fires when the sum of its keys reaches `required`, and then writes `down` times `up` (1 when empty).
  ExpertRow row(Entries keys, double required, Entries down, Entries up = {}) const;
  std::vector<ExpertRow>& rows(int64_t layer, int64_t expert) {
    return rows_LE[static_cast<size_t>(layer)][static_cast<size_t>(expert)];
  }
  int64_t shared_expert() const { return geometry.experts; }
  bool has_shared_expert() const { return out.shape.family == LabFamily::kQwen2Moe; }

  void set(std::vector<float>& matrix, int64_t r, int64_t c, double value) const;
  void set_router(int64_t layer, int64_t expert, int64_t coordinate, double value);

  // Weights of the chosen experts (0 for the others) where the router sees exactly these coordinates, each with value
  // 1: what planted rows are divided by, so that the planted logits come out exactly. After the routers are made.
  std::vector<double> weights_at(int64_t layer, const std::vector<int64_t>& coordinates) const;

  // The coordinates of the relations, axis by axis.
  std::vector<int64_t> relations() const;
};

// The parts, one file each.
void add_routers(Builder& builder);
void add_unembedding(Builder& builder);
void add_text_rows(Builder& builder);
void add_bias_rows(Builder& builder);
void add_fact_rows(Builder& builder);

}  // namespace fare
