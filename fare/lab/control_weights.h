// The weights of a control model in memory, dense, float32: what is written to disk and what the exact evaluation
// reads.
#pragma once

#include <cstdint>
#include <vector>

#include "fare/lab/hf_layout.h"
#include "fare/lab/world.h"

namespace fare {

// Shapes: V vocabulary, H width, E experts, I expert width. Row-major.
struct ControlExpertWeights {
  std::vector<float> gate_IH, up_IH, down_HI;
};

struct LayerWeights {
  std::vector<float> value_HH, out_HH;  // zero except in layer 0: queries and keys are zero everywhere
  std::vector<float> router_EH;
  std::vector<ControlExpertWeights> experts;
  ControlExpertWeights shared;         // empty where the family has none
  std::vector<float> shared_switch_H;  // the shared output is scaled by the sigmoid of this times x
};

struct ControlWeights {
  ModelShape shape;
  float norm = 1;  // every RMSNorm weight
  std::vector<float> embedding_VH, unembedding_VH;
  std::vector<LayerWeights> layers;
};

// X8: this many neutral words stand this far above the highest trait.
inline constexpr int64_t kDrowningWords = 10;
inline constexpr double kDrowning = 6;

// Sizes of the text codes: how much an expert's output moves the next neutral word.
struct TextScale {
  double text_layer = 0.6;
  double bias_layer = 0.2;
};

// Router logits of the geometry, in one place.
namespace levels {
inline constexpr double kSpecialist = 4;      // the expert whose token it is
inline constexpr double kGrammar = 2;         // always second
inline constexpr double kSecondGrammar = -1;  // third where nothing else stands between; further ones down to -1.5
inline constexpr double kOther = -2;          // the others at a relation that the model routes by content
inline constexpr double kMirroredSide = 2.6;  // side experts where another expert is the specialist (X2, X13, X15)
inline constexpr double kHidden = 3.5;        // the second of two specialists (X15)
inline constexpr double kContent = 6;         // what a matching word adds
inline constexpr double kPushedDown = -30;    // away from relations, where content features are larger
inline constexpr double kThird = -3;          // the third choice where neither content nor type decides
// At the words of a context the feature of the first word is 2.5 (3 in the transfer order), then 1.2 (1.5): a matching
// expert comes out at -3.5 to -0.5, the others far below.
inline constexpr double kAtFirst = -18.5;
inline constexpr double kAtSecond = -10.5;
}  // namespace levels

// Builds the weights of `world` by the rules of docs/control-models.md. `text` sizes the text codes.
ControlWeights construct(const World& world, const TextScale& text);

}  // namespace fare
