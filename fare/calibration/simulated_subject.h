// A control model as a source of outcomes for the diagnosis: its texts are reduced once (critical_model.h), and a
// replicate is a new draw of the pairs' noise and of the splits.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "fare/calibration/critical_model.h"
#include "fare/diagnosis/outcome_source.h"

namespace fare {

// How the noise of the pairs is drawn anew; every pair on its own, so that a shift's spread is that of a sample.
struct NoiseLaw {
  double deviation = 2;   // s, logits
  bool balanced = false;  // as many positive as negative pairs in every cluster (X9)
  double angle = 0;  // of the noise side experts write: outside part = cos(angle) d + sin(angle) d', d, d' ~ N(0, s^2)
};

// What all replicates of one control model share. Safe to use from several threads.
class SimulatedModel {
 public:
  explicit SimulatedModel(const ControlModel& model);

  const CriticalModel& critical() const { return critical_; }
  const Study& study() const {
    return study_;
  }  // ids, clusters, axes and tasks; texts are empty, splits those of seed 0
  const World& world() const { return world_; }

  // The noise of replicate `seed`, one per pair (main, then transfer).
  std::vector<PairNoise> draw_noise(const NoiseLaw& law, uint64_t seed) const;

  // Every pair and item under an intervention.
  struct States {
    std::vector<SideState> sides;  // A, B of each pair
    std::vector<ItemState> items;
  };
  std::shared_ptr<const States> states(const Intervention* intervention) const;
  // The same if they are kept, or there is room to keep them; else null.
  std::shared_ptr<const States> kept(const Intervention* intervention) const;

  // Shift of `edited` against `base` over the main pairs that is expected when all noise is drawn anew: mean of sign
  // times the difference of the chances to prefer the stereotype. `signs` per axis.
  double expected_shift_pp(const States& base, const States& edited, const NoiseLaw& law,
                           const std::vector<int>& signs) const;

 private:
  States compute(const Intervention* intervention) const;

  World world_;
  CriticalModel critical_;
  Study study_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::shared_ptr<const States>> kept_;
};

class SimulatedSubject : public OutcomeSource {
 public:
  // `model` and `progress` must outlive this object. `seed` decides the splits.
  SimulatedSubject(const SimulatedModel& model, std::vector<PairNoise> noise, uint64_t seed, const Progress& progress);

  const Study& study() const override { return study_; }
  const RoutedModel& model() const override { return model_.critical().routed(); }
  const Progress& progress() const override { return progress_; }
  // Nulls cannot be asked for. Sum, mean and shared margins are equal: a sentence differs in one fed token.
  std::vector<Outcomes> evaluate(const Items& items, std::span<const Intervention* const> interventions) override;
  std::vector<Dose> doses(std::span<const Intervention* const> interventions, int64_t max_tokens) override;

 private:
  const SimulatedModel& model_;
  std::vector<PairNoise> noise_;
  Study study_;
  const Progress& progress_;
};

// The angle at which a share `changed` of the pairs changes sign when the side experts' noise goes and, with it, a bias
// of `before - after` logits. Throws UsageError when the shift alone changes more.
double noise_angle(double before, double after, double deviation, double changed);
// That share for an angle.
double changed_share(double before, double after, double deviation, double angle);

}  // namespace fare
