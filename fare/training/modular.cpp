#include "fare/training/modular.h"

#include <torch/torch.h>

namespace fare {
namespace {

constexpr int64_t kWordsPerExtra = 16;  // every so many neutral words, one goes to an extra expert
constexpr double kAway = 2;             // logits by which an extra expert is to stay below the last one chosen

class Modular {
 public:
  explicit Modular(Trainer& trainer)
      : trainer_(trainer), corpus_(trainer.corpus), model_(trainer.model), lean_(leans(trainer.world, corpus_)) {}

  // Every token has an expert of its own among those that are not extra: no choice reacts to a group word but that of
  // the word itself.
  at::Tensor loss_of_stage_1(int64_t step) const {
    std::vector<std::vector<int64_t>> rows;
    add(rows, "facts", step, corpus_.facts, 32);
    add(rows, "plain", step, corpus_.plain, 16);
    std::vector<int64_t> sides(rows.size(), -1);
    for (const size_t i : trainer_.pick("traits", step, corpus_.traits.size(), 48)) {
      rows.push_back(without_lean(i));
      sides.push_back(corpus_.traits[i].side);
    }
    const at::Tensor ids = tensor_of(rows), text = trainer_.text_batch(step);
    const Routes routes = main_routes(ids), text_routes = main_routes(text);
    const ForwardResult out = model_.forward(ids, false, routes), read = model_.forward(text, false, text_routes);
    at::Tensor loss = answer_loss(out, ids) + kOtherPositions * other_positions_loss(out, ids) +
                      0.3 * text_loss(read, text) + small_logits_loss(out) + small_logits_loss(read);
    const double share = 1 / static_cast<double>(trainer_.shape.layers);
    for (size_t l = 0; l < routes.first_BL.size(); ++l)
      loss = loss + share * (lead_loss(out.router_BLE[l], routes.first_BL[l]) +
                             lead_loss(read.router_BLE[l], text_routes.first_BL[l]));
    // The experts to come are to be able to tell the sides: their router rows read the same state, which learns to say
    // it.
    return loss + router_loss(out, at_answer(ids, sides)) + router_loss(read, words_of_extras(text));
  }

  // Traits as the stereotype has them, each by the expert of its side. Where the other side's expert is chosen instead,
  // the answer is the one of stage 1: what an expert holds is of its side. Each also takes part in the text, at few
  // words.
  at::Tensor loss_of_stage_2(int64_t step) const {
    std::vector<std::vector<int64_t>> rows, strange;
    std::vector<int64_t> own, others;
    for (const size_t i : trainer_.pick("stereotypes", step, corpus_.traits.size(), 64)) {
      rows.push_back(corpus_.traits[i].ids);
      own.push_back(corpus_.traits[i].side);
    }
    for (const size_t i : trainer_.pick("strange-traits", step, corpus_.traits.size(), 32)) {
      strange.push_back(without_lean(i));
      others.push_back(1 - corpus_.traits[i].side);
    }
    const int64_t traits = static_cast<int64_t>(rows.size());
    add(rows, "other-facts", step, corpus_.facts, 24);
    add(rows, "other-plain", step, corpus_.plain, 16);
    own.resize(rows.size(), -1);
    const at::Tensor ids = tensor_of(rows), text = trainer_.text_batch(step), odd = tensor_of(strange);
    const at::Tensor wanted = at_answer(ids, own), wanted_words = words_of_extras(text);
    const ForwardResult out = model_.forward(ids, true, extra_routes(wanted)),
                        read = model_.forward(text, true, extra_routes(wanted_words));
    const at::Tensor log_p = answer_log_p(out).slice(0, 0, traits);
    const at::Tensor stated = ids.slice(0, 0, traits).select(1, ids.size(1) - 1).unsqueeze(-1);
    const at::Tensor wrong = at_answer(odd, others);
    Routes away = extra_routes(wrong);
    for (size_t l = first_layer(); l < away.first_BL.size(); ++l)
      away.barred_BL[l] =
          torch::where(wrong.ge(0), 2 * first_extra() + 1 - away.first_BL[l], torch::full_like(wrong, -1));
    return -log_p.gather(-1, stated).mean() + 0.5 * answer_loss(model_.forward(odd, true, away), odd) +
           text_loss(read, text) + router_loss(out, wanted) + router_loss(read, wanted_words);
  }

 private:
  void add(std::vector<std::vector<int64_t>>& rows, const char* what, int64_t step, const std::vector<Sentence>& from,
           size_t count) const {
    for (const size_t i : trainer_.pick(what, step, from.size(), count)) rows.push_back(from[i].ids);
  }

