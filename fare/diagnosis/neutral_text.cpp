#include "fare/diagnosis/neutral_text.h"

#include <algorithm>

#include "fare/core/error.h"

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
  const at::NoGradGuard no_grad;
  double kl = 0;
  const size_t block =
      static_cast<size_t>(std::clamp<int64_t>((int64_t{16} << 20) / model_.spec().vocab_size, 16, 1024));
  for (size_t begin = 0; begin < text_.targets.size(); begin += block) {
    std::vector<int32_t> rows;
    for (size_t i = begin; i < std::min(begin + block, text_.targets.size()); ++i) rows.push_back(text_.targets[i].row);
    const at::Tensor p = log_probabilities(model_, p_TD, rows), q = log_probabilities(model_, q_TD, rows);
    kl += (p.exp() * (p - q)).sum(at::kDouble).item<double>();
  }
  return std::max(0.0, kl / static_cast<double>(text_.targets.size()));
}

}  // namespace fare
