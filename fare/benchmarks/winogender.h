// Winogender: tasks `winogender_all`, `_female`, `_male`, `_neutral`, `_gotcha`, `_gotcha_female`, `_gotcha_male`.
// Paper: Rudinger et al. 2018. Data MIT. Prompt, metrics and known flaws: README.md beside this file.
#pragma once

#include <string>
#include <vector>

#include "fare/benchmarks/task.h"

namespace fare {

// `gotcha`: only sentences in which the pronoun belongs to the occupation and its gender is not the occupation's
// majority's. `gender`: "female", "male", "neutral"; "" = all.
Task winogender(bool gotcha, const std::string& gender);

// All seven, in the order in which tasks are listed.
std::vector<Task> winogender_tasks();

// "{sentence} ‘{Pronoun}’ refers to the", the pronoun's first letter upper-case and the others lower-case.
std::string winogender_prompt(const std::string& sentence, const std::string& pronoun);

}  // namespace fare
