#include "fare/diagnosis/text_pack.h"

#include <algorithm>

namespace fare {

TextPack pack_texts(const Scorer& scorer, std::span<const Request* const> requests, bool share) {
  const DecoderSpec& spec = scorer.model().spec();
  TextPack text;
  for (const Request* request : requests) text.fed.push_back(fed_part(*request, scorer.max_length(), spec.vocab_size));
  std::vector<Sequence> sequences;
  for (const FedRequest& one : text.fed) {
    const int64_t length = static_cast<int64_t>(one.ids.size());
    const int64_t rope_length = spec.rope.depends_on_length() ? std::max(length, spec.rope.length_threshold()) : 0;
    sequences.push_back({one.ids, {}, static_cast<int32_t>(rope_length)});
  }
  const std::vector<int64_t> order = prefix_order(sequences);  // sharing is complete in this order
  std::vector<Sequence> ordered;
  for (const int64_t i : order) ordered.push_back(sequences[static_cast<size_t>(i)]);
  text.packed = pack_sequences(ordered, share);
  std::vector<std::vector<int32_t>> rows(requests.size());
  for (size_t i = 0; i < order.size(); ++i) rows[static_cast<size_t>(order[i])] = std::move(text.packed.rows[i]);
  text.packed.rows = std::move(rows);
  for (size_t i = 0; i < requests.size(); ++i) {
    const size_t first = static_cast<size_t>(text.fed[i].num_context) - 1;
    for (size_t j = 0; j < requests[i]->continuation.size(); ++j)
      text.targets.push_back({text.packed.rows[i][first + j], requests[i]->continuation[j]});
  }
  return text;
}

}  // namespace fare
