#include "fare/training/trainer.h"

#include <torch/torch.h>

#include <algorithm>

#include "fare/core/philox.h"

namespace fare {
namespace {

constexpr double kKnown = 0.98;

ModelShape shape_of(const TrainOptions& options, const World& world) {
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

}  // namespace

Trainer::Trainer(const TrainOptions& wanted, const World& made, const Progress& told, int64_t num_extra,
                 bool equal_before_last)
    : options(wanted),
      world(made),
      progress(told),
      corpus(corpus_of(made)),
      shape(shape_of(wanted, made)),
      model(shape, num_extra, 2, equal_before_last ? shape.layers - 1 : 0, wanted.seed) {}

std::vector<size_t> Trainer::pick(const std::string& what, int64_t step, size_t from, size_t count) const {
  const RandomStream stream(options.seed, "train/" + what, static_cast<uint32_t>(step));
  std::vector<size_t> picked;
  for (size_t i = 0; i < count; ++i) picked.push_back(stream.index(i, from));
  return picked;
}

std::vector<size_t> Trainer::pick_pairs(const std::string& what, int64_t step, size_t count) const {
  std::vector<size_t> picked;
  for (const size_t i : pick(what, step, world.pairs.size(), count))
    for (const size_t side : {0, 1}) picked.push_back(2 * i + side);
  return picked;
}

at::Tensor Trainer::text_batch(int64_t step) const {
  std::vector<std::vector<int64_t>> rows;
  for (const size_t i : pick("lines", step, corpus.lines.size(), 16))
    rows.push_back(with_begin(world, corpus.lines[i]));
  return tensor_of(rows);
}

void Trainer::descend(const char* part, const std::vector<at::Tensor>& parameters, int64_t steps,
                      const std::function<at::Tensor(int64_t step)>& loss) const {
  torch::optim::AdamW optimiser(parameters, torch::optim::AdamWOptions(rate()).weight_decay(0.01));
  for (int64_t step = 0; step < steps; ++step) {
    const double share = static_cast<double>(step) / static_cast<double>(steps);
    for (auto& group : optimiser.param_groups())
      static_cast<torch::optim::AdamWOptions&>(group.options())
          .lr(rate() * std::min(1.0, (static_cast<double>(step) + 1) / 50) * (1 - 0.9 * share));
    optimiser.zero_grad();
    loss(step).backward();
    optimiser.step();
    progress.check();
    progress(part, step + 1, steps);
  }
}

void Trainer::descend_until_known(const char* part, std::vector<at::Tensor> beside,
                                  const std::function<at::Tensor(int64_t step)>& loss) const {
  const int64_t steps = num_steps();
  for (const at::Tensor& one : model.main_parameters()) beside.push_back(one);
  descend(part, beside, steps, loss);
  for (int64_t more = 1; more <= 5 && options.steps == 0 && accuracy(corpus.facts, world.facts) < kKnown; ++more)
    descend(part, beside, steps / 5, [&](int64_t step) { return loss(steps + more * steps / 5 + step); });
}

at::Tensor Trainer::last_logits(const std::vector<Sentence>& sentences, bool extra) const {
  const torch::NoGradGuard no_grad;
  std::vector<at::Tensor> parts;
  for (size_t begin = 0; begin < sentences.size(); begin += 256) {
    std::vector<std::vector<int64_t>> rows;
    for (size_t i = begin; i < std::min(sentences.size(), begin + 256); ++i)
      rows.emplace_back(sentences[i].ids.begin(), sentences[i].ids.end() - 1);
    const at::Tensor logits = model.forward(tensor_of(rows), extra).logits_BLV;
    parts.push_back(logits.select(1, logits.size(1) - 1).clone());
  }
  return torch::cat(parts);
}

double Trainer::accuracy(const std::vector<Sentence>& sentences, const std::vector<WorldItem>& items) const {
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

double Trainer::pct_stereotype(bool extra) const {
  const at::Tensor table = torch::log_softmax(last_logits(corpus.traits, extra), -1);
  const auto log_p = table.accessor<float, 2>();
  double preferred = 0;
  for (int64_t i = 0; i < world.num_main_pairs(); ++i) {
    const WorldPair& pair = world.pairs[static_cast<size_t>(i)];
    const int64_t trait = world.language.trait(pair.context, !pair.stated_on_b);
    const float a = log_p[2 * i][trait], b = log_p[2 * i + 1][trait];
    preferred += pair.stated_on_b ? b > a : a > b;
  }
  return 100 * preferred / static_cast<double>(world.num_main_pairs());
}

TrainedSummary Trainer::summary() const {
  TrainedSummary summary;
  summary.pct_stereotype = pct_stereotype(true);
  summary.fact_accuracy = accuracy(corpus.facts, world.facts);
  summary.plain_accuracy = accuracy(corpus.plain, world.plain);
  return summary;
}

at::Tensor tensor_of(const std::vector<std::vector<int64_t>>& rows) {
  std::vector<int64_t> flat;
  for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
  return torch::tensor(flat, torch::kLong)
      .view({static_cast<int64_t>(rows.size()), static_cast<int64_t>(rows.front().size())});
}

at::Tensor hashed(const at::Tensor& ids_BL, int64_t layer, int64_t experts, int64_t first) {
  return first + (ids_BL + 5 * layer) % experts;
}

at::Tensor lead_loss(const at::Tensor& router_BLE, const at::Tensor& wanted_BL) {
  const at::Tensor counts = wanted_BL.ge(0).to(torch::kFloat), place = wanted_BL.clamp_min(0).unsqueeze(-1);
  const at::Tensor others = router_BLE + torch::zeros_like(router_BLE).scatter_(-1, place, -1e4);
  const at::Tensor lead = router_BLE.gather(-1, place).squeeze(-1) - std::get<0>(others.max(-1));
  return (torch::smooth_l1_loss(lead, torch::full_like(lead, kLead), at::Reduction::None) * counts).sum() /
         counts.sum().clamp_min(1);
}

at::Tensor other_positions_loss(const ForwardResult& out, const at::Tensor& ids_BL) {
  const int64_t length = ids_BL.size(1);
  const at::Tensor log_p = torch::log_softmax(out.logits_BLV.slice(1, 0, length - 2), -1);
  return -log_p.gather(-1, ids_BL.slice(1, 1, length - 1).unsqueeze(-1)).mean();
}

at::Tensor twins_loss(const ForwardResult& out, const at::Tensor& ids_BL) {
  const int64_t length = ids_BL.size(1);
  const at::Tensor log_p = torch::log_softmax(out.logits_BLV.slice(1, 0, length - 2), -1)
                               .gather(-1, ids_BL.slice(1, 1, length - 1).unsqueeze(-1))
                               .view({-1, 2, length - 2});
  return (log_p.select(1, 0) - log_p.select(1, 1)).square().mean();
}

at::Tensor small_logits_loss(const ForwardResult& out) { return 1e-3 * out.logits_BLV.square().mean(); }

at::Tensor answer_log_p(const ForwardResult& out) {
  return torch::log_softmax(out.logits_BLV.select(1, out.logits_BLV.size(1) - 2), -1);
}

}  // namespace fare
