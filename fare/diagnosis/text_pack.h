// Texts laid out as one pack, with the rows whose next token is scored.
#pragma once

#include <span>
#include <vector>

#include "fare/scoring/head.h"
#include "fare/scoring/prefix_tree.h"
#include "fare/scoring/request.h"
#include "fare/scoring/scorer.h"

namespace fare {

struct TextPack {
  std::vector<FedRequest> fed;  // per request
  PackedSequences packed;       // packed.rows[i][p]: row of fed position p of request i
  std::vector<Target> targets;  // every continuation token of every request, in order
};

// `share`: equal beginnings stand once.
TextPack pack_texts(const Scorer& scorer, std::span<const Request* const> requests, bool share);

}  // namespace fare
