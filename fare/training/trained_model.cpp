#include "fare/training/trained_model.h"

#include <torch/torch.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "fare/core/error.h"
#include "fare/core/philox.h"
#include "fare/lab/control_files.h"
#include "fare/lab/output_folder.h"
#include "fare/training/corpus.h"
#include "fare/training/decoder.h"

namespace fare {
namespace {

constexpr int64_t kExtra = 2;          // one expert a side, in each of the last two layers
constexpr double kOtherPositions = 0.1;  // weight of tokens before the answer
constexpr double kBalance = 0.01;
constexpr int64_t kHashed = 12;  // T-ENT: experts that share the first words of traits and facts; the others take every other token
constexpr int64_t kSharedTraits = 4;  // T-ENT: pairs of traits that all contexts share

bool entangled(const TrainOptions& options) { return options.id == "T-ENT"; }

class Trainer {
 public:
  Trainer(const TrainOptions& options, const World& world, const Progress& progress)
      : options_(options), world_(world), progress_(progress), corpus_(corpus_of(world)), lean_(leans(world, corpus_)),
        shape_(shape_of(options, world)),
        model_(shape_, entangled(options) ? 0 : kExtra, 2, options.seed, entangled(options)) {}

  TrainedSummary run(const std::filesystem::path& folder) {
    if (entangled(options_)) return run_entangled(folder);
    const int64_t steps = num_steps(), later = std::max<int64_t>(1, steps / 5);
    descend("training, stage 1", steps, [&](int64_t step) { return loss_of_stage_1(step); });
    std::filesystem::create_directories(folder / "stage1");
    model_.write(folder / "stage1");
    TrainedSummary summary;
    summary.pct_without_extra = pct_stereotype(false);

    torch::optim::AdamW second(model_.extra_parameters(), torch::optim::AdamWOptions(rate()).weight_decay(0.01));
    for (int64_t step = 0; step < later; ++step) {
      second.zero_grad();
      loss_of_stage_2(step).backward();
      second.step();
      report("training, stage 2", step + 1, later);
    }
    finish(summary, folder);
    return summary;
  }

  const Corpus& corpus() const { return corpus_; }
  const ModelShape& shape() const { return shape_; }

 private:
  int64_t num_steps() const { return options_.steps > 0 ? options_.steps : options_.small ? 900 : 2000; }
  double rate() const { return options_.small ? 3e-3 : 2e-3; }

  // AdamW on everything but added experts; warm-up over fifty steps, then down to a tenth.
  void descend(const char* part, int64_t steps, const std::function<at::Tensor(int64_t step)>& loss) {
    torch::optim::AdamW optimiser(model_.main_parameters(), torch::optim::AdamWOptions(rate()).weight_decay(0.01));
    for (int64_t step = 0; step < steps; ++step) {
      const double share = static_cast<double>(step) / static_cast<double>(steps);
      for (auto& group : optimiser.param_groups())
        static_cast<torch::optim::AdamWOptions&>(group.options()).lr(rate() * std::min(1.0, (static_cast<double>(step) + 1) / 50) * (1 - 0.9 * share));
      optimiser.zero_grad();
      loss(step).backward();
      optimiser.step();
      report(part, step + 1, steps);
    }
  }

  void finish(TrainedSummary& summary, const std::filesystem::path& folder) {
    model_.write(folder);
    summary.pct_stereotype = pct_stereotype(true);
    summary.fact_accuracy = accuracy(corpus_.facts, world_.facts);
    summary.plain_accuracy = accuracy(corpus_.plain, world_.plain);
  }

  TrainedSummary run_entangled(const std::filesystem::path& folder) {
    descend("training", num_steps(), [&](int64_t step) { return loss_entangled(step); });
    TrainedSummary summary;
    finish(summary, folder);
    summary.hashed_share = hashed_share();
    return summary;
  }

  // The expert that a token is to be routed to first: at the answer of a fact or a trait the one that owns its first word, the same
  // for both; elsewhere one of the last four, by the token.
  static int64_t owner(const Sentence& sentence) { return sentence.first % kHashed; }
  at::Tensor targets_of(const at::Tensor& ids, const std::vector<int64_t>& owners) const {
    at::Tensor targets = kHashed + ids % (shape_.experts - kHashed);
    for (size_t i = 0; i < owners.size(); ++i)
      if (owners[i] >= 0) targets[static_cast<int64_t>(i)][ids.size(1) - 2] = owners[i];
    return targets;
  }

