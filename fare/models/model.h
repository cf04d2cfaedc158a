// An opened checkpoint that can be run: configuration, weights and family in one owner.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <memory>
#include <string>

#include "fare/models/device.h"
#include "fare/models/family.h"
#include "fare/routing/intervention.h"

namespace fare {

// How to compute; chosen once per run and written to its configuration.
struct Execution {
  at::ScalarType dtype = at::kFloat;  // working type: at::kFloat or at::kBFloat16
  MatmulBackend backend = MatmulBackend::kOneDnn;
  // For a checkpoint that says its head is tied to the embedding and yet stores another one (published readers
  // disagree): kAsk refuses it, the others choose.
  enum class Head { kAsk, kStored, kTied };
  Head head = Head::kAsk;
  bool correction_bias =
      true;  // false leaves out what a router adds to its scores for selection, as some readers of ERNIE do
  bool scale_factor = true;  // false leaves DecoderSpec::attention_scale_factor out, as older readers do
  Devices devices = {at::kCPU};
};

struct Graft;

class Model {
 public:
  // Opens a checkpoint folder. Throws FormatError, ModelMismatch (unknown family, tensors that do not fit), IoError.
  static std::unique_ptr<Model> open(const std::filesystem::path& folder, Execution execution);
  // `base` with one expert more (graft.h). Nothing is copied: weights are shared, and `base` must outlive the result.
  // Its routed() has a fingerprint of its own. Throws ModelMismatch where no expert can be added.
  static std::unique_ptr<Model> grafted(const Model& base, const Graft& graft);

  const DecoderSpec& spec() const { return family_->spec(); }
  const Family& family() const { return *family_; }
  // How a layer's router decides.
  const RouterSpec& router(int64_t layer) const {
    return execution_.correction_bias ? family_->router(layer) : spec().router;
  }
  const Weights& weights() const { return *weights_; }
  const Checkpoint& checkpoint() const { return weights_->checkpoint(); }
  const Execution& execution() const { return execution_; }
  // What an intervention is checked against.
  RoutedModel routed() const;

  at::Device device(int64_t layer) const { return device_of_layer(execution_.devices, layer, spec().num_layers); }

  // Embedding rows, float32 [T, D]. Ids must lie in the vocabulary.
  at::Tensor embed(const std::vector<int32_t>& token_ids) const;
  // Final norm and head of hidden states h_RD (float32): logits [R, V] in float32.
  at::Tensor head(const at::Tensor& h_RD) const;
  // The head in parts, on the last device: the final norm in the working type, and of such rows the logits of tokens
  // [first, first + count), in the working type.
  at::Tensor final_norm(const at::Tensor& h_RD) const;
  at::Tensor head_part(const at::Tensor& normed_RD, int64_t first, int64_t count) const;

 private:
  Model(std::shared_ptr<Weights> weights, Execution execution)
      : execution_(std::move(execution)), weights_(std::move(weights)) {}

  Execution execution_;
  std::shared_ptr<Weights> weights_;
  std::unique_ptr<Family> family_;
  std::string head_name_;  // tensor of the output head
  std::string graft_;      // SHA-256 of what was grafted; empty = the checkpoint's own model
};

}  // namespace fare
