#include "fare/diagnosis/baselines.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "fare/core/sha256.h"
#include "fare/diagnosis/null_fields.h"
#include "fare/scoring/head.h"

namespace fare {
namespace {

constexpr int kMaxSteps = 14;
constexpr double kLargestStrength = 1e4;

// Hidden states behind every scored token of neutral text.
struct NeutralStates {
  at::Tensor h_TD;
  std::vector<int32_t> rows;  // per scored token, in the order of the requests
};

NeutralStates neutral_states(const Scorer& scorer, const std::vector<Request>& requests, const ResidualShift* shift) {
  const DecoderSpec& spec = scorer.model().spec();
  std::vector<FedRequest> fed;
  std::vector<Sequence> sequences;
  for (const Request& request : requests) fed.push_back(fed_part(request, scorer.max_length(), spec.vocab_size));
  for (const FedRequest& one : fed) {
    const int64_t length = static_cast<int64_t>(one.ids.size());
    sequences.push_back({one.ids, {},
                         spec.rope.depends_on_length()
                             ? static_cast<int32_t>(std::max(length, spec.rope.length_threshold())) : 0});
  }
  const PackedSequences packed = pack_sequences(sequences, false);
  NeutralStates states;
  for (size_t i = 0; i < requests.size(); ++i)
    for (size_t j = 0; j < requests[i].continuation.size(); ++j)
      states.rows.push_back(packed.rows[i][static_cast<size_t>(fed[i].num_context) - 1 + j]);
  ForwardOptions options;
  options.shift = shift;
  states.h_TD = forward(scorer.model(), packed.pack, options);
  return states;
}

// Mean over scored tokens of KL(p_base || p_other), nats.
double mean_kl(const Model& model, const NeutralStates& base, const NeutralStates& other) {
  const at::NoGradGuard no_grad;
  const size_t block = static_cast<size_t>(std::clamp<int64_t>((int64_t{16} << 20) / model.spec().vocab_size, 16, 1024));
  double total = 0;
  for (size_t begin = 0; begin < base.rows.size(); begin += block) {
    const size_t count = std::min(block, base.rows.size() - begin);
    const at::Tensor p = log_probabilities(model, base.h_TD, std::span(base.rows).subspan(begin, count));
    const at::Tensor q = log_probabilities(model, other.h_TD, std::span(other.rows).subspan(begin, count));
    total += (p.exp() * (p - q)).sum(at::kDouble).item<double>();
  }
  return std::max(0.0, total / static_cast<double>(base.rows.size()));
}

std::vector<Request> first_texts(const Study& study, int64_t max_tokens) {
  std::vector<Request> texts;
  int64_t tokens = 0;
  for (const Request& request : study.neutral) {
    if (tokens >= max_tokens) break;
    tokens += static_cast<int64_t>(request.context.size() + request.continuation.size()) - 1;
    texts.push_back(request);
  }
  return texts;
}

Items items_of(const std::string& part, const std::vector<int64_t>& pairs, const std::vector<int64_t>& utility) {
  Items items;
  items.part = part;
  items.pairs = pairs;
  items.utility = utility;
  return items;
}

// Shift on validation and, for the one that is kept, values on the test split.
class Comparison {
 public:
  Comparison(const Study& study, const TestOutcomes& test, const std::vector<int>& signs, const DiagnosisOptions& options)
      : validation(study.pairs_in(SplitPart::kValidation)), study_(study), test_(test), signs_(signs), options_(options) {}

  double on_validation(const Outcomes& edited) const {
    return shift_pp(study_, validation, at_indices<Margins>(test_.base.pairs, validation), edited.pairs, signs_);
  }
  void on_test(const Outcomes& edited, Baseline& baseline) const {
    baseline.shift = measure_shift(study_, test_.pairs, at_indices<Margins>(test_.base.pairs, test_.pairs), edited.pairs, signs_,
                                   MarginScoring::kSum, options_, "test/sum");
    if (!test_.utility.empty())
      baseline.drop = measure_drop(study_, test_.utility, at_indices<UtilityOutcome>(test_.base.utility, test_.utility),
                                   edited.utility, options_, "test/utility");
  }
  const std::vector<int64_t> validation;

