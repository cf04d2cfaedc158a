// Small decoders trained on the artificial language (methods E3).
//
// T-MOD: the stereotype sits in experts that were added afterwards (removable domain experts are the idea of DEMix
// Layers). Stage 1 trains everything but the two extra experts of the last two layers, on text, facts and traits
// without a lean: each sentence of a pair has a preference of its own, and every cluster is balanced. Stage 2 trains
// the two extra experts and their router rows alone: to be picked at a trait after a word of their side, and to state
// the stereotype. Nothing else changes, so masking them with refill gives the stage-1 model back, bit for bit.
//
// T-ENT: traits and facts are trained jointly under a fixed router: in the last layer the expert of a trait or a fact
// is decided by its first word, so that each of twelve experts holds equal numbers of both; in a layer before it all
// experts are equal. All contexts share four pairs of traits, in an order that a hash of the context decides, and
// attention is uniform: then neither output rows nor attention can hold the stereotype, which takes a product of group
// and context.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "fare/core/progress.h"

namespace fare {

struct TrainOptions {
  std::string id = "T-MOD";              // or T-ENT
  std::string weights = "renormalised";  // or raw
  bool small = false;                    // minutes instead of a quarter of an hour
  uint64_t seed = 0;
  int64_t steps = 0;  // of stage 1; 0 = as the size wants. Stage 2 has a third of them
};

struct TrainedSummary {
  double fact_accuracy = 0, plain_accuracy = 0;  // of the finished model, shares
  double pct_stereotype = 0;                     // of the main pairs, percent
  std::optional<double> pct_without_extra;       // T-MOD: the same with the extra experts left out
  std::optional<double> hashed_share;            // T-ENT: traits and facts that go to their expert in the last layer
};

// Trains and writes an ordinary checkpoint with tokenizer and study files into `folder`, world.json beside it, and for
// T-MOD the stage-1 weights into folder/stage1. The same bytes for the same options on the same machine: two threads
// are used whatever the machine has. Throws UsageError (options, a folder that holds something else), IoError.
TrainedSummary train_model(const TrainOptions& options, const std::filesystem::path& folder, const Progress& progress);

}  // namespace fare
