#include "fare/models/model.h"

#include <ATen/Parallel.h>

#include <cstring>

#include "fare/core/error.h"
#include "fare/core/sha256.h"
#include "fare/models/graft.h"
#include "fare/models/registry.h"

namespace fare {
namespace {

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

// Equal bytes. A head stored in another type than the embedding counts as different.
bool same_values(const Checkpoint& checkpoint, const char* first, const char* second) {
  const TensorView a = checkpoint.tensor(first), b = checkpoint.tensor(second);
  return a.dtype == b.dtype && a.num_bytes == b.num_bytes && std::memcmp(a.data, b.data, a.num_bytes) == 0;
}

}  // namespace

std::unique_ptr<Model> Model::open(const std::filesystem::path& folder, Execution execution) {
  std::shared_ptr<const Checkpoint> checkpoint = Checkpoint::open(folder);
  std::unique_ptr<Model> model(new Model(std::make_shared<Weights>(checkpoint, execution.dtype), execution));
  model->family_ = make_family(*checkpoint, *model->weights_, execution.backend);

  auto expected = model->family_->tensors();
  const DecoderSpec& spec = model->spec();
  const bool two_heads = spec.tied_head && checkpoint->has(kHead);
  if (two_heads) expected.push_back({kHead, {spec.vocab_size, spec.hidden_size}});
  model->weights_->check(expected, [&](const std::string& name) { return model->family_->ignores(name); });

  model->weights_->place([devices = execution.devices,
                          layers = spec.num_layers](int64_t layer) { return device_of_layer(devices, layer, layers); },
                         execution.devices.back());

  model->head_name_ = spec.tied_head ? kEmbedding : kHead;
  if (two_heads && execution.head == Execution::Head::kStored) model->head_name_ = kHead;
  if (two_heads && execution.head == Execution::Head::kAsk && !same_values(*checkpoint, kHead, kEmbedding))
    throw ModelMismatch(folder.string() +
                        ": config.json says tie_word_embeddings true, but the stored lm_head.weight "
                        "differs from model.embed_tokens.weight; choose with --head stored (the stored head) or --head "
                        "tied (the embedding)");
  return model;
}

std::unique_ptr<Model> Model::grafted(const Model& base, const Graft& graft) {
  std::unique_ptr<Model> model(new Model(base.weights_, base.execution_));
  model->family_ = graft_onto(base, graft);
  model->head_name_ = base.head_name_;
  model->graft_ = base.graft_ + graft_hash(graft);
  return model;
}

RoutedModel Model::routed() const {
  RoutedModel routed;
  routed.model_type = spec().model_type;
  routed.num_layers = spec().num_layers;
  routed.hidden_size = spec().hidden_size;
  routed.moe_layers = spec().moe_layers();
  routed.router = spec().router;
  routed.fingerprint = [this] {
    const std::string own = checkpoint().fingerprint();
    return graft_.empty() ? own : "sha256:" + sha256_hex(own + graft_);
  };
  return routed;
}

at::Tensor Model::embed(const std::vector<int32_t>& token_ids) const {
  for (const int32_t id : token_ids)
    if (id < 0 || id >= spec().vocab_size)
      throw ModelMismatch("token id " + std::to_string(id) + " is outside the vocabulary of " +
                          std::to_string(spec().vocab_size) + " rows");
  const at::Tensor table = weights_->get_on_host(kEmbedding);
  const at::Tensor ids = at::tensor(at::ArrayRef<int32_t>(token_ids), at::kInt);
  return table.index_select(0, ids).to(at::kFloat);
}

at::Tensor Model::head(const at::Tensor& h_RD) const {
  return head_part(final_norm(h_RD), 0, spec().vocab_size).to(at::kFloat).cpu();
}

at::Tensor Model::final_norm(const at::Tensor& h_RD) const {
  return rms_norm(h_RD.to(execution_.devices.back()), weights_->get_float("model.norm.weight"), spec().rms_norm_eps,
                  execution_.dtype);
}

at::Tensor Model::head_part(const at::Tensor& normed_RD, int64_t first, int64_t count) const {
  const at::Tensor bias = spec().head_bias ? weights_->get("lm_head.bias").narrow(0, first, count) : at::Tensor();
  return linear(normed_RD, weights_->get(head_name_).narrow(0, first, count), bias, execution_.backend);
}

}  // namespace fare
