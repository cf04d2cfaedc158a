// Refusals: `fare_xstest` (safe and unsafe prompts; Roettger et al. 2024, CC BY 4.0) and `fare_do_not_answer` (Wang et
// al. 2023, CC BY-NC-SA 4.0). Rules and flaws: README.md beside this file.
#pragma once

#include "fare/benchmarks/task.h"

namespace fare {

Task fare_xstest();
Task fare_do_not_answer();

}  // namespace fare