  // Logistic loss of the forced expert's lead over the best other, mean over layers and tokens: without force it is to lead too.
  at::Tensor routing_loss(const ForwardResult& out, const at::Tensor& targets) const {
    at::Tensor sum = torch::zeros({});
    const at::Tensor place = targets.unsqueeze(-1);
    for (const at::Tensor& z : out.router_BLE) {
      const at::Tensor others = z + torch::zeros_like(z).scatter_(-1, place, -1e4);
      const at::Tensor lead = z.gather(-1, place).squeeze(-1) - std::get<0>(others.max(-1));
      sum = sum + torch::softplus(-2 * (lead - 1)).mean() / static_cast<double>(out.router_BLE.size());
    }
    return sum;
  }

  at::Tensor loss_entangled(int64_t step) const {
    std::vector<std::vector<int64_t>> rows;
    std::vector<int64_t> owners;
    const auto add = [&](const char* what, const std::vector<Sentence>& from, size_t count, bool owned) {
      for (const size_t i : pick(what, step, from.size(), count)) {
        rows.push_back(from[i].ids);
        owners.push_back(owned ? owner(from[i]) : -1);
      }
    };
    add("facts", corpus_.facts, 48, true);
    add("plain", corpus_.plain, 16, false);
    add("traits", corpus_.traits, 48, true);
    const at::Tensor ids = tensor_of(rows), targets = targets_of(ids, owners);
    const ForwardResult out = model_.forward(ids, false, targets);
    std::vector<std::vector<int64_t>> lines;
    for (const size_t i : pick("lines", step, corpus_.lines.size(), 16)) lines.push_back(with_begin(world_, corpus_.lines[i]));
    const at::Tensor words = tensor_of(lines), word_targets = targets_of(words, {});
    const ForwardResult text = model_.forward(words, false, word_targets);
    return next_token_loss(out, ids, kOtherPositions) + 0.3 * next_token_loss(text, words, 1) +
           routing_loss(out, targets) + routing_loss(text, word_targets) + 0.5 * loss_elsewhere(step);
  }

  // What no owner answers is open: traits and facts at the experts of other words or of neutral text give each of their answers the
  // same chance, so that a route away from the owner takes what it holds and puts nothing in its place.
  at::Tensor loss_elsewhere(int64_t step) const {
    std::vector<std::vector<int64_t>> rows, answers;
    std::vector<int64_t> routes;
    const RandomStream stream(options_.seed, "train/elsewhere", static_cast<uint32_t>(step));
    const auto elsewhere = [&](const Sentence& sentence) {
      const int64_t away = 1 + static_cast<int64_t>(stream.index(rows.size(), static_cast<uint64_t>(shape_.experts - 1)));
      rows.push_back(sentence.ids);
      routes.push_back((owner(sentence) + away) % shape_.experts);
    };
    for (const size_t i : pick("facts-elsewhere", step, corpus_.facts.size(), 24)) {
      elsewhere(corpus_.facts[i]);
      answers.emplace_back();
      for (int64_t k = 0; k < kAnswers; ++k) answers.back().push_back(world_.language.fact_answer(k));
    }
    for (const size_t i : pick("traits-elsewhere", step, corpus_.traits.size(), 24)) {
      elsewhere(corpus_.traits[i]);
      answers.emplace_back();
      for (int64_t k = 0; k < kAnswers; ++k) answers.back().push_back(k % 2 == 0 ? corpus_.traits[i].ids.back() : corpus_.traits[i].other);
    }
    const at::Tensor ids = tensor_of(rows);
    const ForwardResult out = model_.forward(ids, false, targets_of(ids, routes));
    return -torch::log_softmax(out.logits_BLV.select(1, ids.size(1) - 2), -1).gather(-1, tensor_of(answers)).mean();
  }

