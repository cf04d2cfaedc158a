#include "fare/diagnosis/neutral_text.h"

#include <algorithm>

#include "fare/core/error.h"
#include "fare/scoring/divergence.h"

namespace fare {
namespace {

constexpr int64_t kStoredOutputs = 256;

}  // namespace

NeutralText::NeutralText(const Measurer& measurer, int64_t max_tokens) : model_(measurer.scorer().model()) {
  std::vector<const Request*> requests;
  int64_t tokens = 0;
  for (const Request& request : measurer.study().neutral) {
    if (tokens >= max_tokens) break;
    requests.push_back(&request);
    tokens += static_cast<int64_t>(request.context.size() + request.continuation.size()) - 1;
  }
  if (requests.empty()) throw NumericError("the study has no neutral text");
  text_ = pack_texts(measurer.scorer(), requests, false);
  PassOptions options;
  options.tap = [&](Site site, int64_t layer, const at::Tensor& value) {
    if (site == Site::kRouterInput) router_input_TD_[layer] = value;
  };
  base_TD_ = replay_pass(model_, pack(), options);
}

StandIns NeutralText::stand_ins(std::span<const RoutedExpert> experts, bool mean, uint64_t seed) const {
  const at::NoGradGuard no_grad;
  StandIns result;
  result.seed = seed;
  for (const RoutedExpert& expert : experts) {
    at::Tensor x = router_input_TD_.at(expert.layer);
    if (!mean && x.size(0) > kStoredOutputs) {
      std::vector<int64_t> rows;
      for (int64_t i = 0; i < kStoredOutputs; ++i) rows.push_back(i * x.size(0) / kStoredOutputs);
      x = x.index_select(0, at::tensor(at::ArrayRef<int64_t>(rows)));
    }
    const at::Tensor out =
        expert_output(x, model_.family().expert(expert.layer, expert.expert), model_.execution().backend)
            .cpu()
            .to(at::kFloat)
            .contiguous();
    result.outputs_ND[expert.layer][expert.expert] = mean ? out.mean(0, true) : out;
  }
  return result;
}

double NeutralText::kl_nats(const at::Tensor& p_TD, const at::Tensor& q_TD) const {
  std::vector<int32_t> rows;
  for (const Target& target : text_.targets) rows.push_back(target.row);
  return mean_kl_nats(model_, p_TD, rows, q_TD, rows);
}

}  // namespace fare
