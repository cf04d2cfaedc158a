#include "fare/diagnosis/steering.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "fare/core/error.h"
#include "fare/diagnosis/dose_control.h"
#include "fare/diagnosis/neutral_text.h"
#include "fare/diagnosis/replay.h"

namespace fare {
namespace {

constexpr int kMaxSteps = 14;
constexpr double kLargestStrength = 1e4;  // in lengths of the vector
constexpr size_t kPairsAtOnce = 128;

std::vector<int64_t> tried_layers(int64_t num_layers, int64_t count) {
  if (count <= 0 || count >= num_layers) count = num_layers;
  std::vector<int64_t> layers;  // evenly spaced, the middle one where there is one
  for (int64_t i = 0; i < count; ++i) layers.push_back((2 * i + 1) * num_layers / (2 * count));
  return layers;
}

PassOptions pass_of(int64_t layer, const at::Tensor& vector_D) {
  PassOptions pass;
  pass.added_D[layer] = vector_D;
  return pass;
}

// One setting whose dose was tuned.
struct Steered {
  int64_t layer = 0;
  double sign = 1;
  MatchedDose match;
  at::Tensor vector_D;  // as it is added
  double train_pp = 0;
};

Json found_json(Measurer& measurer, double target, const TestOutcomes& test, const std::vector<int>& signs,
                const DiagnosisOptions& options) {
  const Study& study = measurer.study();
  const std::vector<int64_t> train = study.pairs_in(SplitPart::kTrain);
  const std::vector<int64_t> layers =
      tried_layers(measurer.scorer().model().spec().num_layers, options.steering_layers);
  const std::vector<at::Tensor> differences = mean_differences(measurer, train, layers);
  const NeutralText neutral(measurer, options.neutral_tokens);
  const auto shift_of = [&](const std::vector<int64_t>& pairs, const Outcomes& outcomes) {
    return shift_pp(study, pairs, at_indices<Margins>(test.base.pairs, pairs), outcomes.pairs, signs);
  };
  const auto outcomes_of = [&](const Steered& steered, const std::vector<int64_t>& pairs,
                               const std::vector<int64_t>& utility) {
    Items items;
    items.pairs = pairs;
    items.utility = utility;
    return pass_outcomes(measurer, items, pass_of(steered.layer, steered.vector_D));
  };
  std::optional<Steered> best;
  int64_t matched = 0;
  for (size_t i = 0; i < layers.size(); ++i)
    for (const double sign : {-1.0, 1.0}) {
      const at::Tensor unit_D = differences[i] * sign;
      DoseSearch search(target, 1, kLargestStrength, options.dose_tolerance, kMaxSteps);
      while (!search.done()) {
        measurer.progress().check();
        const at::Tensor h_TD =
            replay_pass(measurer.scorer().model(), neutral.pack(), pass_of(layers[i], unit_D * search.next()));
        search.tell(neutral.kl_nats(neutral.base_TD(), h_TD));
      }
      if (!search.best().matched) continue;
      ++matched;
      Steered steered{layers[i], sign, search.best(), unit_D * search.best().lambda, 0};
      steered.train_pp = shift_of(train, outcomes_of(steered, train, {}));
      if (!best || steered.train_pp > best->train_pp) best = std::move(steered);
    }
  Json json = {{"tried", 2 * layers.size()}, {"matched", matched}};
  if (!best) return json;
  json["layer"] = best->layer;
  json["sign"] = best->sign;
  json["strength"] = best->match.lambda;
  json["dose_nats"] = best->match.dose_nats;
  json["train_pp"] = best->train_pp;
  const std::vector<int64_t> validation = study.pairs_in(SplitPart::kValidation);
  json["validation_pp"] = shift_of(validation, outcomes_of(*best, validation, {}));
  json["test"] = outcomes_json(outcomes_of(*best, test.pairs, test.utility));
  return json;
}

}  // namespace

std::vector<at::Tensor> mean_differences(const Measurer& measurer, std::span<const int64_t> pairs,
                                         std::span<const int64_t> layers) {
  const Study& study = measurer.study();
  const Model& model = measurer.scorer().model();
  std::vector<at::Tensor> sums(layers.size(), at::zeros({model.spec().hidden_size}, at::kDouble));
  for (at::Tensor& sum : sums) sum = sum.clone();
  int64_t count = 0;
  for (size_t begin = 0; begin < pairs.size(); begin += kPairsAtOnce) {
    measurer.progress().check();
    const auto some = pairs.subspan(begin, std::min(kPairsAtOnce, pairs.size() - begin));
    std::vector<const Request*> requests;
    for (const int64_t i : some)
      for (const Request* request :
           {&study.pairs[static_cast<size_t>(i)].stereo, &study.pairs[static_cast<size_t>(i)].anti})
        requests.push_back(request);
    const TextPack text = pack_texts(measurer.scorer(), requests, true);
    std::map<int64_t, at::Tensor> input_TD;
    PassOptions pass;
    pass.tap = [&](Site site, int64_t layer, const at::Tensor& value) {
      if (site == Site::kLayerInput && std::find(layers.begin(), layers.end(), layer) != layers.end())
        input_TD[layer] = value;
    };
    replay_pass(model, text.packed.pack, pass);
    for (size_t p = 0; p < some.size(); ++p) {
      const PairAlignment& alignment = study.pairs[static_cast<size_t>(some[p])].alignment;
      if (alignment.differs_stereo.empty() || alignment.differs_anti.empty()) continue;
      const auto mean_of = [&](const at::Tensor& all_TD, size_t request, const std::vector<int32_t>& positions) {
        std::vector<int64_t> rows;
        for (const int32_t at : positions) rows.push_back(text.packed.rows[request][static_cast<size_t>(at)]);
        return all_TD.index_select(0, at::tensor(at::ArrayRef<int64_t>(rows))).to(at::kDouble).mean(0);
      };
      for (size_t l = 0; l < layers.size(); ++l)
        sums[l] += mean_of(input_TD.at(layers[l]), 2 * p, alignment.differs_stereo) -
                   mean_of(input_TD.at(layers[l]), 2 * p + 1, alignment.differs_anti);
      ++count;
    }
  }
  if (count == 0) throw NumericError("steering vector: no pair differs in a position of both texts");
  std::vector<at::Tensor> means;
  for (const at::Tensor& sum : sums) means.push_back((sum / static_cast<double>(count)).to(at::kFloat));
  return means;
}

Baseline steering_baseline(Measurer& measurer, const SearchCandidate& candidate, const TestOutcomes& test,
                           const std::vector<int>& signs, const DiagnosisOptions& options) {
  const Study& study = measurer.study();
  Baseline baseline;
  baseline.name = "steering_vector";
  if (!candidate.dose || candidate.dose->kl_nats <= 0) {
    baseline.reason = candidate.dose
                          ? "the candidate's dose on neutral text is 0, so there is no strength of equal dose"
                          : candidate.dose_reason;
    return baseline;
  }
  const std::vector<int64_t> train = study.pairs_in(SplitPart::kTrain);
  const bool differ = std::any_of(train.begin(), train.end(), [&](int64_t i) {
    const PairAlignment& alignment = study.pairs[static_cast<size_t>(i)].alignment;
    return !alignment.differs_stereo.empty() && !alignment.differs_anti.empty();
  });
  if (!differ) {
    baseline.reason = "no pair of the train split differs in a position of both texts";
    return baseline;
  }
  const std::vector<double> cost = {1};
  const Json found =
      Json::parse(measurer
                      .kept("baseline", std::vector<std::string>{candidate.name + "/steering"}, cost,
                            [&](std::span<const size_t>) {
                              return std::vector<std::string>{
                                  found_json(measurer, candidate.dose->kl_nats, test, signs, options).dump()};
                            })
                      .front());
  baseline.tried = found.at("tried");
  if (!found.contains("layer")) {
    baseline.reason = "no layer and sign of the vector reaches the candidate's dose within the tolerance";
    baseline.dose_matched = false;
    return baseline;
  }
  baseline.detail = fmt::format("{} {:.3g} times the mean difference, before layer {}",
                                found.at("sign").get<double>() < 0 ? "minus" : "plus",
                                found.at("strength").get<double>(), found.at("layer").get<int64_t>());
  baseline.dose_nats = found.at("dose_nats").get<double>();
  baseline.dose_matched = true;
  baseline.validation_pp = found.at("validation_pp").get<double>();
  const Outcomes edited = outcomes_from(found.at("test"));
  baseline.shift = measure_shift(study, test.pairs, at_indices<Margins>(test.base.pairs, test.pairs), edited.pairs,
                                 signs, MarginScoring::kSum, options, "test/sum");
  if (!test.utility.empty())
    baseline.drop = measure_drop(study, test.utility, at_indices<UtilityOutcome>(test.base.utility, test.utility),
                                 edited.utility, options, "test/utility");
  return baseline;
}

}  // namespace fare
