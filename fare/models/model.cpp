#include "fare/models/model.h"

#include <ATen/Parallel.h>

#include <cstring>

#include "fare/core/error.h"
#include "fare/models/registry.h"

namespace fare {
namespace {

// Tensors that checkpoints carry and no forward pass reads.
bool is_ignorable(const std::string& name) { return name.ends_with("rotary_emb.inv_freq"); }

}  // namespace

Model::Model(std::shared_ptr<const Checkpoint> checkpoint, Execution execution)
    : execution_(execution), weights_(std::move(checkpoint), execution.dtype) {}

std::unique_ptr<Model> Model::open(const std::filesystem::path& folder, Execution execution) {
  std::shared_ptr<const Checkpoint> checkpoint = Checkpoint::open(folder);
  std::unique_ptr<Model> model(new Model(checkpoint, execution));
  model->family_ = make_family(*checkpoint, model->weights_, execution.backend);

  auto expected = model->family_->tensors();
  const DecoderSpec& spec = model->spec();
  if (spec.tied_head && checkpoint->has("lm_head.weight")) {
    // A stored head beside a tied one is harmless only when it is the embedding.
    expected.push_back({"lm_head.weight", {spec.vocab_size, spec.hidden_size}});
    const TensorView head = checkpoint->tensor("lm_head.weight"), embedding = checkpoint->tensor("model.embed_tokens.weight");
    if (head.num_bytes != embedding.num_bytes || std::memcmp(head.data, embedding.data, head.num_bytes) != 0)
      throw ModelMismatch(folder.string() + ": config.json says tie_word_embeddings true, but the stored lm_head.weight "
                          "differs from model.embed_tokens.weight; set tie_word_embeddings to false to use the stored "
                          "head, or remove it to use the embedding");
  }
  model->weights_.check(expected, &is_ignorable);
  return model;
}

RoutedModel Model::routed() const {
  RoutedModel routed;
  routed.model_type = spec().model_type;
  routed.num_layers = spec().num_layers;
  routed.moe_layers = spec().moe_layers();
  routed.router = spec().router;
  routed.fingerprint = [this] { return checkpoint().fingerprint(); };
  return routed;
}

at::Tensor Model::embed(const std::vector<int32_t>& token_ids) const {
  const at::Tensor table = weights_.get("model.embed_tokens.weight");
  const at::Tensor ids = at::tensor(at::ArrayRef<int32_t>(token_ids), at::kInt);
  return table.index_select(0, ids).to(at::kFloat);
}

at::Tensor Model::head(const at::Tensor& h_RD) const {
  const at::Tensor normed = rms_norm(h_RD, weights_.get_float("model.norm.weight"), spec().rms_norm_eps);
  const std::string name = spec().tied_head ? "model.embed_tokens.weight" : "lm_head.weight";
  return linear(normed.to(execution_.dtype), weights_.get(name), {}, execution_.backend).to(at::kFloat);
}

}  // namespace fare
