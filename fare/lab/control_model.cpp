#include "fare/lab/control_model.h"

#include <cmath>

#include "fare/core/error.h"
#include "fare/core/parallel.h"
#include "fare/lab/control_files.h"
#include "fare/lab/output_folder.h"

namespace fare {
namespace {

constexpr double kDoseWanted = 0.0025;  // nats; methods E1 asks for 0.001 to 0.005
constexpr double kTextLayerFactor = 3;  // the text layer's codes are that much larger

}  // namespace

ControlModel build_control_model(const ControlOptions& options, int threads) {
  World world(options);
  if (threads <= 0) threads = physical_cores();
  const ExpertMask sides{world.geometry.planted_layers, world.geometry.planted};

  // The text codes are sized so that masking the side experts has the wanted dose; the dose grows with their square.
  double size = 0.2;
  ControlWeights weights;
  std::vector<std::vector<int64_t>> neutral;
  for (int step = 0; step < 4; ++step) {
    weights = construct(world, {kTextLayerFactor * size, size});
    neutral = neutral_lines(world, weights);
    const double dose = neutral_dose(world, weights, neutral, sides);
    if (std::abs(dose - kDoseWanted) < 0.1 * kDoseWanted) break;
    if (world.made.bias == BiasPlace::kEveryExpert) break;  // equal experts: masking has no dose
    size *= std::sqrt(kDoseWanted / dose);
  }
  Truth truth = measure_truth(world, weights, neutral, threads);
  check_truth(world, truth);
  return {std::move(world), std::move(weights), std::move(neutral), std::move(truth)};
}

ControlModel make_control_model(const ControlOptions& options, const std::filesystem::path& folder,
                                const Progress& progress, int threads) {
  prepare_output_folder(folder, "world.json", control_stamp(checked_options(options)));
  progress("build", 0, 1);
  ControlModel model = build_control_model(options, threads);
  progress.check();
  progress("build", 1, 1);
  write_control_files(model, folder);
  return model;
}

}  // namespace fare