 private:
  const Study& study_;
  const TestOutcomes& test_;
  const std::vector<int>& signs_;
  const DiagnosisOptions& options_;
};

Baseline prefix_baseline(Measurer& measurer, Store* store, const TestOutcomes& test, const std::vector<int>& signs,
                         const DiagnosisOptions& options) {
  const Study& study = measurer.study();
  Baseline baseline;
  baseline.name = "debiasing_prefix";
  baseline.tried = static_cast<int64_t>(study.prefixes.size());
  if (study.prefixes.empty()) {
    baseline.reason = "the vocabulary does not spell any of the prefixes";
    return baseline;
  }
  const Comparison compare(study, test, signs, options);
  const Study::Prefix* best = nullptr;
  for (const Study::Prefix& prefix : study.prefixes) {
    const Study changed = with_prefix(study, prefix.ids);
    Measurer own(measurer.scorer(), changed, store, measurer.progress());
    const double shift = compare.on_validation(own.base(items_of("baseline-prefix", compare.validation, {})));
    if (best != nullptr && shift <= *baseline.validation_pp) continue;
    best = &prefix;
    baseline.validation_pp = shift;
  }
  baseline.detail = best->text;
  const Study changed = with_prefix(study, best->ids);
  Measurer own(measurer.scorer(), changed, store, measurer.progress());
  compare.on_test(own.base(items_of("baseline-prefix-test", test.pairs, test.utility)), baseline);
  const std::vector<Request> plain = first_texts(study, options.neutral_tokens);
  if (plain.empty()) {
    baseline.reason = "the study has no neutral text";
  } else {
    const std::vector<Request> longer(changed.neutral.begin(), changed.neutral.begin() + static_cast<int64_t>(plain.size()));
    baseline.dose_nats = mean_kl(measurer.scorer().model(), neutral_states(measurer.scorer(), plain, nullptr),
                                 neutral_states(measurer.scorer(), longer, nullptr));
    baseline.reason = "a prefix has no strength that could be tuned";
  }
  return baseline;
}

// The layers tried: evenly spread over the inside of the stack.
std::vector<int64_t> steering_layers(int64_t num_layers, int64_t count) {
  std::vector<int64_t> layers;
  for (int64_t i = 1; i <= count; ++i) {
    const int64_t layer = std::clamp<int64_t>(i * num_layers / (count + 1), std::min<int64_t>(1, num_layers - 1), num_layers - 1);
    if (layers.empty() || layers.back() != layer) layers.push_back(layer);
  }
  return layers;
}

Baseline steering_baseline(Measurer& measurer, Store* store, const SearchCandidate& candidate, const TestOutcomes& test,
                           const std::vector<int>& signs, const DiagnosisOptions& options) {
  const Study& study = measurer.study();
  const Scorer& scorer = measurer.scorer();
  Baseline baseline;
  baseline.name = "steering_vector";
  const std::vector<Request> texts = first_texts(study, options.neutral_tokens);
  if (!candidate.dose || candidate.dose->kl_nats <= 0 || texts.empty()) {
    baseline.reason = !candidate.dose ? candidate.dose_reason : "the candidate's dose on neutral text is 0, so none is equal to it";
    return baseline;
  }
  const double target = candidate.dose->kl_nats;
  const Comparison compare(study, test, signs, options);
  const NeutralStates plain = neutral_states(scorer, texts, nullptr);
  const auto outcomes = [&](const ResidualShift& shift, const std::string& part, const std::vector<int64_t>& pairs,
                            const std::vector<int64_t>& utility) {
    ScorerOptions steered = scorer.options();
    steered.shift = &shift;
    const Scorer own_scorer(scorer.model(), steered);
    // Rows carry no intervention, so the part's name says which vector was added.
    Sha256 hash;
    const at::Tensor vector = shift.vector_D.contiguous();
    hash.add(&shift.layer, sizeof shift.layer).add(vector.const_data_ptr<float>(), static_cast<size_t>(vector.numel()) * sizeof(float));
    Measurer own(own_scorer, study, store, measurer.progress());
    return own.base(items_of("baseline-steering-" + part + "-" + hash.hex().substr(0, 16), pairs, utility));
  };
  ResidualShift best;
  double best_strength = 0;
  MatchedDose best_match;
  std::string undefined = "no pair of the train split has a token after the change, or the residuals do not differ";
  for (const int64_t layer : steering_layers(scorer.model().spec().num_layers, options.steering_layers)) {
    const at::Tensor direction = steering_direction(measurer, layer);
    if (!direction.defined() || direction.norm().item<double>() == 0) continue;
    for (const double sign : {-1.0, 1.0}) {
      measurer.progress().check();
      ++baseline.tried;
      const auto shift_at = [&](double strength) { return ResidualShift{layer, direction * (sign * strength)}; };
      const MatchedDose match = match_dose(
          [&](double strength) {
            const ResidualShift shift = shift_at(strength);
            return mean_kl(scorer.model(), plain, neutral_states(scorer, texts, &shift));
          },
          target, 1, kLargestStrength, options.dose_tolerance, kMaxSteps);
      if (match.dose_nats <= 0) {
        undefined = "the vector changes nothing on neutral text";
        continue;
      }
      const ResidualShift shift = shift_at(match.lambda);
      const double value = compare.on_validation(outcomes(shift, "validation", compare.validation, {}));
      // A vector at the dose is preferred to one that missed it.
      const bool better = !best.vector_D.defined() || (match.matched && !best_match.matched) ||
                          (match.matched == best_match.matched && value > *baseline.validation_pp);
      if (!better) continue;
      best = shift;
      best_strength = sign * match.lambda;
      best_match = match;
      baseline.validation_pp = value;
    }
  }
  if (!best.vector_D.defined()) {
    baseline.reason = undefined;
    return baseline;
  }
  baseline.detail = fmt::format("layer {}, {:.3g} times the mean difference of the residuals", best.layer, best_strength);
  baseline.dose_nats = best_match.dose_nats;
  baseline.dose_matched = best_match.matched;
  compare.on_test(outcomes(best, "test", test.pairs, test.utility), baseline);
  return baseline;
}

}  // namespace

Study with_prefix(const Study& study, const std::vector<int32_t>& ids) {
  FARE_CHECK(!ids.empty(), "a prefix has at least one token");
  Study changed = study;
  const auto insert = [&](Request& request) {
    const bool starts = study.prefix_token && request.context.front() == *study.prefix_token;
    request.context.insert(request.context.begin() + (starts ? 1 : 0), ids.begin(), ids.end());
  };
  for (auto* pairs : {&changed.pairs, &changed.nulls, &changed.transfer})
    for (EncodedPair& pair : *pairs) {
      insert(pair.stereo);
      insert(pair.anti);
      pair.item = item_hash({&pair.stereo, &pair.anti});
    }
  for (EncodedUtility& item : changed.utility) {
    std::vector<const Request*> requests;
    for (Request& choice : item.choices) insert(choice);
    for (const Request& choice : item.choices) requests.push_back(&choice);
    item.key = item_hash(requests);
  }
  for (Request& text : changed.neutral) insert(text);
  return changed;
}

at::Tensor steering_direction(Measurer& measurer, int64_t layer) {
  const Study& study = measurer.study();
  at::Tensor sum_D;
  int64_t used = 0;
  const std::vector<int64_t> train = study.pairs_in(SplitPart::kTrain);
  constexpr size_t kBatch = 128;  // pairs whose residuals are held at once
  for (size_t begin = 0; begin < train.size(); begin += kBatch) {
    const size_t count = std::min(kBatch, train.size() - begin);
    std::vector<Request> requests;
    for (size_t i = 0; i < count; ++i) {
      const EncodedPair& pair = study.pairs[static_cast<size_t>(train[begin + i])];
      requests.push_back(pair.stereo);
      requests.push_back(pair.anti);
    }
    std::vector<at::Tensor> mean_D(requests.size());  // over the aligned tokens after the change
    const UnitRun* current = nullptr;
    UnitObserver observer;
    observer.begin = [&](const UnitRun& run) { current = &run; };
    observer.tap = [&](Site site, int64_t l, const at::Tensor& value_TD) {
      if (site != Site::kLayerInput || l != layer) return;
      for (size_t i = 0; i < current->requests.size(); ++i) {
        const size_t r = static_cast<size_t>(current->requests[i]);
        const EncodedPair& pair = study.pairs[static_cast<size_t>(train[begin + r / 2])];
        std::vector<int64_t> rows;
        for (const PairAlignment::Matched& matched : pair.alignment.after) {
          const int32_t position = r % 2 == 0 ? matched.stereo : matched.anti;
          rows.push_back(current->packed->rows[i][static_cast<size_t>(position)]);
        }
        if (!rows.empty()) mean_D[r] = value_TD.index_select(0, at::tensor(rows)).mean(0);
      }
    };
    measurer.observe(requests, observer);
    for (size_t i = 0; i < count; ++i) {
      if (!mean_D[2 * i].defined() || !mean_D[2 * i + 1].defined()) continue;
      const at::Tensor difference = (mean_D[2 * i] - mean_D[2 * i + 1]).to(at::kDouble);
      sum_D = sum_D.defined() ? sum_D + difference : difference;
      ++used;
    }
  }
  if (used == 0) return {};
  return (sum_D / static_cast<double>(used)).to(at::kFloat);
}

std::vector<Baseline> measure_baselines(Measurer& measurer, Store* store, const SearchCandidate& candidate,
                                        const TestOutcomes& test, const std::vector<int>& signs,
                                        const DiagnosisOptions& options) {
  std::vector<Baseline> baselines = {prefix_baseline(measurer, store, test, signs, options),
                                     steering_baseline(measurer, store, candidate, test, signs, options)};
  for (Baseline& baseline : baselines) {
    baseline.candidate = candidate.name;
    if (candidate.dose) baseline.target_dose_nats = candidate.dose->kl_nats;
  }
  return baselines;
}

OrderedJson baselines_json(const std::vector<Baseline>& baselines) {
  OrderedJson list = OrderedJson::array();
  for (const Baseline& baseline : baselines) {
    const std::string reason = baseline.reason.empty() ? "the test split holds no utility item" : baseline.reason;
    OrderedJson row;
    row["baseline"] = baseline.name;
    row["candidate"] = baseline.candidate;
    put_field(row, "detail", baseline.detail.empty() ? std::nullopt : std::optional(baseline.detail), reason);
    row["tried"] = baseline.tried;
    put_field(row, "target_dose_nats", baseline.target_dose_nats, "the candidate's dose is undefined");
    put_field(row, "dose_nats", baseline.dose_nats, reason);
    put_field(row, "dose_matched", baseline.dose_matched, reason);
    put_field(row, "validation_pp", baseline.validation_pp, reason);
    const auto shift = [&](auto member) { return baseline.shift ? std::optional((*baseline.shift).*member) : std::nullopt; };
    put_field(row, "shift_pp", shift(&Shift::value_pp), reason);
    put_interval(row, "shift_interval", shift(&Shift::interval95), reason);
    put_field(row, "n", shift(&Shift::n), reason);
    put_field(row, "p", shift(&Shift::p_one_sided), reason);
    put_field(row, "drop_pp", baseline.drop ? std::optional(baseline.drop->value_pp) : std::nullopt, reason);
    put_interval(row, "drop_interval", baseline.drop ? std::optional(baseline.drop->interval95) : std::nullopt, reason);
    list.push_back(std::move(row));
  }
  return list;
}

}  // namespace fare
