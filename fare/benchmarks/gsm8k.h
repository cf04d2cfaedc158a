// GSM8K: task `gsm8k`. Paper: Cobbe et al. 2021. Data MIT. Prompt, filters and known flaws: README.md beside this file.
#pragma once

#include <optional>
#include <string>

#include "fare/benchmarks/task.h"

namespace fare {

Task gsm8k();

// The first number after "#### ", else "[invalid]".
std::string gsm8k_strict(const std::string& text);
// The last number of the text, else "[invalid]".
std::string gsm8k_flexible(const std::string& text);
// What is compared: commas, dollar signs, everything up to the last "#### " and one final full stop removed, lower
// case.
std::string gsm8k_normalised(const std::string& text);
// Numeric equality of two such texts: "18.00" is 18. None where one of them is no number.
std::optional<bool> gsm8k_numbers_equal(const std::string& a, const std::string& b);

}  // namespace fare
