// MMLU: tasks `mmlu_<subject>` (57) and the groups `mmlu`, `mmlu_stem`, `mmlu_humanities`, `mmlu_social_sciences`,
// `mmlu_other`; with answer texts in place of letters `mmlu_<subject>_continuation`, group `mmlu_continuation`. Paper:
// Hendrycks et al. 2021. Prompt, metrics and known flaws: README.md beside this file.
#pragma once

#include <string>
#include <vector>

#include "fare/benchmarks/task.h"

namespace fare {

struct MmluSubject {
  const char* name;   // "abstract_algebra"
  const char* group;  // "stem", "humanities", "social_sciences", "other"
  int64_t num_test;   // questions; every subject has kMmluExamples examples
  const char *test_sha256, *dev_sha256;
};
inline constexpr int64_t kMmluExamples = 5;
// In alphabetical order.
const std::vector<MmluSubject>& mmlu_subjects();

Task mmlu(const MmluSubject& subject);
Task mmlu_continuation(const MmluSubject& subject);

// The question with its four options and "Answer:", the options turned by `rotation` places (option k stands at letter
// (k + rotation) mod 4).
std::string mmlu_question(const std::string& question, const std::vector<std::string>& choices, size_t rotation);

}  // namespace fare
