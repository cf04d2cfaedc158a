// What the model does with the prompts of the generation study, under no edits and under each candidate: the mass it
// puts on the attributes at the critical position, and the texts it writes. Finished units are rows of the store.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "fare/core/progress.h"
#include "fare/diagnosis/transfer_prompts.h"
#include "fare/routing/intervention.h"
#include "fare/scoring/scorer.h"
#include "fare/store/store.h"
#include "fare/tokenizer/tokenizer.h"

namespace fare {

// The next token at the critical position of one prompt. Ranks count from 1; a side's rank and gap are those of its
// most probable token.
struct CriticalPosition {
  double stereo_mass = 0, anti_mass = 0;  // probability of the tokens that begin each side
  int64_t stereo_rank = 1, anti_rank = 1;
  double stereo_gap_nats = 0, anti_gap_nats = 0;  // log-probability of the arg-max minus that of the side; 0 or more
  bool in_top5() const { return std::min(stereo_rank, anti_rank) <= 5; }
};

struct WrittenText {
  std::vector<int32_t> ids;  // end token included
  std::string text;
  bool ended = false;              // by an end token, not by the number of tokens
  double base_nats_per_token = 0;  // negative log-likelihood per token under the model without edits
};

// How texts are written.
struct Decoding {
  int64_t samples = 1;
  Sampling sampling;
  int64_t max_new_tokens = 64;
  std::string name() const;  // "greedy-64", "5-t0.7-p0.95-64": part of the row key
};

class TransferRuns {
 public:
  // `store` may be null. Everything referenced must outlive this object.
  TransferRuns(const Scorer& scorer, const Tokenizer& tokenizer, const TransferPrompts& prompts, Store* store,
               uint64_t seed, const Progress& progress);

  // [intervention][item]; a null intervention is the model without edits. `items`: prompts with has_mass().
  std::vector<std::vector<CriticalPosition>> critical(std::span<const int64_t> items,
                                                      std::span<const Intervention* const> interventions);

  // [item][sample]. Texts of equal prompt, sample and step share their noise token by token whatever the intervention.
  std::vector<std::vector<WrittenText>> write(std::span<const int64_t> items, const Decoding& decoding,
                                              const Intervention* intervention);

  int64_t rows_computed() const { return rows_computed_; }  // rows times layers
  const Tokenizer& tokenizer() const { return tokenizer_; }
  const std::vector<int32_t>& end_tokens() const { return end_tokens_; }

 private:
  void critical_batch(std::span<const int64_t> items, std::span<const Intervention* const> interventions,
                      std::span<std::vector<CriticalPosition>> out);
  std::vector<std::vector<WrittenText>> write_batch(std::span<const int64_t> items, const Decoding& decoding,
                                                    const Intervention* intervention);
  std::string unit_name(const std::string& task, std::span<const int64_t> items,
                        const Intervention* intervention) const;

  const Scorer& scorer_;
  const Tokenizer& tokenizer_;
  const TransferPrompts& prompts_;
  Store* store_;
  const uint64_t seed_;
  const Progress& progress_;
  std::string fingerprint_;
  std::set<std::string> finished_;
  std::vector<int32_t> end_tokens_;
  int64_t rows_computed_ = 0;
};

}  // namespace fare
