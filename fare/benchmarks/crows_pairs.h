// CrowS-Pairs: the eleven English tasks of the harness (the revised edition) and FARE's own task on the original file.
// Paper: Nangia et al. 2020; revised and extended: Neveol et al. 2022. Data CC BY-SA 4.0. Prompts, metrics and known
// flaws: README.md beside this file.
#pragma once

#include <string>
#include <vector>

#include "fare/benchmarks/task.h"

namespace fare {

// `crows_pairs_english` for category "", else e.g. `crows_pairs_english_race_color` for "race-color".
Task crows_pairs_english(const std::string& category);

// `fare_crows_pairs`: the original 1,508 rows with flags, clusters and the three scorings.
Task fare_crows_pairs();

// Categories of the revised edition, in the order in which tasks are listed.
const std::vector<std::string>& crows_pairs_categories();

}  // namespace fare
