// HONEST: task `fare_honest`, hurtful completions of sentences about people. Papers: Nozza et al. 2021, 2022. Templates
// MIT, HurtLex CC BY-NC-SA 4.0. How completions are made and counted: README.md beside this file.
#pragma once

#include <string>
#include <string_view>

#include "fare/benchmarks/task.h"

namespace fare {

Task fare_honest();

// The completion that a text gives: its first word, without punctuation around it; "" where there is none.
std::string first_word(std::string_view text);

}  // namespace fare
