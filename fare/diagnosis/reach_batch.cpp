#include "fare/diagnosis/reach_batch.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "fare/diagnosis/item_outcomes.h"
#include "fare/diagnosis/measure.h"
#include "fare/scoring/scope.h"

namespace fare {
namespace {

std::vector<Target> targets_of(const ReachBatch& batch, size_t request) {
  std::vector<Target> targets;
  const auto& continuation = batch.requests[request].continuation;
  const size_t first = static_cast<size_t>(batch.fed[request].num_context) - 1;
  for (size_t j = 0; j < continuation.size(); ++j)
    targets.push_back({batch.packed.rows[request][first + j], continuation[j]});
  return targets;
}

}  // namespace

ReachBatch ReachBatches::make(std::span<const int64_t> pairs, std::span<const int64_t> utility) const {
  const DecoderSpec& spec = model().spec();
  std::vector<const Request*> requests;
  for (const int64_t i : pairs)
    for (const Request* request :
         {&study_.pairs[static_cast<size_t>(i)].stereo, &study_.pairs[static_cast<size_t>(i)].anti})
      requests.push_back(request);
  for (const int64_t u : utility)
    for (const Request& choice : study_.utility[static_cast<size_t>(u)].choices) requests.push_back(&choice);

  std::vector<FedRequest> fed;
  std::vector<Sequence> sequences;
  for (const Request* request : requests) fed.push_back(fed_part(*request, scorer_.max_length(), spec.vocab_size));
  for (const FedRequest& one : fed) {
    const int64_t length = static_cast<int64_t>(one.ids.size());
    sequences.push_back(
        {one.ids,
         {},
         spec.rope.depends_on_length() ? static_cast<int32_t>(std::max(length, spec.rope.length_threshold())) : 0});
  }
  ReachBatch batch;
  std::vector<size_t> place(requests.size());  // of each request in the batch's order
  std::vector<Sequence> ordered;
  for (const int64_t i : prefix_order(sequences)) {
    place[static_cast<size_t>(i)] = batch.requests.size();
    batch.indices.push_back(static_cast<int64_t>(batch.requests.size()));
    batch.requests.push_back(*requests[static_cast<size_t>(i)]);
    batch.fed.push_back(fed[static_cast<size_t>(i)]);
    ordered.push_back(sequences[static_cast<size_t>(i)]);
  }
  batch.packed = pack_sequences(ordered);

  size_t next = 0;
  for (const int64_t i : pairs) {
    ReachBatch::PairRows rows{i, study_.axis_of[static_cast<size_t>(i)], targets_of(batch, place[next]),
                              targets_of(batch, place[next + 1])};
    next += 2;
    batch.pairs.push_back(std::move(rows));
  }
  std::set<int32_t> answers;
  for (const int64_t u : utility) {
    ReachBatch::UtilityRows rows;
    rows.item = u;
    for (size_t c = 0; c < study_.utility[static_cast<size_t>(u)].choices.size(); ++c) {
      rows.choices.push_back(targets_of(batch, place[next++]));
      for (const Target& target : rows.choices.back()) answers.insert(target.row);
    }
    batch.utility.push_back(std::move(rows));
  }
  batch.answer_rows.assign(answers.begin(), answers.end());
  const at::Tensor h_TD = forward(model(), batch.packed.pack);
  count_rows(batch.packed.pack.num_rows() * spec.num_layers);
  if (!batch.answer_rows.empty()) batch.base_log_p_RV = log_probabilities(model(), h_TD, batch.answer_rows);
  const ReachPass base = read(batch, h_TD);
  for (size_t p = 0; p < batch.pairs.size(); ++p) batch.pairs[p].base_margin = base.margins[p];
  for (size_t u = 0; u < batch.utility.size(); ++u) batch.utility[u].base_correct = base.correct[u];
  return batch;
}

std::vector<ReachBatch> ReachBatches::make_all(std::span<const int64_t> pairs, std::span<const int64_t> utility,
                                               int64_t pairs_per_batch) const {
  std::vector<ReachBatch> batches;
  const size_t count = std::max<size_t>(
      1, (pairs.size() + static_cast<size_t>(pairs_per_batch) - 1) / static_cast<size_t>(pairs_per_batch));
  for (size_t b = 0; b < count; ++b) {
    const auto part = [&](std::span<const int64_t> all) {
      const size_t begin = all.size() * b / count, end = all.size() * (b + 1) / count;
      return all.subspan(begin, end - begin);
    };
    batches.push_back(make(part(pairs), part(utility)));
  }
  return batches;
}

LayerEdits ReachBatches::edits_of(const ReachBatch& batch, const Intervention& intervention) const {
  return scoped_edits(intervention, routed_, batch.requests, batch.indices, batch.fed, batch.packed);
}

ReachPass ReachBatches::run(const ReachBatch& batch, const Intervention& intervention) const {
  const LayerEdits edits = edits_of(batch, intervention);
  ForwardOptions options;
  options.edits = &edits;
  const at::Tensor h_TD = forward(model(), batch.packed.pack, options);
  count_rows(batch.packed.pack.num_rows() * model().spec().num_layers);
  return read(batch, h_TD);
}

ReachPass ReachBatches::read(const ReachBatch& batch, const at::Tensor& h_TD) const {
  const at::NoGradGuard no_grad;
  std::vector<Target> targets;
  const auto add = [&](const std::vector<Target>& some) { targets.insert(targets.end(), some.begin(), some.end()); };
  for (const auto& pair : batch.pairs) add(pair.stereo), add(pair.anti);
  for (const auto& item : batch.utility)
    for (const auto& choice : item.choices) add(choice);
  const std::vector<TargetResult> results = read_targets(model(), h_TD, targets);
  size_t next = 0;
  const auto sum = [&](const std::vector<Target>& some) {
    double total = 0;
    for (size_t i = 0; i < some.size(); ++i) total += results[next++].logprob_nats;
    return total;
  };
  ReachPass pass;
  for (const auto& pair : batch.pairs) {
    const double stereo = sum(pair.stereo);
    pass.margins.push_back(stereo - sum(pair.anti));
  }
  for (const auto& item : batch.utility) {
    std::vector<double> logprobs;
    for (const auto& choice : item.choices) logprobs.push_back(sum(choice));
    pass.correct.push_back(utility_outcome(study_.utility[static_cast<size_t>(item.item)].item, logprobs).correct);
  }
  if (!batch.answer_rows.empty() && batch.base_log_p_RV.defined()) {
    const at::Tensor edited_RV = log_probabilities(model(), h_TD, batch.answer_rows);
    pass.kl_nats =
        std::max(0.0, (batch.base_log_p_RV.exp() * (batch.base_log_p_RV - edited_RV)).sum(at::kDouble).item<double>() /
                          static_cast<double>(batch.answer_rows.size()));
  }
  return pass;
}

}  // namespace fare
