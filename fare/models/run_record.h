// Runs only what edits change. A run under no edits leaves a record; a run of the same pack under edits then computes
// the rows whose route changes and, in the layers above, the rows that can see one of them. Shapes: T rows of the pack,
// A rows that are computed, D width, G key-value heads, E experts.
#pragma once

#include <ATen/ATen.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "fare/models/forward.h"
#include "fare/models/scratch_file.h"

namespace fare {

// What one layer of the run without edits left, in host memory.
struct LayerRecord {
  at::Tensor input_TD;      // residual stream before the layer; undefined in the lowest recorded layer
  at::Tensor k_TGd, v_TGv;  // likewise
  at::Tensor middle_TD;     // residual stream after attention; only where edits may come
  at::Tensor logits_TE;     // raw router logits; likewise
};

struct RunRecord {
  // edited[l]: some later run edits layer l. Layers below the first such are not recorded.
  // in_scratch[l]: what is kept of layer l goes into `scratch`, which must live as long; empty = everything stays in
  // memory.
  explicit RunRecord(std::vector<bool> edited, std::vector<bool> in_scratch = {}, ScratchFile* scratch = nullptr);

  std::vector<bool> edited;
  int64_t first_layer = 0;          // lowest edited layer; num_layers = nothing is edited
  std::vector<LayerRecord> layers;  // [num_layers]
  at::Tensor h_TD;                  // residual stream after the last layer

  // Bytes of such a record over a pack of `num_rows` rows: all of it, and the part of one layer.
  static int64_t bytes(const DecoderSpec& spec, const std::vector<bool>& edited, int64_t num_rows);
  static int64_t layer_bytes(const DecoderSpec& spec, const std::vector<bool>& edited, int64_t layer, int64_t num_rows);
  static constexpr int64_t kTensorsOfALayer = 5;

  // `value` of layer l as it is kept: itself, or a copy in the scratch file. `changes`: it is overwritten later.
  at::Tensor keep(int64_t layer, const at::Tensor& value, bool changes = false) const;

 private:
  std::vector<bool> in_scratch_;
  ScratchFile* scratch_;
};

struct ChangedRows {
  std::vector<int32_t> rows;  // ascending; every other row is as recorded, to the bit
  at::Tensor h_AD;            // residual stream after the last layer of these rows
  int64_t row_layers = 0;     // rows times layers that were computed
};

// The pass of `pack` under `edits`, all of them in layers the record knows. `receipt` may be null.
ChangedRows forward_changed(const Model& model, const Pack& pack, const RunRecord& record, const LayerEdits& edits,
                            Receipt* receipt);

// One of several passes that are computed together.
struct EditedPass {
  const LayerEdits* edits = nullptr;  // as above
  Receipt* receipt = nullptr;         // may be null
};

// Passes that came to their end together; changed[i] belongs to passes[i].
using PassesDone = std::function<void(std::span<const size_t> passes, std::span<const ChangedRows> changed)>;

// The same for many passes: rows of several go through each product together, `max_rows` at most or those of one pass.
// The memory that is held grows with max_rows times the number of layers from the first edited one on, at worst, not
// with the number of passes. Every pass is handed to `done` once; which come together depends on the arguments alone.
void forward_changed(const Model& model, const Pack& pack, const RunRecord& record, std::span<const EditedPass> passes,
                     int64_t max_rows, const PassesDone& done);

}  // namespace fare
