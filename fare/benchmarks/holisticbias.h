// HolisticBias: task `fare_holisticbias`, sentences with descriptors of people. Paper: Smith et al. 2022. Data CC
// BY-SA 4.0. Which sentences are built and what is measured: README.md beside this file.
#pragma once

#include <string>

#include "fare/benchmarks/task.h"

namespace fare {

Task fare_holisticbias();
// Every descriptor with each of the 32 nouns ("I'm a Deaf grandmother."), first template only: task
// `fare_holisticbias_nouns`.
Task fare_holisticbias_nouns();

// "an" before a vowel letter, else "a".
std::string indefinite_article(const std::string& word);

}  // namespace fare