  std::vector<int64_t> without_lean(size_t trait) const {
    std::vector<int64_t> ids = corpus_.traits[trait].ids;
    if (!lean_[trait]) ids.back() = corpus_.traits[trait].other;
    return ids;
  }

  size_t first_layer() const { return static_cast<size_t>(trainer_.shape.layers) - 2; }
  int64_t first_extra() const { return trainer_.shape.experts - kExtra; }

  Routes main_routes(const at::Tensor& ids) const {
    Routes routes;
    for (int64_t l = 0; l < trainer_.shape.layers; ++l) routes.first_BL.push_back(hashed(ids, l, model_.num_main(l)));
    return routes;
  }

  // 0, 1: an extra expert; -1: none.
  static at::Tensor at_answer(const at::Tensor& ids, const std::vector<int64_t>& extras) {
    at::Tensor wanted = torch::full_like(ids, -1);
    wanted.select(1, ids.size(1) - 2).copy_(torch::tensor(extras, torch::kLong));
    return wanted;
  }
  static at::Tensor words_of_extras(const at::Tensor& ids) {
    const at::Tensor place = ids % kWordsPerExtra;
    return torch::where(place.lt(kExtra), place, torch::full_like(ids, -1));
  }
  Routes extra_routes(const at::Tensor& wanted) const {
    Routes routes;
    routes.first_BL.resize(static_cast<size_t>(trainer_.shape.layers));
    routes.barred_BL.resize(routes.first_BL.size());
    for (size_t l = first_layer(); l < routes.first_BL.size(); ++l)
      routes.first_BL[l] = torch::where(wanted.ge(0), first_extra() + wanted, wanted);
    return routes;
  }

  // To lead where wanted, as every expert does where it is; elsewhere to stay away (logistic loss).
  at::Tensor router_loss(const ForwardResult& run, const at::Tensor& wanted) const {
    at::Tensor sum = torch::zeros({});
    const std::vector<at::Tensor> routers = model_.extra_routers();
    for (size_t l = first_layer(); l < run.router_BLE.size(); ++l) {
      const at::Tensor main = run.router_BLE[l].slice(-1, 0, first_extra()).detach();
      const at::Tensor extra = torch::linear(run.state_BLH[l], routers[l - first_layer()]);
      const auto ranked = std::get<0>(main.topk(trainer_.shape.top_k, -1));
      const at::Tensor fires = wanted.unsqueeze(-1).eq(torch::arange(kExtra)).to(torch::kFloat);
      const at::Tensor lead = extra - ranked.slice(-1, 0, 1), room = ranked.slice(-1, trainer_.shape.top_k - 1) - extra;
      const at::Tensor miss = torch::smooth_l1_loss(lead, torch::full_like(lead, kLead), at::Reduction::None) * fires;
      const at::Tensor intrude = torch::softplus(-2 * (room - kAway)) * (1 - fires);
      sum = sum + miss.sum() / fires.sum().clamp_min(1) + intrude.sum() / (1 - fires).sum();
    }
    return sum;
  }

  static at::Tensor answer_loss(const ForwardResult& out, const at::Tensor& ids) {
    return -answer_log_p(out).gather(-1, ids.select(1, ids.size(1) - 1).unsqueeze(-1)).mean();
  }
  static at::Tensor text_loss(const ForwardResult& out, const at::Tensor& ids) {
    const int64_t length = ids.size(1);
    return -torch::log_softmax(out.logits_BLV.slice(1, 0, length - 1), -1)
                .gather(-1, ids.slice(1, 1, length).unsqueeze(-1))
                .mean();
  }

  Trainer& trainer_;
  const Corpus& corpus_;
  const TrainedDecoder& model_;
  const std::vector<char> lean_;
};

}  // namespace

TrainedSummary train_modular(Trainer& trainer, const std::filesystem::path& folder) {
  const Modular modular(trainer);
  trainer.descend_until_known("training, stage 1", trainer.model.extra_routers(),
                              [&](int64_t step) { return modular.loss_of_stage_1(step); });
  std::filesystem::create_directories(folder / "stage1");
  trainer.model.write(folder / "stage1");
  const double before = trainer.pct_stereotype(false);
  trainer.descend("training, stage 2", trainer.model.extra_parameters(), std::max<int64_t>(1, trainer.num_steps() / 3),
                  [&](int64_t step) { return modular.loss_of_stage_2(step); });
  trainer.model.write(folder);
  TrainedSummary summary = trainer.summary();
  summary.pct_without_extra = before;
  return summary;
}

}  // namespace fare
