// T-MOD: a model without a lean, then two experts that hold the stereotype.
#pragma once

#include <filesystem>

#include "fare/training/trainer.h"

namespace fare {

inline constexpr int64_t kExtra = 2;  // one expert a side, in each of the last two layers

// Trains both stages and writes stage 1 into folder/stage1, the whole into `folder`. The trainer has kExtra extra
// experts.
TrainedSummary train_modular(Trainer& trainer, const std::filesystem::path& folder);

}  // namespace fare
