#include "fare/training/decoder.h"

#include <torch/torch.h>

#include <cmath>

#include "fare/checkpoint/safetensors_writer.h"
#include "fare/core/philox.h"
#include "fare/lab/draws.h"
#include "fare/lab/output_folder.h"

namespace fare {
namespace {

constexpr double kEpsilon = 1e-5, kRopeBase = 10000;

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight) {
  return weight * x * torch::rsqrt(x.pow(2).mean(-1, true) + kEpsilon);
}

// Rotary positions in the two-halves layout.
at::Tensor rotate(const at::Tensor& x_BhLd) {
  const int64_t length = x_BhLd.size(2), d = x_BhLd.size(3);
  const auto inverse = torch::pow(kRopeBase, -torch::arange(0, d, 2, torch::kFloat) / static_cast<double>(d));
  const auto angle = torch::outer(torch::arange(length, torch::kFloat), inverse);
  const auto both = torch::cat({angle, angle}, -1);
  const auto halves = x_BhLd.chunk(2, -1);
  return x_BhLd * both.cos() + torch::cat({-halves[1], halves[0]}, -1) * both.sin();
}

at::Tensor random_tensor(const std::string& name, std::vector<int64_t> shape, double deviation, uint64_t seed) {
  const RandomStream stream(seed, "train/init/" + name);
  at::Tensor tensor = torch::empty(shape, torch::kFloat);
  float* values = tensor.data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i)
    values[i] = static_cast<float>(deviation * normal_quantile(stream.open_uniform(static_cast<uint64_t>(i))));
  return tensor.requires_grad_(true);
}

}  // namespace

TrainedDecoder::TrainedDecoder(const ModelShape& shape, int64_t num_extra, int64_t extra_layers, int64_t equal_layers,
                               uint64_t seed)
    : shape_(shape), num_extra_(num_extra), first_extra_layer_(shape.layers - extra_layers) {
  check_shape(shape);
  const int64_t h = shape.hidden, w = shape.expert_width;
  const auto random = [&](const std::string& name, std::vector<int64_t> dims, double fan_in) {
    return random_tensor(name, std::move(dims), 1 / std::sqrt(fan_in), seed);
  };
  const auto ones = [&] { return torch::ones({h}, torch::kFloat).requires_grad_(true); };
  embedding_VH = random("embedding", {shape.vocab, h}, 1);
  head_VH = random("head", {shape.vocab, h}, static_cast<double>(h));
  final_norm_H = ones();
  for (int64_t l = 0; l < shape.layers; ++l) {
    const std::string at = std::to_string(l) + "/";
    const int64_t main = num_main(l), extra = shape.experts - main, own = l < equal_layers ? 1 : main;
    const double dh = static_cast<double>(h), dw = static_cast<double>(w);
    TrainedLayer layer;
    layer.attention_norm_H = ones();
    layer.expert_norm_H = ones();
    layer.query_norm_H = ones();
    layer.key_norm_H = ones();
    layer.query_HH = torch::zeros({h, h}, torch::kFloat);
    layer.key_HH = random(at + "key", {h, h}, dh);
    layer.value_HH = random(at + "value", {h, h}, dh);
    layer.out_HH = random(at + "out", {h, h}, dh);
    layer.router_EH = random(at + "router", {main, h}, dh);
    layer.gate_EIH = random(at + "gate", {own, w, h}, dh);
    layer.up_EIH = random(at + "up", {own, w, h}, dh);
    layer.down_EHI = random(at + "down", {own, h, w}, dw);
    if (extra > 0) {
      layer.extra_router_XH = random(at + "extra-router", {extra, h}, dh);
      layer.extra_gate_XIH = random(at + "extra-gate", {extra, w, h}, dh);
      layer.extra_up_XIH = random(at + "extra-up", {extra, w, h}, dh);
      layer.extra_down_XHI = random(at + "extra-down", {extra, h, w}, dw);
    }
    layers_.push_back(std::move(layer));
  }
}

std::vector<at::Tensor> TrainedDecoder::main_parameters() const {
  std::vector<at::Tensor> all = {embedding_VH, final_norm_H, head_VH};
  for (const TrainedLayer& l : layers_)
    for (const at::Tensor& one : {l.attention_norm_H, l.query_HH, l.key_HH, l.value_HH, l.out_HH, l.query_norm_H,
                                  l.key_norm_H, l.expert_norm_H, l.router_EH, l.gate_EIH, l.up_EIH, l.down_EHI})
      if (one.requires_grad()) all.push_back(one);
  return all;
}

std::vector<at::Tensor> TrainedDecoder::extra_parameters() const {
  std::vector<at::Tensor> all;
  for (const TrainedLayer& l : layers_)
    if (l.extra_router_XH.defined())
      for (const at::Tensor& one : {l.extra_router_XH, l.extra_gate_XIH, l.extra_up_XIH, l.extra_down_XHI})
        all.push_back(one);
  return all;
}

std::vector<at::Tensor> TrainedDecoder::extra_routers() const {
  std::vector<at::Tensor> all;
  for (const TrainedLayer& l : layers_)
    if (l.extra_router_XH.defined()) all.push_back(l.extra_router_XH);
  return all;
}