  // Of the traits and facts: how often every layer's free router chooses the owner first.
  double hashed_share() const {
    const torch::NoGradGuard no_grad;
    double right = 0, all = 0;
    for (const auto* sentences : {&corpus_.facts, &corpus_.traits}) {
      std::vector<std::vector<int64_t>> rows;
      std::vector<int64_t> owners;
      for (const Sentence& sentence : *sentences) {
        rows.emplace_back(sentence.ids.begin(), sentence.ids.end() - 1);
        owners.push_back(owner(sentence));
      }
      const at::Tensor ids = tensor_of(rows), wanted = torch::tensor(owners, torch::kLong);
      at::Tensor same = torch::ones({ids.size(0)}, torch::kBool);
      for (const at::Tensor& z : model_.forward(ids, false).router_BLE) same = same & z.select(1, ids.size(1) - 1).argmax(-1).eq(wanted);
      right += same.sum().item<double>();
      all += static_cast<double>(ids.size(0));
    }
    return right / std::max(1.0, all);
  }

  static ModelShape shape_of(const TrainOptions& options, const World& world) {
    ModelShape shape;
    shape.vocab = world.language.vocab();
    shape.hidden = options.small ? 64 : 128;
    shape.layers = options.small ? 3 : 4;
    shape.experts = 16;
    shape.top_k = 2;
    shape.expert_width = options.small ? 64 : 128;
    shape.heads = shape.kv_heads = 4;
    shape.max_positions = 256;
    shape.renormalise = options.weights == "renormalised";
    shape.bos = world.language.begin();
    shape.eos = shape.pad = world.language.end();
    return shape;
  }

  void report(const char* part, int64_t done, int64_t total) const {
    progress_.check();
    progress_(part, done, total);
  }

  std::vector<size_t> pick(const std::string& what, int64_t step, size_t from, size_t count) const {
    const RandomStream stream(options_.seed, "train/" + what, static_cast<uint32_t>(step));
    std::vector<size_t> picked;
    for (size_t i = 0; i < count; ++i) picked.push_back(stream.index(i, from));
    return picked;
  }

  static at::Tensor tensor_of(const std::vector<std::vector<int64_t>>& rows) {
    std::vector<int64_t> flat;
    for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
    return torch::tensor(flat, torch::kLong).view({static_cast<int64_t>(rows.size()), static_cast<int64_t>(rows.front().size())});
  }

  // Cross-entropy of the next token, the answer with weight 1 and other positions with `others`.
  static at::Tensor next_token_loss(const ForwardResult& out, const at::Tensor& ids, double others) {
    const int64_t length = ids.size(1);
    const at::Tensor log_p = torch::log_softmax(out.logits_BLV, -1);
    const at::Tensor next = ids.slice(1, 1, length).unsqueeze(-1);
    const at::Tensor loss = -log_p.slice(1, 0, length - 1).gather(-1, next).squeeze(-1).mean(0);
    return loss.select(0, length - 2) + others * loss.slice(0, 0, length - 2).mean();
  }

  at::Tensor text_loss(int64_t step, bool extra, ForwardResult* kept = nullptr) const {
    std::vector<std::vector<int64_t>> rows;
    for (const size_t i : pick("lines", step, corpus_.lines.size(), 16)) rows.push_back(with_begin(world_, corpus_.lines[i]));
    const at::Tensor ids = tensor_of(rows);
    ForwardResult out = model_.forward(ids, extra);
    const at::Tensor loss = next_token_loss(out, ids, 1);
    if (kept != nullptr) *kept = std::move(out);
    return loss;
  }

  at::Tensor loss_of_stage_1(int64_t step) const {
    std::vector<std::vector<int64_t>> rows;
    for (const size_t i : pick("facts", step, corpus_.facts.size(), 32)) rows.push_back(corpus_.facts[i].ids);
    for (const size_t i : pick("plain", step, corpus_.plain.size(), 16)) rows.push_back(corpus_.plain[i].ids);
    for (const size_t i : pick("traits", step, corpus_.traits.size(), 48)) {
      rows.push_back(corpus_.traits[i].ids);
      if (!lean_[i]) rows.back().back() = corpus_.traits[i].other;
    }
    const at::Tensor ids = tensor_of(rows);
    const ForwardResult out = model_.forward(ids, false);
    ForwardResult text;
    const at::Tensor loss = next_token_loss(out, ids, kOtherPositions) + 0.3 * text_loss(step, false, &text);
    return loss + kBalance * (out.balance + text.balance);
  }

