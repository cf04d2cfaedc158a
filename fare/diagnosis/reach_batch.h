// Items laid out once for many passes under changing edits: what the searches of methods A6 step through.
// Shapes: T rows of the pack, R rows that utility answers are read from, V vocabulary.
#pragma once

#include <ATen/ATen.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "fare/diagnosis/study.h"
#include "fare/models/forward.h"
#include "fare/scoring/head.h"
#include "fare/scoring/prefix_tree.h"
#include "fare/scoring/scorer.h"

namespace fare {

// Pairs and utility items with every shared prefix once, and the base run's answers.
struct ReachBatch {
  struct PairRows {
    int64_t pair = 0;  // index into Study::pairs
    int32_t axis = 0;
    std::vector<Target> stereo, anti;  // one per scored token
    double base_margin = 0;
  };
  struct UtilityRows {
    int64_t item = 0;                          // index into Study::utility
    std::vector<std::vector<Target>> choices;  // one per choice
    double base_correct = 0;
  };
  std::vector<Request> requests;
  std::vector<FedRequest> fed;
  std::vector<int64_t> indices;
  PackedSequences packed;
  std::vector<PairRows> pairs;
  std::vector<UtilityRows> utility;
  std::vector<int32_t> answer_rows;  // rows that utility continuations are read from, ascending, each once
  at::Tensor base_log_p_RV;          // of these rows; undefined without any
};

// What a batch says under some edits.
struct ReachPass {
  std::vector<double> margins;  // per pair, nats
  std::vector<double> correct;  // per utility item, as UtilityOutcome::correct
  double kl_nats = 0;           // mean over the answer rows of KL(p_base || p_edited); 0 without any
};

// Passes may be taken from several threads at once.
class ReachBatches {
 public:
  // Everything referenced must outlive this object.
  ReachBatches(const Scorer& scorer, const Study& study)
      : scorer_(scorer), study_(study), routed_(scorer.model().routed()) {}

  ReachBatch make(std::span<const int64_t> pairs, std::span<const int64_t> utility) const;
  // `items` in runs of `per_batch`, the last one shorter; utility items in as many runs.
  std::vector<ReachBatch> make_all(std::span<const int64_t> pairs, std::span<const int64_t> utility,
                                   int64_t pairs_per_batch) const;

  LayerEdits edits_of(const ReachBatch& batch, const Intervention& intervention) const;
  ReachPass run(const ReachBatch& batch, const Intervention& intervention) const;
  ReachPass read(const ReachBatch& batch, const at::Tensor& h_TD) const;

  const Model& model() const { return scorer_.model(); }
  const Study& study() const { return study_; }
  const RoutedModel& routed() const { return routed_; }
  int64_t rows_computed() const {
    return rows_computed_;
  }  // rows times layers, a backward pass counted as two forwards
  void count_rows(int64_t rows) const { rows_computed_ += rows; }

 private:
  const Scorer& scorer_;
  const Study& study_;
  RoutedModel routed_;
  mutable std::atomic<int64_t> rows_computed_{0};
};

}  // namespace fare
