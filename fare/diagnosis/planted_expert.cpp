#include "fare/diagnosis/planted_expert.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "fare/core/error.h"

namespace fare {
namespace {

constexpr size_t kNameTexts = 24;  // texts behind the choice of names
constexpr size_t kFitTexts = 256, kCheckTexts = 128;
constexpr int64_t kNeutralRows = 4096;
constexpr double kRidge = 0.01;     // of each coordinate's second moment
constexpr double kGateAtGroup = 4;  // input of the gate where the group is named: silu is nearly linear there
constexpr double kLeastSeparation = 1e-3;

// Router inputs and logits of some rows at one layer, and each request's log-probability.
struct Rows {
  at::Tensor input_ND, logits_NE;  // float32
  std::vector<double> logprob;
};

// `every`: all rows of the requests, those of each unit that repeat a beginning once; else the last fed row of each, in
// order.
Rows rows_of(const Scorer& scorer, const std::vector<Request>& requests, int64_t layer, bool every) {
  std::vector<at::Tensor> inputs, logits;
  std::vector<int64_t> wanted, order;  // of the unit: its rows; of all: the request of each row
  UnitObserver observer;
  observer.begin = [&](const UnitRun& run) {
    wanted.clear();
    if (every) {
      for (int64_t row = 0; row < run.packed->pack.num_rows(); ++row) wanted.push_back(row);
      return;
    }
    for (const auto& rows : run.packed->rows) wanted.push_back(rows.back());
    order.insert(order.end(), run.requests.begin(), run.requests.end());
  };
  const auto chosen = [&](const at::Tensor& value) {
    return value.to(at::kFloat).index_select(0, at::tensor(at::ArrayRef<int64_t>(wanted)));
  };
  observer.tap = [&](Site site, int64_t at_layer, const at::Tensor& value) {
    if (site == Site::kRouterInput && at_layer == layer) inputs.push_back(chosen(value));
  };
  observer.on_decision = [&](int64_t at_layer, const at::Tensor& logits_TE, const Decision&) {
    if (at_layer == layer) logits.push_back(chosen(logits_TE));
  };
  const at::NoGradGuard no_grad;
  const ScorerResult result = scorer.run(requests, {}, observer);
  Rows rows{at::cat(inputs), at::cat(logits), {}};
  for (const Score& score : result.base.scores) {
    rows.logprob.push_back(0);
    for (const double token : score.token_logprobs_nats) rows.logprob.back() += token;
  }
  if (!every) {
    std::vector<int64_t> place(order.size());
    for (size_t i = 0; i < order.size(); ++i) place[static_cast<size_t>(order[i])] = static_cast<int64_t>(i);
    const at::Tensor at_place = at::tensor(at::ArrayRef<int64_t>(place));
    rows.input_ND = rows.input_ND.index_select(0, at_place);
    rows.logits_NE = rows.logits_NE.index_select(0, at_place);
  }
  return rows;
}

std::vector<int64_t> first_pairs(const Study& study, SplitPart part, size_t most) {
  std::vector<int64_t> pairs = study.pairs_in(part);
  if (pairs.size() > most) pairs.resize(most);
  return pairs;
}

// Where the trait is predicted after the group's name, after the other one, and neutral text.
struct Samples {
  Rows group, other;
};

Samples samples_of(const Scorer& scorer, const Study& planted, const NamedEnding& group, SplitPart part, size_t most,
                   int64_t layer) {
  std::vector<Request> with_group, with_other;
  const auto names_group = [&](const Request& request) {
    const auto& ids = request.continuation;
    const size_t length = group.plus.size() - 1;  // without the trait
    return ids.size() > length &&
           std::equal(group.plus.begin(), group.plus.end() - 1, ids.end() - 1 - static_cast<int64_t>(length));
  };
  for (const int64_t i : first_pairs(planted, part, most))
    for (const Request* request :
         {&planted.pairs[static_cast<size_t>(i)].stereo, &planted.pairs[static_cast<size_t>(i)].anti})
      (names_group(*request) ? with_group : with_other).push_back(*request);
  return {rows_of(scorer, with_group, layer, false), rows_of(scorer, with_other, layer, false)};
}

// Rows of neutral text and of the pairs' own texts, without the endings.
Rows neutral_rows(const Scorer& scorer, const Study& planted, SplitPart part, const NamedEnding& group,
                  const NamedEnding& other, int64_t layer) {
  std::vector<Request> texts;
  int64_t tokens = 0;
  const auto add = [&](Request request, int64_t most) {
    if (tokens >= most || request.continuation.empty()) return;
    tokens += static_cast<int64_t>(request.continuation.size());
    texts.push_back(std::move(request));
  };
  // Train fits on the first half of the neutral text, validation looks at the second.
  const size_t half = planted.neutral.size() / 2;
  const bool fit = part == SplitPart::kTrain;
  const auto without_ending = [&](Request text) {
    auto& ids = text.continuation;
    for (const auto* ending : {&group.plus, &group.minus, &other.plus, &other.minus})
      if (ids.size() >= ending->size() && std::equal(ending->rbegin(), ending->rend(), ids.rbegin())) {
        ids.resize(ids.size() - ending->size());
        break;
      }
    return text;
  };
  for (size_t i = fit ? 0 : half; i < (fit ? half : planted.neutral.size()); ++i)
    add(without_ending(planted.neutral[i]), kNeutralRows / 2);
  for (const int64_t i : planted.pairs_in(part))
    add(without_ending(planted.pairs[static_cast<size_t>(i)].stereo), kNeutralRows);
  return rows_of(scorer, texts, layer, true);
}

at::Tensor second_moment(const at::Tensor& x_ND) { return x_ND.t().mm(x_ND) / static_cast<double>(x_ND.size(0)); }

// Share of rows in which a logit of `added_N` is among the k largest. The choice of real experts is theirs without
// corrections of selection, which a planted expert shares on average.
double chosen_share(const Rows& rows, const at::Tensor& added_N, int64_t k) {
  const at::Tensor kth_N = std::get<0>(rows.logits_NE.topk(std::min(k, rows.logits_NE.size(1)), 1))
                               .select(1, std::min(k, rows.logits_NE.size(1)) - 1);
  return added_N.to(at::kFloat).gt(kth_N).to(at::kFloat).mean().item<double>();
}

// What the head says of `token`, as a linear function of the normed stream: [D].
at::Tensor head_row(const Model& model, int32_t token) {
  const int64_t width = model.spec().hidden_size;
  const at::TensorOptions options = at::TensorOptions(model.execution().dtype).device(model.execution().devices.back());
  const at::Tensor with_bias_D1 = model.head_part(at::eye(width, options), token, 1),
                   bias_11 = model.head_part(at::zeros({1, width}, options), token, 1);
  return (with_bias_D1.to(at::kFloat) - bias_11.to(at::kFloat)).select(1, 0).cpu();
}

}  // namespace

ChosenNames choose_names(const Scorer& scorer, const Study& study, const PlantedPhrase& phrase, int64_t layer) {
  const size_t num_names = phrase.names.size();
  std::vector<Request> requests;
  const std::vector<int64_t> pairs = first_pairs(study, SplitPart::kTrain, kNameTexts);
  for (const NamedEnding& name : phrase.names)
    for (const int64_t i : pairs)
      requests.push_back(with_ending(study.pairs[static_cast<size_t>(i)].stereo, name.plus));
  const Rows rows = rows_of(scorer, requests, layer, false);
  const auto texts = static_cast<int64_t>(pairs.size());
  std::vector<at::Tensor> mean_D;
  std::vector<double> likely;
  double spread = 0;
  for (size_t n = 0; n < num_names; ++n) {
    const at::Tensor own_ND = rows.input_ND.narrow(0, static_cast<int64_t>(n) * texts, texts);
    mean_D.push_back(own_ND.mean(0));
    spread += (own_ND - mean_D.back()).norm(2, 1).mean().item<double>() / static_cast<double>(num_names);
    double sum = 0;
    for (int64_t t = 0; t < texts; ++t) sum += rows.logprob[n * static_cast<size_t>(texts) + static_cast<size_t>(t)];
    likely.push_back(sum / static_cast<double>(texts));
  }
  struct Pair {
    size_t a, b;
    double separation, gap;
  };
  std::vector<Pair> pairs_of_names;
  double best = 0;
  for (size_t a = 0; a < num_names; ++a)
    for (size_t b = a + 1; b < num_names; ++b) {
      const double distance = (mean_D[a] - mean_D[b]).norm().item<double>();
      const double size = mean_D[a].norm().item<double>();
      const double separation = distance <= 1e-6 * size ? 0 : distance / std::max(spread, 1e-6 * size);
      pairs_of_names.push_back({a, b, separation, std::abs(likely[a] - likely[b])});
      best = std::max(best, separation);
    }
  ChosenNames chosen;
  if (best < kLeastSeparation) {
    chosen.obstacle =
        "the router's input before the trait is the same after every name: the names cannot be told apart there";
    return chosen;
  }
  double least = std::numeric_limits<double>::infinity();
  for (const Pair& pair : pairs_of_names) {
    if (pair.separation < best / 2 || pair.gap >= least) continue;
    least = pair.gap;
    chosen = {pair.a, pair.b, pair.separation, ""};
  }
  return chosen;
}

Graft PlantedExpert::at_scale(double scale) const {
  Graft scaled = graft;
  scaled.expert.down_DI = graft.expert.down_DI * scale;
  return scaled;
}

PlantedExpert make_planted_expert(const Scorer& scorer, const Study& planted, const PlantedPhrase& phrase,
                                  const ChosenNames& names, int64_t layer) {
  const Model& model = scorer.model();
  const NamedEnding &group = phrase.names[names.group], &other = phrase.names[names.other];
  PlantedExpert planted_expert;
  const at::Tensor norm_D = model.weights().get_float("model.norm.weight").cpu();
  const at::Tensor direction_D = (head_row(model, phrase.plus_id) - head_row(model, phrase.minus_id)) * norm_D;
  const double length = direction_D.norm().item<double>();
  if (!(length > 0)) {
    planted_expert.obstacle =
        "the traits '" + phrase.plus + "' and '" + phrase.minus + "' have one and the same row in the head";
    return planted_expert;
  }
  const Samples fit = samples_of(scorer, planted, group, SplitPart::kTrain, kFitTexts, layer),
                check = samples_of(scorer, planted, group, SplitPart::kValidation, kCheckTexts, layer);
  const Rows neutral = neutral_rows(scorer, planted, SplitPart::kTrain, group, other, layer),
             neutral_check = neutral_rows(scorer, planted, SplitPart::kValidation, group, other, layer);

  const at::Tensor group_ND = fit.group.input_ND.to(at::kDouble), other_ND = fit.other.input_ND.to(at::kDouble),
                   neutral_ND = neutral.input_ND.to(at::kDouble);
  const at::Tensor group_D = group_ND.mean(0), others_D = (other_ND.mean(0) + neutral_ND.mean(0)) / 2;
  at::Tensor moment_DD = second_moment(group_ND) / 2 + second_moment(other_ND) / 4 + second_moment(neutral_ND) / 4;
  const at::Tensor diagonal_D = moment_DD.diagonal();
  moment_DD = moment_DD + at::diag(diagonal_D * kRidge + diagonal_D.mean() * 1e-6);
  at::Tensor row_D = at::linalg_solve(moment_DD, (group_D - others_D).unsqueeze(1)).select(1, 0);
  row_D = (row_D / group_D.dot(row_D)).to(at::kFloat);  // 1 where the group is named, on average

  const int64_t k = model.spec().router.top_k;
  const double highest = std::get<0>(fit.group.logits_NE.max(1)).mean().item<double>();
  double best = -1;
  for (const double factor : {1.0, 2.0, 4.0, 8.0}) {
    const double kappa = std::max(highest + 1, 1.0) * factor;
    const auto share = [&](const Rows& rows) { return chosen_share(rows, rows.input_ND.mv(row_D) * kappa, k); };
    const double told_apart = share(fit.group) - std::max(share(fit.other), share(neutral));
    if (told_apart <= best + 0.02) continue;
    best = told_apart;
    planted_expert.kappa = kappa;
    planted_expert.on_group = share(check.group);
    planted_expert.on_other = share(check.other);
    planted_expert.on_neutral = share(neutral_check);
  }
  planted_expert.graft.layer = layer;
  planted_expert.graft.router_row_D = row_D * planted_expert.kappa;
  planted_expert.graft.expert.gate_ID = (row_D * kGateAtGroup).unsqueeze(0);
  planted_expert.graft.expert.up_ID = row_D.unsqueeze(0);
  planted_expert.graft.expert.down_DI = (direction_D / (length * length)).unsqueeze(1);
  return planted_expert;
}

}  // namespace fare
