// Multiple-choice tasks of general ability, from request files of another project: `arc_easy`, `arc_challenge`, `piqa`,
// `winogrande`, `hellaswag`, `boolq` with the harness's prompts, and `fare_copa`, `fare_csqa`, `fare_openbookqa`,
// `fare_sciq`, `fare_socialiqa` with those of the files. Sources, counts and flaws: README.md beside this file.
#pragma once

#include <string>
#include <vector>

#include "fare/benchmarks/task.h"

namespace fare {

std::vector<Task> utility_tasks();

// The options of a question in the form "Question: Q\n A. x\n B. y\nAnswer:" and Q itself. Throws FormatError naming
// `path` and `where` when there are not `num_options` of them.
struct LetteredQuestion {
  std::string question;
  std::vector<std::string> options;
};
LetteredQuestion parse_lettered_question(const std::string& query, size_t num_options, const std::string& path,
                                         const std::string& where);

// HellaSwag's clean-up of a text: outer white space, " [title]" to ". ", shortest bracketed spans out, two spaces to
// one in one pass. Its query: the activity, then the context with the second part capitalised and otherwise in lower
// case.
std::string hellaswag_text(std::string_view text);
std::string hellaswag_query(const std::string& activity, const std::string& ctx_a, const std::string& ctx_b);

}  // namespace fare
