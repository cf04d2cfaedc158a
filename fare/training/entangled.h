// T-ENT: traits and facts share experts in equal numbers.
#pragma once

#include <filesystem>

#include "fare/training/trainer.h"

namespace fare {

inline constexpr int64_t kHashed = 12;  // experts of the last layer that hold traits and facts, by their first word
inline constexpr int64_t kSharedTraits = 4;  // pairs of traits that all contexts share

// Trains and writes into `folder`. The trainer has no extra experts and uniform attention.
TrainedSummary train_entangled(Trainer& trainer, const std::filesystem::path& folder);

}  // namespace fare
