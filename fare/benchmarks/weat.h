// Word Embedding Association Test (Caliskan et al. 2017) and its sentence form SEAT (May et al. 2019): word lists and
// the effect size. Knows no model: the vectors of the words are given.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace fare {

struct WeatList {
  std::string category;
  std::vector<std::string> examples;
};

// Two lists of targets and two of attributes.
struct WeatTest {
  WeatList targ1, targ2, attr1, attr2;
};

// Throws IoError, FormatError (a list that is missing, empty or no list of texts).
WeatTest read_weat(const std::filesystem::path& path);

using Vectors = std::vector<std::vector<double>>;

// Cohen's d of the association s(w) = mean cos(w, attr1) - mean cos(w, attr2) between the two target sets, over the
// standard deviation (sample form) of s over all targets. None where s does not vary.
// Throws UsageError for an empty set, unequal lengths or a vector of length zero.
std::optional<double> weat_effect_size(const Vectors& targ1, const Vectors& targ2, const Vectors& attr1,
                                       const Vectors& attr2);

}  // namespace fare
