#include "fare/scoring/trace_recorder.h"

#include <algorithm>

namespace fare {

int64_t trace_bytes(const Model& model, std::span<const Request> requests, int64_t max_length, int64_t slots) {
  int64_t rows = 0;
  for (const Request& request : requests)
    rows += static_cast<int64_t>(fed_part(request, max_length, model.spec().vocab_size).ids.size());
  const int64_t per_layer = 4 * (model.spec().router.num_experts + 2 * slots);
  return rows * (4 + per_layer * static_cast<int64_t>(model.spec().moe_layers().size()));
}

TraceRecorder::TraceRecorder(const Scorer& scorer, std::span<const Request> requests, int64_t intervention, int64_t slots)
    : wanted_(intervention) {
  const DecoderSpec& spec = scorer.model().spec();
  trace_.num_experts = spec.router.num_experts;
  trace_.routes.offsets = {0};
  for (const Request& request : requests) {
    const FedRequest fed = fed_part(request, scorer.max_length(), spec.vocab_size);
    trace_.routes.token_ids.insert(trace_.routes.token_ids.end(), fed.ids.begin(), fed.ids.end());
    trace_.routes.offsets.push_back(static_cast<int64_t>(trace_.routes.token_ids.size()));
  }
  const size_t rows = trace_.routes.token_ids.size(), k = static_cast<size_t>(slots);
  for (const int64_t layer : spec.moe_layers()) {
    auto& stored = trace_.routes.layers[layer];
    stored.k = slots;
    stored.ids.assign(rows * k, -1);
    stored.weights.assign(rows * k, 0.0f);
    trace_.router_logits[layer].assign(rows * static_cast<size_t>(trace_.num_experts), 0.0f);
  }
}

UnitObserver TraceRecorder::observer() {
  UnitObserver observer;
  observer.begin = [this](const UnitRun& run) {
    active_ = run.intervention == wanted_;
    if (!active_) return;
    table_rows_.assign(static_cast<size_t>(run.packed->pack.num_rows()), {});
    for (size_t i = 0; i < run.requests.size(); ++i) {
      const int64_t first = trace_.routes.offsets[static_cast<size_t>(run.requests[i])];
      const auto& rows = run.packed->rows[i];
      for (size_t p = 0; p < rows.size(); ++p)
        table_rows_[static_cast<size_t>(rows[p])].push_back(first + static_cast<int64_t>(p));
    }
  };
  observer.on_decision = [this](int64_t layer, const at::Tensor& logits_TE, const Decision& decision) {
    if (!active_) return;
    const int64_t k = decision.after.ids_TK.size(1), num_experts = trace_.num_experts;
    const float* logits = logits_TE.const_data_ptr<float>();
    const int32_t* ids = decision.after.ids_TK.const_data_ptr<int32_t>();
    const float* weights = decision.after.weights_TK.const_data_ptr<float>();
    auto& stored = trace_.routes.layers.at(layer);
    float* stored_logits = trace_.router_logits.at(layer).data();
    const int64_t copied = std::min(k, stored.k);
    for (size_t row = 0; row < table_rows_.size(); ++row) {
      const int64_t from = static_cast<int64_t>(row);
      for (const int64_t to : table_rows_[row]) {
        std::copy_n(logits + from * num_experts, num_experts, stored_logits + to * num_experts);
        std::copy_n(ids + from * k, copied, stored.ids.data() + to * stored.k);
        std::copy_n(weights + from * k, copied, stored.weights.data() + to * stored.k);
      }
    }
  };
  return observer;
}

}  // namespace fare
