#include "fare/training/entangled.h"

#include <torch/torch.h>

#include <algorithm>
#include <utility>

#include "fare/core/philox.h"

namespace fare {
namespace {

constexpr double kTwins = 2, kTwinsAtEnd = 40;  // weight of twins_loss, at the start and at the end

class Entangled {
 public:
  explicit Entangled(Trainer& trainer) : trainer_(trainer), corpus_(trainer.corpus), model_(trainer.model) {}

  at::Tensor loss(int64_t step) const {
    std::vector<std::vector<int64_t>> rows;
    std::vector<int64_t> owners;
    std::vector<Chances> answers;
    for (const auto& [what, from] : {std::pair{"facts", &corpus_.facts}, std::pair{"traits", &corpus_.traits}})
      for (const size_t i : trainer_.pick(what, step, from->size(), 48)) {
        const Sentence& one = (*from)[i];
        rows.push_back(one.ids);
        owners.push_back(owner(one));
        answers.push_back({{one.ids.back(), one.chance}, {one.other, 1 - one.chance}});
      }
    for (const size_t i : trainer_.pick("plain", step, corpus_.plain.size(), 16)) {
      rows.push_back(corpus_.plain[i].ids);
      owners.push_back(-1);
      answers.push_back({{rows.back().back(), 1.0}});
    }
    const at::Tensor ids = tensor_of(rows), text = trainer_.text_batch(step);
    const std::vector<at::Tensor> wanted = wanted_experts(ids, owners), wanted_words = wanted_experts(text, {});
    Routes routes, text_routes;
    text_routes.first_BL = wanted_words;
    routes.first_BL = wanted;
    const ForwardResult out = model_.forward(ids, false, routes), read = model_.forward(text, false, text_routes);
    at::Tensor loss = -(answer_log_p(out) * table_of(answers)).sum(-1).mean() +
                      kOtherPositions * other_positions_loss(out, ids) + 0.3 * other_positions_loss(read, text) +
                      0.5 * loss_elsewhere(step) + small_logits_loss(out) + small_logits_loss(read) +
                      loss_of_twins(step);
    for (size_t l = 0; l < wanted.size(); ++l)
      loss = loss + lead_loss(out.router_BLE[l], wanted[l]) + lead_loss(read.router_BLE[l], wanted_words[l]);
    return loss;
  }

  // Of the traits and facts: how often the last layer's free router chooses the owner first.
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
      const at::Tensor z = model_.forward(tensor_of(rows), false).router_BLE.back();
      right += z.select(1, z.size(1) - 1).argmax(-1).eq(torch::tensor(owners, torch::kLong)).sum().item<double>();
      all += static_cast<double>(rows.size());
    }
    return right / std::max(1.0, all);
  }

 private:
  using Chances = std::vector<std::pair<int64_t, double>>;  // words and their probabilities

  static int64_t owner(const Sentence& sentence) { return sentence.first % kHashed; }

  // The fixed router: by the token, in the last layer among those that own nothing; there by the first word at the
  // answer of a trait or a fact.
  std::vector<at::Tensor> wanted_experts(const at::Tensor& ids, const std::vector<int64_t>& owners) const {
    std::vector<at::Tensor> wanted;
    const int64_t last = trainer_.shape.layers - 1, experts = trainer_.shape.experts;
    for (int64_t l = 0; l < last; ++l) wanted.push_back(hashed(ids, l, experts));
    wanted.push_back(hashed(ids, last, experts - kHashed, kHashed));
    for (size_t i = 0; i < owners.size(); ++i)
      if (owners[i] >= 0) wanted.back()[static_cast<int64_t>(i)][ids.size(1) - 2] = owners[i];
    return wanted;
  }

  // What no owner answers is open: traits and facts without their owner give each of their answers the same chance, so
  // that a route away from it takes what it holds and puts nothing in its place.
  at::Tensor loss_elsewhere(int64_t step) const {
    std::vector<std::vector<int64_t>> rows;
    std::vector<Chances> answers;
    std::vector<int64_t> owners, instead;
    const RandomStream stream(trainer_.options.seed, "train/elsewhere", static_cast<uint32_t>(step));
    const auto elsewhere = [&](const Sentence& sentence) {
      const int64_t away =
          1 + static_cast<int64_t>(stream.index(rows.size(), static_cast<uint64_t>(trainer_.shape.experts - 1)));
      rows.push_back(sentence.ids);
      owners.push_back(owner(sentence));
      instead.push_back((owner(sentence) + away) % trainer_.shape.experts);
      answers.emplace_back();
    };
    for (const size_t i : trainer_.pick("facts-elsewhere", step, corpus_.facts.size(), 24)) {
      elsewhere(corpus_.facts[i]);
      for (int64_t k = 0; k < kAnswers; ++k)
        answers.back().emplace_back(trainer_.world.language.fact_answer(k), 1.0 / kAnswers);
    }
    for (const size_t i : trainer_.pick("traits-elsewhere", step, corpus_.traits.size(), 24)) {
      elsewhere(corpus_.traits[i]);
      answers.back() = {{corpus_.traits[i].ids.back(), 0.5}, {corpus_.traits[i].other, 0.5}};
    }
    const at::Tensor ids = tensor_of(rows);
    Routes routes;
    routes.first_BL = wanted_experts(ids, instead);
    routes.barred_BL.resize(routes.first_BL.size());
    routes.barred_BL.back() = torch::full_like(ids, -1);
    routes.barred_BL.back().select(1, ids.size(1) - 2).copy_(torch::tensor(owners, torch::kLong));
    return -(answer_log_p(model_.forward(ids, false, routes)) * table_of(answers)).sum(-1).mean();
  }

  // Before the answer nothing is to tell the sentences of a pair apart.
  at::Tensor loss_of_twins(int64_t step) const {
    std::vector<std::vector<int64_t>> rows;
    for (const size_t i : trainer_.pick_pairs("twins", step, 16)) rows.push_back(corpus_.traits[i].ids);
    const at::Tensor ids = tensor_of(rows);
    Routes routes;
    routes.first_BL = wanted_experts(ids, {});
    const double share = std::min(1.0, static_cast<double>(step) / static_cast<double>(trainer_.num_steps()));
    return (kTwins + share * (kTwinsAtEnd - kTwins)) * twins_loss(model_.forward(ids, false, routes), ids);
  }

  at::Tensor table_of(const std::vector<Chances>& answers) const {
    at::Tensor table = torch::zeros({static_cast<int64_t>(answers.size()), trainer_.shape.vocab});
    auto p = table.accessor<float, 2>();
    for (size_t i = 0; i < answers.size(); ++i)
      for (const auto& [word, chance] : answers[i]) p[static_cast<int64_t>(i)][word] = static_cast<float>(chance);
    return table;
  }

  Trainer& trainer_;
  const Corpus& corpus_;
  const TrainedDecoder& model_;
};

}  // namespace

TrainedSummary train_entangled(Trainer& trainer, const std::filesystem::path& folder) {
  const Entangled entangled(trainer);
  trainer.descend_until_known("training", {}, [&](int64_t step) { return entangled.loss(step); });
  trainer.model.write(folder);
  TrainedSummary summary = trainer.summary();
  summary.hashed_share = entangled.hashed_share();
  return summary;
}

}  // namespace fare
