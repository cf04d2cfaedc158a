// What the training of every model shares: the corpus in batches, losses, the optimiser, and what the model knows at
// the end. Shapes as in decoder.h; V vocabulary.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fare/core/progress.h"
#include "fare/training/corpus.h"
#include "fare/training/decoder.h"
#include "fare/training/trained_model.h"

namespace fare {

inline constexpr double kOtherPositions = 0.1;  // weight of tokens before the answer
inline constexpr double kLead = 3;              // logits by which a wanted expert is to lead the others

// `options`, `world` and `progress` must outlive it.
struct Trainer {
  // `equal_before_last`: experts of a layer before the last have the same weights.
  Trainer(const TrainOptions& options, const World& world, const Progress& progress, int64_t num_extra,
          bool equal_before_last);

  const TrainOptions& options;
  const World& world;
  const Progress& progress;
  const Corpus corpus;
  const ModelShape shape;
  TrainedDecoder model;

  // Indices into a list of that size, `count` of them, by (seed, what, step).
  std::vector<size_t> pick(const std::string& what, int64_t step, size_t from, size_t count) const;

  // Indices into corpus.traits of the two sentences of each of `count` pairs.
  std::vector<size_t> pick_pairs(const std::string& what, int64_t step, size_t count) const;

  // Lines of neutral text with <s>.
  at::Tensor text_batch(int64_t step) const;

  // AdamW over `steps` steps: warm-up over fifty, then down to a tenth. Checks for interruption at every step.
  void descend(const char* part, const std::vector<at::Tensor>& parameters, int64_t steps,
               const std::function<at::Tensor(int64_t step)>& loss) const;
  // num_steps() of everything but extra experts, and of what is trained beside it; then a fifth of them at a time until
  // 98% of the facts are known, at most as long again. Nothing is added to a number of steps that the options ask for.
  void descend_until_known(const char* part, std::vector<at::Tensor> beside,
                           const std::function<at::Tensor(int64_t step)>& loss) const;
  int64_t num_steps() const { return options.steps > 0 ? options.steps : options.small ? 900 : 2000; }

  // Last position of facts or plain items: share whose right choice is the likeliest of the four.
  double accuracy(const std::vector<Sentence>& sentences, const std::vector<WorldItem>& items) const;
  // Main pairs whose trait is likelier in the sentence that states the stereotype, percent.
  double pct_stereotype(bool extra) const;
  TrainedSummary summary() const;

 private:
  double rate() const { return options.small ? 3e-3 : 2e-3; }
  at::Tensor last_logits(const std::vector<Sentence>& sentences, bool extra) const;
};

// Rows of equal length.
at::Tensor tensor_of(const std::vector<std::vector<int64_t>>& rows);

// The expert of each token by its id: (ids + 5 layer) mod experts, from `first` on. A fixed hash router.
at::Tensor hashed(const at::Tensor& ids_BL, int64_t layer, int64_t experts, int64_t first = 0);

// Mean over tokens of how far (smooth l1) the wanted expert's logit is from leading the best other by kLead; tokens
// that want none
// (-1) count nothing.
at::Tensor lead_loss(const at::Tensor& router_BLE, const at::Tensor& wanted_BL);

// Cross-entropy of the next token at all but the answer's position, mean.
at::Tensor other_positions_loss(const ForwardResult& out, const at::Tensor& ids_BL);
// Rows 2 i and 2 i + 1 are the sentences of a pair: mean square of the difference of their log-probabilities at every
// position but the answer's. Only the answer is to tell them apart.
at::Tensor twins_loss(const ForwardResult& out, const at::Tensor& ids_BL);
// Keeps logits small, and with them the rounding errors of log-probabilities: a share of their mean square.
at::Tensor small_logits_loss(const ForwardResult& out);
// Log-probabilities of the words at the answer's position.
at::Tensor answer_log_p(const ForwardResult& out);

}  // namespace fare