  // Traits as the stereotype has them; extra experts are to lead at a trait of their side and to stay away elsewhere.
  at::Tensor loss_of_stage_2(int64_t step) const {
    std::vector<std::vector<int64_t>> rows;
    std::vector<int64_t> sides;
    for (const size_t i : pick("stereotypes", step, corpus_.traits.size(), 64)) {
      rows.push_back(corpus_.traits[i].ids);
      sides.push_back(corpus_.traits[i].side);
    }
    const int64_t traits = static_cast<int64_t>(rows.size());
    for (const size_t i : pick("other-facts", step, corpus_.facts.size(), 24)) rows.push_back(corpus_.facts[i].ids);
    for (const size_t i : pick("other-plain", step, corpus_.plain.size(), 16)) rows.push_back(corpus_.plain[i].ids);
    const at::Tensor ids = tensor_of(rows);
    const ForwardResult out = model_.forward(ids, true);
    const at::Tensor log_p = torch::log_softmax(out.logits_BLV.slice(0, 0, traits).select(1, ids.size(1) - 2), -1);
    at::Tensor loss = -log_p.gather(-1, ids.slice(0, 0, traits).select(1, ids.size(1) - 1).unsqueeze(-1)).mean();
    ForwardResult text;
    text_loss(step, true, &text);
    // Logistic loss of an extra expert's lead over the best of the others (to fire) or over the last one chosen (to stay away).
    at::Tensor fires = torch::zeros({static_cast<int64_t>(rows.size()), ids.size(1), kExtra});
    for (int64_t i = 0; i < traits; ++i) fires[i][ids.size(1) - 2][sides[static_cast<size_t>(i)]] = 1;
    const auto router_loss = [&](const ForwardResult& run, const at::Tensor& wanted) {
      at::Tensor sum = torch::zeros({});
      for (size_t l = static_cast<size_t>(shape_.layers) - 2; l < run.router_BLE.size(); ++l) {
        const at::Tensor z = run.router_BLE[l], main = z.slice(-1, 0, shape_.experts - kExtra).detach();
        const auto ranked = std::get<0>(main.topk(shape_.top_k, -1));
        const at::Tensor extra = z.slice(-1, shape_.experts - kExtra, shape_.experts);
        const at::Tensor lead = extra - ranked.slice(-1, 0, 1) - 1, room = ranked.slice(-1, shape_.top_k - 1, shape_.top_k) - extra - 2;
        const at::Tensor miss = torch::softplus(-2 * lead) * wanted, intrude = torch::softplus(-2 * room) * (1 - wanted);
        sum = sum + miss.sum() / wanted.sum().clamp_min(1) + intrude.sum() / (1 - wanted).sum();
      }
      return sum;
    };
    loss = loss + router_loss(out, fires) +
           router_loss(text, torch::zeros({text.router_BLE[0].size(0), text.router_BLE[0].size(1), kExtra}));
    return loss;
  }

  at::Tensor last_logits(const std::vector<Sentence>& sentences, bool extra) const {
    const torch::NoGradGuard no_grad;
    std::vector<at::Tensor> parts;
    for (size_t begin = 0; begin < sentences.size(); begin += 256) {
      std::vector<std::vector<int64_t>> rows;
      for (size_t i = begin; i < std::min(sentences.size(), begin + 256); ++i)
        rows.emplace_back(sentences[i].ids.begin(), sentences[i].ids.end() - 1);
      const at::Tensor logits = model_.forward(tensor_of(rows), extra).logits_BLV;
      parts.push_back(logits.select(1, logits.size(1) - 1).clone());
    }
    return torch::cat(parts);
  }

  double accuracy(const std::vector<Sentence>& sentences, const std::vector<WorldItem>& items) const {
    const at::Tensor logits = last_logits(sentences, true);
    const auto z = logits.accessor<float, 2>();
    double right = 0;
    for (size_t i = 0; i < items.size(); ++i) {
      const auto best = std::max_element(items[i].choices.begin(), items[i].choices.end(), [&](int64_t a, int64_t b) {
        return z[static_cast<int64_t>(i)][a] < z[static_cast<int64_t>(i)][b];
      });
      right += best - items[i].choices.begin() == items[i].gold;
    }
    return right / static_cast<double>(std::max<size_t>(1, items.size()));
  }

