// A control model reduced to what decides its answers: at the critical position of every text the router's logits, the
// rows of experts that fire, and the few words whose logits are read. An edit then costs O(texts x chosen experts),
// with the same route() as a forward pass. docs/calibration.md explains the reduction. Shapes: T texts, E experts, W
// coordinates that experts write to (bias first, then answers, text codes, tags).
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "fare/lab/control_model.h"
#include "fare/routing/intervention.h"

namespace fare {

// What an edit leaves of one side of a pair; the noise of the two cells is put in by margin().
struct SideState {
  double squares = 0;    // of the residual stream, the bias coordinate left out
  double bias = 0;       // what experts write to the bias coordinate, their own noise left out
  double per_noise = 0;  // what they write there per logit of that noise
  double others = 0;     // log sum exp of all words but the two traits
};

// As UtilityOutcome (outcome_source.h): the gold's share of the highest logit, and its distance to the best other
// choice.
struct ItemState {
  double correct = 0, margin = 0;
};

// h of the two cells of a pair, logits: the part outside of the experts and the part that side experts write.
struct PairNoise {
  double outside_a = 0, outside_b = 0, side_a = 0, side_b = 0;
};

class CriticalModel {
 public:
  // Keeps what it needs. Throws UsageError for a family with a shared expert.
  explicit CriticalModel(const ControlModel& model);

  int64_t num_pairs() const { return static_cast<int64_t>(pairs_.size()) / 2; }  // main pairs, then transfer pairs
  int64_t num_items() const { return static_cast<int64_t>(items_.size()); }      // facts, then plain items
  const RoutedModel& routed() const { return routed_; }

  // Under an intervention (null: none) whose edits touch every token; UsageError for others. Sides: A of the first pair
  // asked for, its B, A of the second, ..
  std::vector<SideState> sides(std::span<const int64_t> pairs, const Intervention* intervention) const;
  std::vector<ItemState> items(std::span<const int64_t> items, const Intervention* intervention) const;

  // log p(t | stereotype sentence) - log p(t | the other one), nats.
  double margin(int64_t pair, const SideState& a, const SideState& b, const PairNoise& noise) const;
  // x(A) - x(B) of a pair, logits, without the noise of its cells, and the share of the side experts' own noise in it
  // (1 as made, 0 when they are masked).
  struct Lean {
    double mean = 0, per_side_noise = 0;
  };
  Lean lean(int64_t pair, const SideState& a, const SideState& b) const;
  // The noise of the model as it was made.
  const std::vector<PairNoise>& own_noise() const { return own_noise_; }

  // Mean KL(base || edited) per fed token of neutral text and change of log-perplexity, over the first `max_tokens` fed
  // tokens (whole lines).
  std::pair<double, double> dose(const Intervention* intervention, int64_t max_tokens) const;

 private:
  using Reads = std::vector<std::pair<int32_t, double>>;  // (written coordinate, factor)
  struct Live {  // a row of an expert that can fire at this text; values before the norm
    int32_t layer = 0, expert = 0;
    double gate = 0, up = 0;
    bool is_noise = false;  // up is the side expert's own noise, here as for 1 logit
    Reads gate_reads, down;
  };
  struct Word {
    double logit = 0;
    Reads reads;
  };
  struct Text {
    double squares = 0;
    uint64_t live_layers = 0;       // bit l: some row of layer l can fire
    std::vector<double> logits_LE;  // before the norm
    std::vector<Live> live;
    std::vector<Word> words;  // pairs: the two traits, then answers; items: the choices; neutral: every neutral word
    double rest = -1e300;     // log sum exp of the words that are not listed
    int64_t gold = 0;
  };
  struct Written {
    std::vector<double> values_TW, per_noise_T;
  };

  Text compile(const ControlModel& model, std::span<const int64_t> ids, std::span<const int64_t> words) const;
  Written write(std::span<const Text* const> texts, const Intervention* intervention) const;
  // Log-probability of every neutral word, in the last column of all other words, after the texts `at` of neutral_;
  // [at, N].
  std::vector<double> neutral_log_p(std::span<const size_t> at, const Intervention* intervention) const;
  double factor(double squares) const;
  double logit(const Word& word, const double* written) const;

  int64_t layers_ = 0, experts_ = 0, hidden_ = 0, first_written_ = 0, num_written_ = 0;
  double norm_ = 1;
  std::vector<std::vector<Reads>>
      gate_rows_;  // per layer and expert: (coordinate, weight) of each gate row; for compile() only
  std::vector<std::vector<double>>
      router_reads_;  // per layer [E, W]; empty where the router reads no written coordinate
  RoutedModel routed_;
  std::vector<Text> pairs_;  // A, B, A, B, ..
  std::vector<char> stated_on_b_;
  std::vector<PairNoise> own_noise_;
  std::vector<Text> items_;
  std::vector<Text> neutral_;                          // <s>, then every neutral word
  std::vector<double> neutral_base_, neutral_chance_;  // log-probabilities and probabilities without an edit
  std::vector<std::vector<int32_t>> lines_;            // words of each line, as indices into neutral_
};

}  // namespace fare
