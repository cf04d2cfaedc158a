#include "fare/scoring/scope.h"

#include <algorithm>

#include "fare/core/error.h"
#include "fare/routing/selector.h"

namespace fare {
namespace {

RequestView view_of(const Request& request, const FedRequest& fed, TokenSpans& fed_spans) {
  fed_spans.clear();
  for (const auto& [name, ranges] : request.spans)
    for (const auto& [begin, end] : ranges)
      fed_spans[name].emplace_back(begin + fed.num_context, end + fed.num_context);
  RequestView view;
  view.id = &request.id;
  view.fed_ids = fed.ids;
  view.first_position = fed.truncated;
  view.num_context = fed.num_context;
  view.spans = &fed_spans;
  return view;
}

bool is_replay(const Edit& edit) { return std::holds_alternative<ForceRoutes>(edit.op); }

}  // namespace

std::vector<uint32_t> sharing_marks(const Intervention& intervention, const Request& request, const FedRequest& fed,
                                    int64_t request_index) {
  std::vector<uint32_t> marks;
  TokenSpans spans;
  uint32_t bit = 0;
  const auto own_rows = [&] { return std::vector<uint32_t>(fed.ids.size(), static_cast<uint32_t>(request_index) + 1); };
  for (const Edit& edit : intervention.edits) {
    if (is_replay(edit)) return own_rows();
    if (edit.is_identity() || !edit.where.depends_on_request()) continue;
    const auto scope = resolve(edit.where, view_of(request, fed, spans));
    marks.resize(fed.ids.size());
    // One bit an edit; with more edits than bits nothing is shared.
    if (bit == 32) return own_rows();
    for (size_t p = 0; p < scope.size(); ++p) marks[p] |= uint32_t{scope[p]} << bit;
    ++bit;
  }
  return marks;
}

LayerEdits scoped_edits(const Intervention& intervention, const RoutedModel& model, std::span<const Request> requests,
                        std::span<const int64_t> indices, std::span<const FedRequest> fed,
                        const PackedSequences& packed) {
  LayerEdits by_layer;
  TokenSpans spans;
  for (const Edit& edit : intervention.edits) {
    ScopedEdit scoped;
    scoped.edit = &edit;
    const size_t num_rows = packed.pack.token_ids.size();
    if (!edit.where.everywhere()) {
      scoped.scope_T.assign(num_rows, 0);
      for (size_t i = 0; i < packed.rows.size(); ++i) {
        const auto scope = resolve(edit.where, view_of(requests[i], fed[i], spans));
        for (size_t p = 0; p < scope.size(); ++p)
          if (scope[p]) scoped.scope_T[static_cast<size_t>(packed.rows[i][p])] = 1;
      }
    }
    if (is_replay(edit)) {
      const RouteTable& table = *std::get<ForceRoutes>(edit.op).table;
      scoped.table_row_T.assign(num_rows, -1);
      for (size_t i = 0; i < packed.rows.size(); ++i) {
        const size_t index = static_cast<size_t>(indices[i]);
        const std::string place = "force_routes: request '" + requests[i].id + "'";
        if (index + 1 >= table.offsets.size())
          throw ModelMismatch(place + " is number " + std::to_string(index) + ", but the stored routes hold only " +
                              std::to_string(table.offsets.size() - 1) + " requests");
        const int64_t begin = table.offsets[index], count = table.offsets[index + 1] - begin;
        if (count != static_cast<int64_t>(fed[i].ids.size()))
          throw ModelMismatch(place + " has " + std::to_string(fed[i].ids.size()) + " fed tokens, the stored routes " +
                              std::to_string(count));
        for (size_t p = 0; p < fed[i].ids.size(); ++p) {
          const size_t row = static_cast<size_t>(begin) + p;
          if (table.token_ids[row] != fed[i].ids[p])
            throw ModelMismatch(place + ", position " + std::to_string(p) + ": fed token " +
                                std::to_string(fed[i].ids[p]) + ", stored routes are of token " +
                                std::to_string(table.token_ids[row]));
          scoped.table_row_T[static_cast<size_t>(packed.rows[i][p])] = static_cast<int64_t>(row);
        }
      }
      for (const auto& [layer, unused] : table.layers)
        if (edit.touches(layer)) by_layer[layer].push_back(scoped);
      continue;
    }
    for (const int64_t layer : model.moe_layers)
      if (edit.touches(layer)) by_layer[layer].push_back(scoped);
  }
  return by_layer;
}

void recount_scope(const Intervention& intervention, std::span<const Request> requests, std::span<const FedRequest> fed,
                   int64_t times, Receipt& receipt) {
  if (std::none_of(intervention.edits.begin(), intervention.edits.end(),
                   [](const Edit& edit) { return edit.is_identity() && edit.where.depends_on_request(); }))
    return;
  for (auto& [layer, counted] : receipt.layers) counted.edits_applied = counted.tokens_in_scope = 0;
  TokenSpans spans;
  for (size_t i = 0; i < requests.size(); ++i) {
    std::vector<std::vector<uint8_t>> scopes;  // of each edit
    for (const Edit& edit : intervention.edits)
      scopes.push_back(resolve(edit.where, view_of(requests[i], fed[i], spans)));
    for (auto& [layer, counted] : receipt.layers) {
      for (size_t p = 0; p < fed[i].ids.size(); ++p) {
        int64_t edits = 0;
        for (size_t e = 0; e < scopes.size(); ++e)
          edits += intervention.edits[e].touches(layer) && scopes[e][p] ? 1 : 0;
        counted.edits_applied += edits * times;
        counted.tokens_in_scope += edits > 0 ? times : 0;
      }
    }
  }
}

}  // namespace fare