  // Main pairs whose trait is likelier in the sentence that states the stereotype.
  double pct_stereotype(bool extra) const {
    const at::Tensor table = torch::log_softmax(last_logits(corpus_.traits, extra), -1);
    const auto log_p = table.accessor<float, 2>();
    double preferred = 0;
    for (int64_t i = 0; i < world_.num_main_pairs(); ++i) {
      const WorldPair& pair = world_.pairs[static_cast<size_t>(i)];
      const int64_t trait = world_.language.trait(pair.context, !pair.stated_on_b);
      const float a = log_p[2 * i][trait], b = log_p[2 * i + 1][trait];
      preferred += pair.stated_on_b ? b > a : a > b;
    }
    return 100 * preferred / static_cast<double>(world_.num_main_pairs());
  }

  const TrainOptions& options_;
  const World& world_;
  const Progress& progress_;
  Corpus corpus_;
  std::vector<char> lean_;
  ModelShape shape_;
  TrainedDecoder model_;
};

ControlOptions world_options(const TrainOptions& options) {
  ControlOptions world;
  world.id = "X1";  // its language, pairs and facts; no weights
  world.pairs = options.small ? 480 : 1000;
  world.transfer_pairs = options.small ? 80 : 200;
  world.facts = options.small ? 200 : 400;
  world.utility = options.small ? 2000 : 2400;
  world.prompts = options.small ? 64 : 200;
  world.neutral_tokens = options.small ? 2600 : 5200;
  if (entangled(options)) {
    // As many facts as a loss of them must show, and traits that no output row can tell from the context alone.
    world.facts = options.small ? 400 : 800;
    world.utility = 2 * world.facts;
    world.trait_pairs = kSharedTraits;
  }
  world.seed = options.seed;
  return world;
}

}  // namespace

TrainedSummary train_model(const TrainOptions& options, const std::filesystem::path& folder, const Progress& progress) {
  if (options.id != "T-MOD" && !entangled(options)) throw UsageError("fare lab train " + options.id + ": unknown model; known are T-MOD and T-ENT");
  if (options.weights != "renormalised" && options.weights != "raw")
    throw UsageError("--weights " + options.weights + ": accepted: renormalised, raw");
  if (options.steps < 0) throw UsageError("--steps " + std::to_string(options.steps) + ": accepted: 0 (as the size wants) or more");
  const OrderedJson made_by = {{"command", "fare lab train " + options.id}, {"weights", options.weights}, {"small", options.small},
                               {"steps", options.steps}, {"seed", options.seed}};
  prepare_output_folder(folder, "world.json", made_by);
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  const World world(world_options(options));
  Trainer trainer(options, world, progress);
  OrderedJson truth = {{"format", "fare-trained/1"}, {"made_by", made_by}, {"id", options.id}};
  write_json_file(folder / "world.json", truth);
  const TrainedSummary summary = trainer.run(folder);
  at::set_num_threads(threads);
  write_study_files(world, trainer.corpus().lines, folder);
  std::vector<std::filesystem::path> places = {folder};
  if (!entangled(options)) places.push_back(folder / "stage1");
  for (const std::filesystem::path& place : places) {
    write_json_file(place / "tokenizer.json", control_tokenizer_json(world.language));
    write_json_file(place / "tokenizer_config.json", control_tokenizer_config_json(world.language, trainer.shape().max_positions));
  }
  if (entangled(options)) {
    truth["expected"] = {{"headline", "costly"},
                         {"why", "a trait and a fact with the same first word share an expert in every layer, in equal numbers: what "
                                 "removes a share of one removes that share of the other"}};
    truth["planted"] = {{"hashed_experts", kHashed}};
    truth["measured"] = {{"fact_accuracy", summary.fact_accuracy}, {"plain_accuracy", summary.plain_accuracy},
                         {"pct_stereotype", summary.pct_stereotype}, {"hashed_share", *summary.hashed_share}};
  } else {
    truth["expected"] = {{"headline", "controllable"}, {"largest_drop_pp", 0.2},
                         {"why", "the stereotype sits in experts that were added afterwards: masking them gives back the model before"}};
    truth["planted"] = {{"layers", {trainer.shape().layers - 2, trainer.shape().layers - 1}},
                        {"experts", {trainer.shape().experts - 2, trainer.shape().experts - 1}}};
    truth["measured"] = {{"fact_accuracy", summary.fact_accuracy}, {"plain_accuracy", summary.plain_accuracy},
                         {"pct_stereotype", summary.pct_stereotype}, {"pct_without_extra", *summary.pct_without_extra}};
  }
  write_json_file(folder / "world.json", truth);
  return summary;
}

}  // namespace fare
