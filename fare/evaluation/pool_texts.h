// Texts for a pool's prompts, written in units that the store keeps; what it already holds is not written again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/core/progress.h"
#include "fare/evaluation/pool_scores.h"

namespace fare {

struct TextOptions {
  int64_t max_length = 0;  // context length L
  int64_t unit_rows = 4096;
  uint64_t seed = 0;
};

// Fills `scores.texts`, one per prompt, and adds receipt and units to `scores`. Prompts of a task with the same
// settings make units of up to 32. `intervention` and `store` may be null. Greedy or one sample; stop texts are those
// of the settings and the tokenizer's end-of-text string. Throws what generate() throws, naming the task, and
// Interrupted between units.
void write_pool_texts(const Model& model, const Tokenizer& tokenizer, const RequestPool& pool,
                      const std::vector<std::string>& task_names, const Intervention* intervention,
                      const TextOptions& options, Store* store, const Progress& progress, PoolScores& scores);

// A prompt's `item` in the store: a hash of what decides about its text besides the model, the edits and the seed; and
// the text from the row's value.
std::string text_item(const PooledPrompt& prompt);
GeneratedText text_from(const Json& json);

}  // namespace fare
