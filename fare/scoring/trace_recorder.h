// Collects the routes of a run, request by request, as `--trace routes` writes them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fare/routing/route_table.h"
#include "fare/scoring/scorer.h"

namespace fare {

// Routes of every fed token of every request, with the raw router logits.
struct RecordedTrace {
  RouteTable routes;
  int64_t num_experts = 0;
  std::map<int64_t, std::vector<float>> router_logits;  // per layer, [T, E]
};

// Bytes such a trace takes.
int64_t trace_bytes(const Model& model, std::span<const Request> requests, int64_t max_length, int64_t slots);

// Watches a Scorer run; one recorder per run of one intervention (or of the base).
class TraceRecorder {
 public:
  // `intervention`: which run to record, -1 = base. `slots`: the most experts a row can have.
  TraceRecorder(const Scorer& scorer, std::span<const Request> requests, int64_t intervention, int64_t slots);

  UnitObserver observer();
  RecordedTrace take() { return std::move(trace_); }

 private:
  int64_t wanted_;
  bool active_ = false;
  RecordedTrace trace_;
  std::vector<std::vector<int64_t>> table_rows_;  // per pack row of the current unit: rows of the trace
};

}  // namespace fare
