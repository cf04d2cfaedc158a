// Traces of routes as safetensors files: what `--trace routes` writes and `force_routes` reads (docs/trace.md).
// Shapes: T fed tokens of all requests, E experts, K slots.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "fare/core/placed_file.h"
#include "fare/routing/route_table.h"

namespace fare {

struct TraceShape {
  std::vector<int64_t> offsets;    // [N + 1], first 0, last T
  std::vector<int32_t> token_ids;  // [T]
  std::vector<int64_t> layers;     // decoder layer indices of the MoE layers
  int64_t num_experts = 0;         // E
  int64_t num_slots = 0;           // K: Intervention::num_slots, or the model's top_k without edits
};

// Size of the finished file, to be compared with a limit before anything runs.
int64_t trace_file_bytes(const TraceShape& shape);

// Rows may arrive in any order and from any thread, each once; nothing but the rows at hand is in memory.
class TraceFileWriter {
 public:
  // Throws IoError naming the path (missing folder, full disk).
  TraceFileWriter(const std::filesystem::path& path, const TraceShape& shape);

  // Row `from_row[i]` of the given arrays becomes row `to_row[i]` of layer `layer`. `logits` is [.., E] (raw, before
  // any edit), `ids` and `weights` [.., num_slots_given], all row-major; slots beyond the file's K must be absent (-1).
  // Cheapest when `to_row` runs upwards. Throws IoError; BrokenInvariant on a row or layer that does not exist.
  void write(int64_t layer, std::span<const int64_t> to_row, std::span<const int64_t> from_row, const float* logits,
             const int32_t* ids, const float* weights, int64_t num_slots_given);

  // Puts the file in place. Throws BrokenInvariant naming the first layer of which rows are missing.
  void commit();

 private:
  struct Layer {
    size_t logits_begin = 0, ids_begin = 0, weights_begin = 0;  // byte offsets in the file
    std::vector<uint8_t> written_T;
  };
  int64_t num_rows_, num_experts_, num_slots_;
  std::map<int64_t, Layer> layers_;
  PlacedFile file_;
};

// A whole trace held in memory, written in one call. `router_logits` has [T, E] values for each layer of `routes`.
void write_trace_file(const std::filesystem::path& path, const RouteTable& routes, int64_t num_experts,
                      const std::map<int64_t, std::vector<float>>& router_logits);

// Reads the routes of a trace; router logits are left alone. Throws IoError, or FormatError naming the path and tensor:
// a missing tensor, a wrong type or shape, offsets that do not rise from 0 to T, an id below -1 or twice in a row, a
// weight that is not finite, an absent slot with a weight.
RouteTable read_trace_file(const std::filesystem::path& path);

}  // namespace fare
