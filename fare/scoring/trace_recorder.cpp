#include "fare/scoring/trace_recorder.h"

#include <algorithm>

#include "fare/core/error.h"

namespace fare {

RouteTable trace_rows(std::span<const Request> requests, int64_t max_length, int64_t vocab_size) {
  RouteTable table;
  table.offsets = {0};
  for (const Request& request : requests) {
    const FedRequest fed = fed_part(request, max_length, vocab_size);
    table.token_ids.insert(table.token_ids.end(), fed.ids.begin(), fed.ids.end());
    table.offsets.push_back(static_cast<int64_t>(table.token_ids.size()));
  }
  return table;
}

TraceRecorder::TraceRecorder(const RouteTable& rows, int64_t intervention, TraceSink sink)
    : rows_(rows), wanted_(intervention), sink_(std::move(sink)) {}

UnitObserver TraceRecorder::observer() {
  UnitObserver observer;
  observer.begin = [this](const UnitRun& run) {
    active_ = run.intervention == wanted_;
    if (!active_) return;
    to_row_.clear();
    from_row_.clear();
    for (size_t i = 0; i < run.requests.size(); ++i) {
      const int64_t first = rows_.offsets[static_cast<size_t>(run.requests[i])];
      const auto& rows = run.packed->rows[i];
      for (size_t p = 0; p < rows.size(); ++p) {
        to_row_.push_back(first + static_cast<int64_t>(p));
        from_row_.push_back(rows[p]);
      }
    }
  };
  observer.on_decision = [this](int64_t layer, const at::Tensor& logits_TE, const Decision& decision) {
    if (!active_) return;
    sink_(layer, to_row_, from_row_, logits_TE.const_data_ptr<float>(), decision.after.ids_TK.const_data_ptr<int32_t>(),
          decision.after.weights_TK.const_data_ptr<float>(), decision.after.ids_TK.size(1));
  };
  return observer;
}

TraceSink keep_in_memory(RouteTable& table, const std::vector<int64_t>& layers, int64_t num_slots) {
  for (const int64_t layer : layers) {
    RouteTable::Layer& stored = table.layers[layer];
    stored.k = num_slots;
    stored.ids.assign(table.token_ids.size() * static_cast<size_t>(num_slots), -1);
    stored.weights.assign(stored.ids.size(), 0.0f);
  }
  return [&table](int64_t layer, std::span<const int64_t> to_row, std::span<const int64_t> from_row, const float*,
                  const int32_t* ids, const float* weights, int64_t slots) {
    RouteTable::Layer& stored = table.layers.at(layer);
    FARE_CHECK(slots <= stored.k, "a route has more experts than the table has slots");
    for (size_t i = 0; i < to_row.size(); ++i) {
      std::copy_n(ids + from_row[i] * slots, slots, stored.ids.data() + to_row[i] * stored.k);
      std::copy_n(weights + from_row[i] * slots, slots, stored.weights.data() + to_row[i] * stored.k);
    }
  };
}

}  // namespace fare
