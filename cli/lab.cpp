#include "cli/lab.h"

#include "cli/console.h"

#include <iostream>
#include <memory>
#include <string>

#include "fare/core/error.h"
#include "fare/lab/control_model.h"
#include "fare/lab/random_model.h"
#include "fare/training/trained_model.h"

namespace fare {
namespace {

struct LabFlags {
  cli::CommonFlags common;
  std::string model;
  std::string out;
  std::string weights;
  ControlOptions control;
  RandomModelOptions random;
  uint64_t seed = 0;
  int threads = 0;
};

struct TrainFlags {
  cli::CommonFlags common;
  TrainOptions options;
  std::filesystem::path out;
};

// A flag of the other kind of model would be read and have no effect: say so instead.
void refuse_flags(const CLI::App& make, const std::string& model, std::initializer_list<const char*> flags) {
  for (const char* flag : flags)
    if (make.count(flag) > 0)
      throw UsageError(std::string(flag) + ": does not belong to `fare lab make " + model +
                       "`; see fare lab make --help");
}

void make_model(const CLI::App& make, LabFlags& flags) {
  if (flags.model == "random") {
    refuse_flags(make, flags.model,
                 {"--pairs", "--transfer-pairs", "--facts", "--utility", "--prompts", "--neutral-tokens", "--bias-pp",
                  "--reachable-pp", "--noise-pp", "--axes", "--bias-layer", "--side-experts", "--grammar-experts"});
    flags.random.family = flags.control.family;
    flags.random.weights = flags.weights;
    flags.random.seed = flags.seed;
    flags.random.threads = flags.threads;
    make_random_model(flags.random, flags.out);
    const ModelShape shape = random_model_shape(flags.random);
    int64_t values = 0;
    for (const TensorPlan& plan : tensor_plans(shape)) values += plan.num_values();
    if (flags.common.quiet) return;
    std::cerr << "random " << lab_family_name(shape.family) << ": " << values << " weights, seed " << flags.seed
              << ", written to " << flags.out << "\n";
    return;
  }
  flags.control.id = flags.model;
  recipe(flags.model);  // an unknown model is reported before its flags
  refuse_flags(make, flags.model,
               {"--dtype", "--hidden", "--expert-width", "--heads", "--kv-heads", "--vocab", "--max-length"});
  if (!flags.weights.empty()) flags.control.weights = flags.weights;
  if (make.count("--experts") > 0) flags.control.experts = flags.random.experts;
  if (make.count("--layers") > 0) flags.control.layers = flags.random.layers;
  if (make.count("--top-k") > 0) flags.control.top_k = flags.random.top_k;
  flags.control.seed = flags.seed;
  const ControlModel made = make_control_model(flags.control, flags.out, {}, flags.threads);
  if (flags.common.quiet) return;
  const MaskTruth& base = made.truth.masks.front();
  std::cerr << made.world.made.id << " (" << made.world.made.name << "): " << base.pct_stereotype << "% of "
            << flags.control.pairs << " pairs stereotyped, " << 100 * base.fact_accuracy
            << "% of the facts known; a right diagnosis says: " << made.world.made.headline << "; written to "
            << flags.out << "\n";
}

}  // namespace

void add_lab_command(CLI::App& program, int& exit_status) {
  CLI::App* lab =
      program.add_subcommand("lab", "Write control models with a known answer, trained ones, and random ones");
  lab->require_subcommand(1);
  CLI::App* make = lab->add_subcommand("make", "Write one model as a checkpoint folder");
  auto flags = std::make_shared<LabFlags>();
  std::string known;
  for (const Recipe& line : recipes()) known += line.id + " (" + line.name + "), ";
  make->add_option("model", flags->model, known + "or random")->required();
  make->add_option("--out", flags->out, "Folder to write: empty, new, or made by the same command")->required();
  make->add_option("--family", flags->control.family, "olmoe, mixtral or qwen2_moe (one shared expert)")
      ->capture_default_str();
  make->add_option("--weights", flags->weights,
                   "renormalised or raw (raw: not mixtral). Default: renormalised; for random: raw, but with mixtral");
  make->add_option("--seed", flags->seed, "Decides every draw")->capture_default_str();
  make->add_option("--threads", flags->threads, "0 = all physical cores; changes no byte")->capture_default_str();
  cli::add_console_flags(*make, flags->common);

  ControlOptions& control = flags->control;
  const std::string of_control = "Control models";
  make->add_option("--pairs", control.pairs, "Main pairs of sentences")->capture_default_str()->group(of_control);
  make->add_option("--transfer-pairs", control.transfer_pairs, "Pairs with another word order")
      ->capture_default_str()
      ->group(of_control);
  make->add_option("--facts", control.facts, "Utility items that the routed experts answer")
      ->capture_default_str()
      ->group(of_control);
  make->add_option("--utility", control.utility, "All utility items, facts included")
      ->capture_default_str()
      ->group(of_control);
  make->add_option("--prompts", control.prompts, "Prompts for generation")->capture_default_str()->group(of_control);
  make->add_option("--neutral-tokens", control.neutral_tokens, "Words of neutral text")
      ->capture_default_str()
      ->group(of_control);
  make->add_option("--bias-pp", control.bias_pp, "Planted preference above 50%, percentage points")
      ->capture_default_str()
      ->group(of_control);

  make->add_option(
          "--reachable-pp", control.reachable_pp,
          "Of --bias-pp, what the side experts hold; the rest sits in the output matrix (X1, X10 and their like)")
      ->group(of_control);
  make->add_option("--noise-pp", control.noise_pp,
                   "Share of pairs, percent, whose sign changes when the side experts' own noise goes")
      ->group(of_control);
  make->add_option("--axes", control.axes, "Axes of groups, 1 to 4")->capture_default_str()->group(of_control);
  make->add_option("--bias-layer", control.bias_layer, "Layer that reacts to groups and holds the stereotype")
      ->capture_default_str()
      ->group(of_control);
  make->add_option("--side-experts", control.side_experts,
                   "Which experts hold the stereotype or react to groups, as 3,9. Default: the last ones")
      ->delimiter(',')
      ->group(of_control);
  make->add_option("--grammar-experts", control.grammar_experts,
                   "Which experts are always chosen. Default: those before the side experts; the rest hold facts")
      ->delimiter(',')
      ->group(of_control);

  RandomModelOptions& random = flags->random;
  const std::string of_both = "Both (control models: experts and layers as the model needs them, 3 chosen, by default)";
  const std::string of_random = "Random models";
  make->add_option("--dtype", random.dtype, "f32 or bf16")->capture_default_str()->group(of_random);
  make->add_option("--hidden", random.hidden, "Model width")->capture_default_str()->group(of_random);
  make->add_option("--layers", random.layers, "Decoder layers")->capture_default_str()->group(of_both);
  make->add_option("--experts", random.experts, "Experts per layer")->capture_default_str()->group(of_both);
  make->add_option("--top-k", random.top_k, "Experts chosen per token")->capture_default_str()->group(of_both);
  make->add_option("--expert-width", random.expert_width, "Inner width of an expert")
      ->capture_default_str()
      ->group(of_random);
  make->add_option("--heads", random.heads, "Attention heads")->capture_default_str()->group(of_random);
  make->add_option("--kv-heads", random.kv_heads, "Key and value heads; 0 = as many as heads")
      ->capture_default_str()
      ->group(of_random);
  make->add_option("--vocab", random.vocab, "Rows of the embedding; 0 = 320, the byte-level tokenizer's 258 rounded up")
      ->capture_default_str()
      ->group(of_random);
  make->add_option("--max-length", random.max_length, "Context length, tokens")
      ->capture_default_str()
      ->group(of_random);
  make->footer(
      "Examples:\n"
      "  fare lab make X1 --out models/x1 --pairs 1508 --utility 2000\n"
      "  fare lab make random --out models/random --family mixtral --experts 8 --top-k 2 --dtype bf16");
  CLI::App* train = lab->add_subcommand(
      "train",
      "Train a small model: T-MOD (stereotype in experts added afterwards) or T-ENT (shares experts with facts)");
  auto trained = std::make_shared<TrainFlags>();
  train->add_option("model", trained->options.id, "T-MOD or T-ENT")->required();
  train->add_option("--out", trained->out, "Folder to write: empty, new, or made by the same command")->required();
  train->add_option("--weights", trained->options.weights, "renormalised or raw")->capture_default_str();
  train->add_flag("--small", trained->options.small, "A smaller model, in minutes");
  train->add_option("--steps", trained->options.steps, "Steps of the first stage; 0 = as the size wants")
      ->capture_default_str();
  train->add_option("--seed", trained->options.seed, "Decides every draw")->capture_default_str();
  cli::add_console_flags(*train, trained->common);
  train->footer(
      "Examples:\n"
      "  fare lab train T-MOD --small --out models/t-mod\n"
      "  fare lab train T-ENT --small --seed 1 --weights raw --out models/t-ent-raw");
  train->callback([trained, &exit_status] {
    const TrainedSummary made = train_model(trained->options, trained->out, cli::console(trained->common));
    std::cerr << trained->options.id << ": " << 100 * made.fact_accuracy << "% of the facts known, "
              << made.pct_stereotype << "% of the pairs stereotyped, ";
    if (made.pct_without_extra) std::cerr << *made.pct_without_extra << "% without the added experts";
    if (made.hashed_share) std::cerr << 100 * *made.hashed_share << "% of traits and facts routed as their words say";
    std::cerr << "; written to " << trained->out.string() << "\n";
    exit_status = 0;
  });
  make->callback([make, flags, &exit_status] {
    make_model(*make, *flags);
    exit_status = 0;
  });
}

}  // namespace fare