ForwardResult TrainedDecoder::forward(const at::Tensor& ids_BL, bool with_extra, const Routes& routes) const {
  const int64_t batch = ids_BL.size(0), length = ids_BL.size(1), h = shape_.hidden, heads = shape_.heads,
                d = shape_.head_dim();
  ForwardResult result;
  const auto future = torch::full({length, length}, -std::numeric_limits<float>::infinity()).triu(1);
  at::Tensor x = torch::embedding(embedding_VH, ids_BL);
  for (size_t l = 0; l < layers_.size(); ++l) {
    const TrainedLayer& layer = layers_[l];
    const at::Tensor a = rms_norm(x, layer.attention_norm_H);
    const auto split = [&](const at::Tensor& y) { return y.view({batch, length, heads, d}).transpose(1, 2); };
    const at::Tensor q = rotate(split(rms_norm(torch::linear(a, layer.query_HH), layer.query_norm_H))),
                     k = rotate(split(rms_norm(torch::linear(a, layer.key_HH), layer.key_norm_H))),
                     v = split(torch::linear(a, layer.value_HH));
    const at::Tensor attention =
        torch::softmax(torch::matmul(q, k.transpose(2, 3)) / std::sqrt(static_cast<double>(d)) + future, -1);
    x = x + torch::linear(torch::matmul(attention, v).transpose(1, 2).reshape({batch, length, h}), layer.out_HH);

    const at::Tensor b = rms_norm(x, layer.expert_norm_H);
    const bool extra = with_extra && layer.extra_router_XH.defined();
    const auto whole = [&](const at::Tensor& main, const at::Tensor& more) {
      return extra ? torch::cat({main, more}) : main;
    };
    const at::Tensor z = torch::linear(b, whole(layer.router_EH, layer.extra_router_XH));
    const at::Tensor scores = torch::softmax(z, -1);
    at::Tensor ranked = z.detach();
    const auto move = [&](const std::vector<at::Tensor>& experts_BL, double by) {
      if (experts_BL.empty() || !experts_BL[l].defined()) return;
      const at::Tensor place = experts_BL[l].unsqueeze(-1);
      ranked = ranked + torch::zeros_like(ranked).scatter_(-1, place.clamp_min(0), by) * place.ge(0);
    };
    move(routes.first_BL, 1e4);
    move(routes.barred_BL, -1e4);
    const at::Tensor chosen = std::get<1>(ranked.topk(shape_.top_k, -1));
    const at::Tensor mask = torch::zeros_like(scores).scatter_(-1, chosen, 1.0);
    at::Tensor weights = scores * mask;
    if (shape_.renormalise) weights = weights / weights.sum(-1, true);
    if (layer.gate_EIH.size(0) == 1) weights = weights.sum(-1, true);
    const int64_t experts = weights.size(-1), tokens = batch * length;
    const at::Tensor flat = b.reshape({1, tokens, h}).expand({experts, tokens, h});
    const at::Tensor inner =
        torch::silu(torch::bmm(flat, whole(layer.gate_EIH, layer.extra_gate_XIH).transpose(1, 2))) *
        torch::bmm(flat, whole(layer.up_EIH, layer.extra_up_XIH).transpose(1, 2));
    const at::Tensor y = torch::bmm(inner * weights.reshape({tokens, experts}).t().unsqueeze(-1),
                                    whole(layer.down_EHI, layer.extra_down_XHI).transpose(1, 2));
    x = x + y.sum(0).view({batch, length, h});
    result.router_BLE.push_back(z);
    result.state_BLH.push_back(b);
  }
  result.logits_BLV = torch::linear(rms_norm(x, final_norm_H), head_VH);
  return result;
}

void TrainedDecoder::write(const std::filesystem::path& folder) const {
  const torch::NoGradGuard no_grad;
  const std::vector<TensorPlan> plans = tensor_plans(shape_);
  SafetensorsWriter writer(folder / "model.safetensors", declarations(plans, Dtype::kF32));
  for (const TensorPlan& plan : plans) {
    const TrainedLayer* l = plan.layer >= 0 ? &layers_[static_cast<size_t>(plan.layer)] : nullptr;
    const auto joined = [&](const at::Tensor& main, const at::Tensor& more) {
      return more.defined() ? torch::cat({main, more}) : main;
    };
    const auto of_expert = [&](const at::Tensor& experts) { return experts[experts.size(0) == 1 ? 0 : plan.expert]; };
    at::Tensor value;
    switch (plan.role) {
      case TensorRole::kEmbedding: value = embedding_VH; break;
      case TensorRole::kUnembedding: value = head_VH; break;
      case TensorRole::kFinalNorm: value = final_norm_H; break;
      case TensorRole::kAttentionNorm: value = l->attention_norm_H; break;
      case TensorRole::kExpertNorm: value = l->expert_norm_H; break;
      case TensorRole::kQuery: value = l->query_HH; break;
      case TensorRole::kKey: value = l->key_HH; break;
      case TensorRole::kValue: value = l->value_HH; break;
      case TensorRole::kAttentionOut: value = l->out_HH; break;
      case TensorRole::kQueryNorm: value = l->query_norm_H; break;
      case TensorRole::kKeyNorm: value = l->key_norm_H; break;
      case TensorRole::kRouter: value = joined(l->router_EH, l->extra_router_XH); break;
      case TensorRole::kExpertGate: value = of_expert(joined(l->gate_EIH, l->extra_gate_XIH)); break;
      case TensorRole::kExpertUp: value = of_expert(joined(l->up_EIH, l->extra_up_XIH)); break;
      case TensorRole::kExpertDown: value = of_expert(joined(l->down_EHI, l->extra_down_XHI)); break;
      default: break;  // this shape has no shared expert
    }
    value = value.contiguous();
    writer.append(plan.name, value.data_ptr<float>(), static_cast<size_t>(value.numel()) * sizeof(float));
  }
  writer.commit();
  write_json_file(folder / "config.json", config_json(shape_, Dtype::kF32));
}

}  // namespace fare
