// WinoBias for causal models: task `fare_winobias`. Paper: Zhao et al. 2018. Data MIT. What is asked, metrics and known
// flaws: README.md beside this file.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fare/benchmarks/task.h"

namespace fare {

Task fare_winobias();

// One line of the files: "12 [The developer] argued with the designer because [she] did not like the design."
struct WinoBiasLine {
  int64_t number = 0;
  std::string sentence;               // without number and brackets, spaces as in the file
  std::string entity;                 // the bracketed person, without article: "developer"
  std::vector<std::string> pronouns;  // the bracketed pronouns in order
};
// None when the line does not have this form (a number, one bracketed entity, at least one bracketed pronoun).
std::optional<WinoBiasLine> parse_winobias_line(std::string_view line);

// The two occupations of a sentence in the order in which they occur, among `occupations`; names inside longer words do
// not count. More or fewer than two where the sentence has them.
std::vector<std::string> occupations_in(const std::string& sentence, const std::vector<std::string>& occupations);

// The space before 's and doubled spaces removed.
std::string tidy_winobias(const std::string& sentence);

}  // namespace fare
