// Continues prompts token by token under an optional intervention. All live texts move together, one pack a step; keys
// and values are kept, and where texts end early the next prompts take their place.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fare/core/progress.h"
#include "fare/core/ranks.h"
#include "fare/models/model.h"
#include "fare/routing/intervention.h"
#include "fare/routing/receipt.h"
#include "fare/scoring/sampling.h"
#include "fare/tokenizer/tokenizer.h"

namespace fare {

struct Prompt {
  std::string id;            // names the random numbers of its texts
  std::vector<int32_t> ids;  // at least one token
};

struct GenerateOptions {
  int64_t max_new_tokens = 256;
  int64_t samples = 1;  // texts per prompt
  Sampling sampling;
  uint64_t seed = 0;
  std::vector<std::string> stop;  // a text ends once it holds one of these, and is cut before it
  std::vector<int32_t> eos;       // a text ends with one of these tokens
  int64_t max_length = 0;         // context length L; 0 = the model's max_positions
  int64_t unit_rows = 4096;       // rows of the cache: prompts and all tokens that texts may still get
};

enum class Finish { kLength, kEos, kStop };
const char* finish_name(Finish finish);  // "length", "eos", "stop"

struct GeneratedText {
  int64_t prompt = 0;              // index into the prompts
  int64_t sample = 0;              // from 0
  std::vector<int32_t> token_ids;  // every token that was chosen, an end token and those of a stop text included
  std::vector<double> token_logprobs_nats;  // of the model as edited, before temperature and truncation
  std::string
      text;  // decoded without special tokens and end token, cut before the first stop text; "" without tokenizer
  Finish finish = Finish::kLength;
  int64_t prompt_tokens = 0;     // fed tokens of the prompt, after truncation
  int64_t truncated_tokens = 0;  // cut from the left to make room for max_new_tokens
};

struct GenerateResult {
  std::vector<GeneratedText> texts;  // prompt by prompt, then sample by sample
  Receipt receipt;                   // rows of a prompt count once for each of its samples
  std::string
      memory_problem;  // what did not fit a device other than the CPU and was generated in smaller caches; or empty
};

// Draws of sample s at step t (from 0) of a prompt: RandomStream(seed, "generate/" + prompt id, s, t), number = token
// id; so texts under different interventions share their noise. An edit's rows: `phase` generated are those fed with
// generated tokens; positions go on counting after the prompt. `tokenizer` may be null when there are no stop texts.
// Throws UsageError (an option out of range), ModelMismatch (a token outside the vocabulary, more new tokens than the
// context length has room for, an intervention that does not fit, or one with force_routes: there is nothing to
// replay), Interrupted between steps.
GenerateResult generate(const Model& model, const Tokenizer* tokenizer, std::span<const Prompt> prompts,
                        const GenerateOptions& options, const Intervention* intervention = nullptr,
                        const Progress& progress = {});

// The same, to the last bit, with each part of the prompts (a few caches' worth) continued by one of several ranks; on
// every rank.
GenerateResult generate_divided(const Model& model, const Tokenizer* tokenizer, std::span<const Prompt> prompts,
                                const GenerateOptions& options, const Intervention* intervention, Ranks& ranks,
                                const Progress& progress = {});

// Tokens that end a text: eos_token_id of generation_config.json, else of config.json (an integer or a list); none
// where neither has one. Throws FormatError.
std::vector<int32_t> end_tokens(const Checkpoint& checkpoint);

}  // namespace fare
