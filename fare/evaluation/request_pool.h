// All requests of an evaluation in tokens, equal ones once, and which document asks which.
#pragma once

#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fare/evaluation/benchmark_set.h"
#include "fare/scoring/generate.h"
#include "fare/scoring/request.h"
#include "fare/tokenizer/tokenizer.h"

namespace fare {

inline constexpr size_t kNoRequest = static_cast<size_t>(-1);

// What became of one text request of a document: indices into RequestPool::requests.
struct PooledRequest {
  // One log-likelihood. Both differ only where a token crosses the border of context and continuation: `compat` cuts by
  // count as the harness does, `fair` scores the prompt's own tokens and gives the continuation every token whose text
  // ends after the border. kNoRequest: there is nothing to score (a text of one token without a start token).
  size_t compat = kNoRequest;
  size_t fair = kNoRequest;
  bool boundary_merge = false;
  std::vector<size_t> windows;   // a text scored whole: its windows, which add up
  bool first_is_bos = false;     // the first token of the first window is the tokenizer's own BOS: `fair` drops it
  std::optional<size_t> prompt;  // a text to be written: index into RequestPool::prompts
};

// A text to be written.
struct PooledPrompt {
  Prompt prompt;
  OrderedJson settings;  // generation.h
  size_t task = 0;
};

struct RequestPool {
  std::vector<Request> requests;                            // ids "TASK/DOC_ID/NUMBER" of the first document that asks
  std::vector<std::string> items;                           // SHA-256 of each request's token ids
  std::vector<std::set<size_t>> tasks;                      // indices of the tasks that ask each request
  std::vector<PooledPrompt> prompts;                        // in the order of the documents
  std::vector<std::vector<std::vector<PooledRequest>>> of;  // [task][document][text request]
};

struct PoolOptions {
  int64_t max_length = 0;  // context length L
  int64_t vocab_size = 0;
  std::optional<int32_t> prefix_token;  // for an empty context; none = the tokenizer's BOS, else its EOS
  bool share = true;                    // off: equal requests of different documents stay apart (edits by request id)
};

// Throws FormatError naming the task and the document whose text cannot be scored: a continuation without a token of
// its own or longer than `max_length`, a text to be scored whole without a token, an empty context without a prefix
// token, an id outside the vocabulary.
RequestPool pool_requests(const BenchmarkSet& set, const Tokenizer& tokenizer, const PoolOptions& options);

}  // namespace fare
