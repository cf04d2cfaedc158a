// Runs only what edits change. A run under no edits leaves a record; a run of the same pack under edits then computes the
// rows whose route changes and, in the layers above, the rows that can see one of them.
// Shapes: T rows of the pack, A rows that are computed, D width, G key-value heads, E experts.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "fare/models/forward.h"

namespace fare {

// What one layer of the run without edits left.
struct LayerRecord {
  at::Tensor input_TD;        // residual stream before the layer; undefined in the lowest recorded layer
  at::Tensor k_TGd, v_TGv;    // likewise
  at::Tensor middle_TD;       // residual stream after attention; only where edits may come
  at::Tensor logits_TE;       // raw router logits; likewise
};

struct RunRecord {
  // edited[l]: some later run edits layer l. Layers below the first such are not recorded.
  explicit RunRecord(std::vector<bool> edited);

  std::vector<bool> edited;
  int64_t first_layer = 0;           // lowest edited layer; num_layers = nothing is edited
  std::vector<LayerRecord> layers;   // [num_layers]
  at::Tensor h_TD;                   // residual stream after the last layer

  // Bytes of such a record over a pack of `num_rows` rows.
  static int64_t bytes(const DecoderSpec& spec, const std::vector<bool>& edited, int64_t num_rows);
};

struct ChangedRows {
  std::vector<int32_t> rows;  // ascending; every other row is as recorded, to the bit
  at::Tensor h_AD;            // residual stream after the last layer of these rows
  int64_t row_layers = 0;     // rows times layers that were computed
};

// The pass of `pack` under `edits`, all of them in layers the record knows. `receipt` may be null.
ChangedRows forward_changed(const Model& model, const Pack& pack, const RunRecord& record, const LayerEdits& edits,
                            Receipt* receipt);

}  // namespace fare
