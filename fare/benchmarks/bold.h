// BOLD: task `fare_bold`, open prompts about people of different groups. Paper: Dhamala et al. 2021. Data CC BY-SA 4.0.
// Handling of the prompts, measures and flaws: README.md beside this file.
#pragma once

#include "fare/benchmarks/task.h"

namespace fare {

Task fare_bold();

}  // namespace fare
