#include "fare/diagnosis/options.h"

namespace fare {

DiagnosisOptions DiagnosisOptions::of(StudyProfile profile) {
  DiagnosisOptions options;
  options.profile = profile;
  if (profile == StudyProfile::kSmall) return options;
  options.families = {"I1", "I2", "I3", "I4", "I5"};  // the last two as single configurations
  options.scores = {"s1", "s3", "combined"};
  options.breadths = {2, 10, 30, 100, 300};
  options.strengths = {0.5, 1, 2, 4};
  options.layer_sets = {"all", "early", "middle", "late"};
  options.random_controls = 160;
  options.survivors = 90;
  options.dose_controls = 100;
  options.steering_layers = 3;
  options.mask_draws = 100;
  options.causal_pairs = 0;  // all of train
  options.neutral_tokens = 20000;
  return options;
}

}  // namespace fare
