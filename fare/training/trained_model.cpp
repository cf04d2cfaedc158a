#include "fare/training/trained_model.h"

#include <ATen/Parallel.h>

#include "fare/core/error.h"
#include "fare/lab/control_files.h"
#include "fare/lab/output_folder.h"
#include "fare/training/entangled.h"
#include "fare/training/modular.h"

namespace fare {
namespace {

bool entangled(const TrainOptions& options) { return options.id == "T-ENT"; }

ControlOptions world_options(const TrainOptions& options) {
  ControlOptions world;
  world.id = entangled(options) ? "X2" : "X1";  // its language, pairs and facts; no weights
  world.pairs = options.small ? 480 : 1000;
  world.transfer_pairs = options.small ? 80 : 200;
  world.facts = options.small ? 200 : 400;
  world.utility = options.small ? 2000 : 2400;
  world.prompts = options.small ? 64 : 200;
  world.neutral_tokens = options.small ? 2600 : 5200;
  if (entangled(options)) {
    // As many pairs and facts as a loss of them must show, and traits that no output row can tell from the context
    // alone.
    world.pairs = options.small ? 600 : 1000;
    world.facts = 800;
    world.utility = 2 * world.facts;
    world.trait_pairs = kSharedTraits;
    world.bias_pp = 40;
  }
  world.seed = options.seed;
  return world;
}

}  // namespace

TrainedSummary train_model(const TrainOptions& options, const std::filesystem::path& folder, const Progress& progress) {
  if (options.id != "T-MOD" && !entangled(options))
    throw UsageError("fare lab train " + options.id + ": unknown model; known are T-MOD and T-ENT");
  if (options.weights != "renormalised" && options.weights != "raw")
    throw UsageError("--weights " + options.weights + ": accepted: renormalised, raw");
  if (options.steps < 0)
    throw UsageError("--steps " + std::to_string(options.steps) + ": accepted: 0 (as the size wants) or more");
  const OrderedJson made_by = {{"command", "fare lab train " + options.id},
                               {"weights", options.weights},
                               {"small", options.small},
                               {"steps", options.steps},
                               {"seed", options.seed}};
  prepare_output_folder(folder, "world.json", made_by);
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  const World world(world_options(options));
  Trainer trainer(options, world, progress, entangled(options) ? 0 : kExtra, entangled(options));
  OrderedJson truth = {{"format", "fare-trained/1"}, {"made_by", made_by}, {"id", options.id}};
  write_json_file(folder / "world.json", truth);
  const TrainedSummary summary = entangled(options) ? train_entangled(trainer, folder) : train_modular(trainer, folder);
  at::set_num_threads(threads);
  write_study_files(world, trainer.corpus.lines, folder);
  std::vector<std::filesystem::path> places = {folder};
  if (!entangled(options)) places.push_back(folder / "stage1");
  for (const std::filesystem::path& place : places) {
    write_json_file(place / "tokenizer.json", control_tokenizer_json(world.language));
    write_json_file(place / "tokenizer_config.json",
                    control_tokenizer_config_json(world.language, trainer.shape.max_positions));
  }
  if (entangled(options)) {
    truth["expected"] = {
        {"headline", "costly"},
        {"why",
         "a trait and a fact with the same first word share an expert of the last layer, in equal numbers: what "
         "removes a share of one removes that share of the other"}};
    truth["planted"] = {{"hashed_experts", kHashed}};
    truth["measured"] = {{"fact_accuracy", summary.fact_accuracy},
                         {"plain_accuracy", summary.plain_accuracy},
                         {"pct_stereotype", summary.pct_stereotype},
                         {"hashed_share", *summary.hashed_share}};
  } else {
    truth["expected"] = {
        {"headline", "controllable"},
        {"largest_drop_pp", 0.2},
        {"why", "the stereotype sits in experts that were added afterwards: masking them gives back the model before"}};
    truth["planted"] = {{"layers", {trainer.shape.layers - 2, trainer.shape.layers - 1}},
                        {"experts", {trainer.shape.experts - 2, trainer.shape.experts - 1}}};
    truth["measured"] = {{"fact_accuracy", summary.fact_accuracy},
                         {"plain_accuracy", summary.plain_accuracy},
                         {"pct_stereotype", summary.pct_stereotype},
                         {"pct_without_extra", *summary.pct_without_extra}};
  }
  write_json_file(folder / "world.json", truth);
  return summary;
}

}  // namespace fare
