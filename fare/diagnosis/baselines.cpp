#include "fare/diagnosis/baselines.h"

#include <algorithm>
#include <cmath>

#include "fare/core/error.h"
#include "fare/diagnosis/null_fields.h"
#include "fare/diagnosis/steering.h"
#include "fare/scoring/divergence.h"

namespace fare {
namespace {

// Hidden states behind every scored token of neutral text.
struct NeutralStates {
  at::Tensor h_TD;
  std::vector<int32_t> rows;  // per scored token, in the order of the requests
};

NeutralStates neutral_states(const Scorer& scorer, const std::vector<Request>& requests) {
  const DecoderSpec& spec = scorer.model().spec();
  std::vector<FedRequest> fed;
  std::vector<Sequence> sequences;
  for (const Request& request : requests) fed.push_back(fed_part(request, scorer.max_length(), spec.vocab_size));
  for (const FedRequest& one : fed) {
    const int64_t length = static_cast<int64_t>(one.ids.size());
    sequences.push_back(
        {one.ids,
         {},
         spec.rope.depends_on_length() ? static_cast<int32_t>(std::max(length, spec.rope.length_threshold())) : 0});
  }
  const PackedSequences packed = pack_sequences(sequences, false);
  NeutralStates states;
  for (size_t i = 0; i < requests.size(); ++i)
    for (size_t j = 0; j < requests[i].continuation.size(); ++j)
      states.rows.push_back(packed.rows[i][static_cast<size_t>(fed[i].num_context) - 1 + j]);
  states.h_TD = forward(scorer.model(), packed.pack);
  return states;
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
  Comparison(const Study& study, const TestOutcomes& test, const std::vector<int>& signs,
             const DiagnosisOptions& options)
      : validation(study.pairs_in(SplitPart::kValidation)),
        study_(study),
        test_(test),
        signs_(signs),
        options_(options) {}

  double on_validation(const Outcomes& edited) const {
    return shift_pp(study_, validation, at_indices<Margins>(test_.base.pairs, validation), edited.pairs, signs_);
  }
  void on_test(const Outcomes& edited, Baseline& baseline) const {
    baseline.shift = measure_shift(study_, test_.pairs, at_indices<Margins>(test_.base.pairs, test_.pairs),
                                   edited.pairs, signs_, MarginScoring::kSum, options_, "test/sum");
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
    const std::vector<Request> longer(changed.neutral.begin(),
                                      changed.neutral.begin() + static_cast<int64_t>(plain.size()));
    const NeutralStates before = neutral_states(measurer.scorer(), plain),
                        after = neutral_states(measurer.scorer(), longer);
    baseline.dose_nats = mean_kl_nats(measurer.scorer().model(), before.h_TD, before.rows, after.h_TD, after.rows);
    baseline.reason = "a prefix has no strength that could be tuned";
  }
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

std::vector<Baseline> measure_baselines(Measurer& measurer, Store* store, const SearchCandidate& candidate,
                                        const TestOutcomes& test, const std::vector<int>& signs,
                                        const DiagnosisOptions& options) {
  std::vector<Baseline> baselines = {prefix_baseline(measurer, store, test, signs, options),
                                     steering_baseline(measurer, candidate, test, signs, options)};
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
    const auto shift = [&](auto member) {
      return baseline.shift ? std::optional((*baseline.shift).*member) : std::nullopt;
    };
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
