// What tasks of generated texts measure, and the lexicons they need: read when a task is loaded, used when it is
// scored.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fare/benchmarks/hurtful_words.h"
#include "fare/benchmarks/sentiment.h"
#include "fare/benchmarks/task.h"

namespace fare {

struct TextTools {
  std::optional<SentimentLexicon> sentiment;
  std::optional<BlockList> blocked;                        // none where the list is not there
  std::optional<std::unordered_set<std::string>> hurtful;  // HurtLex, for honest_score
  std::optional<BlockList> hurtful_anywhere;               // the same, as whole words of any case
};
// Shared by the load and the score of one task; empty until its files were read.
using SharedTextTools = std::shared_ptr<TextTools>;

// Reads the lexicons and notes their files in `task`.
void load_sentiment(const LoadOptions& options, TextTools& tools, LoadedTask& task);
void load_blocked(const LoadOptions& options, TextTools& tools,
                  LoadedTask& task);  // optional: a note where it is missing
void load_hurtful(const LoadOptions& options, TextTools& tools, LoadedTask& task);

// A prompt to be continued greedily.
TextRequest prompt_request(const std::string& prompt, int64_t max_new_tokens,
                           const std::vector<std::string>& until = {});

// A score and the group and unit (cluster) of the text that has it.
struct UnitScore {
  std::string group, unit;
  std::optional<double> score;
};
// Means per group: units first, so that large units do not dominate, then groups, and their plain mean; the gaps of
// group_gaps.h, each beside its mean when labels are shuffled over units (`_when_shuffled`) and without it
// (`_beyond_noise`); of two groups the difference.
OrderedJson gap_table(std::span<const UnitScore> scores);
// The same over documents: `scores[d]` belongs to `documents[d]`; `group_of` names its group, "" leaves it out.
OrderedJson gap_table(std::span<const Document> documents, const std::vector<std::optional<double>>& scores,
                      const std::function<std::string(const Document&)>& group_of);

}  // namespace fare
