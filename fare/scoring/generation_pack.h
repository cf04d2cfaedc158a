// Rows of texts that grow: where a prompt's branch begins, and which edits act on rows fed with generated tokens.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fare/models/forward.h"
#include "fare/models/pack.h"
#include "fare/routing/intervention.h"

namespace fare {

// Cuts segments so that each of `rows` is the last of its segment (a branch continues after its parent's last row).
// Gives the segment of each of `rows`.
std::vector<int32_t> cut_after(std::vector<Segment>& segments, std::span<const int32_t> rows);

// A row that is fed a generated token.
struct GeneratedRow {
  const std::string* prompt_id = nullptr;
  std::vector<int32_t>
      fed;               // the last fed tokens, as many as some edit looks back and one more; ends with the row's own
  int64_t position = 0;  // of the row, counted before truncation
};

// How many tokens back the edits of an intervention look (`following`).
int64_t looks_back(const Intervention& intervention);

// Edits of each MoE layer resolved to such rows. They are of phase `generated` and in no span.
LayerEdits generated_edits(const Intervention& intervention, const RoutedModel& model,
                           std::span<const GeneratedRow> rows);

}  // namespace fare
