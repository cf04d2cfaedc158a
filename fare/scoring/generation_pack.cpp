#include "fare/scoring/generation_pack.h"

#include <algorithm>
#include <set>

#include "fare/routing/selector.h"

namespace fare {

std::vector<int32_t> cut_after(std::vector<Segment>& segments, std::span<const int32_t> rows) {
  const std::set<int32_t> ends(rows.begin(), rows.end());
  std::vector<Segment> cut;
  std::vector<int32_t> last_piece(segments.size());  // of each old segment, as an index into `cut`
  for (size_t s = 0; s < segments.size(); ++s) {
    const Segment& whole = segments[s];
    int32_t parent = whole.parent < 0 ? -1 : last_piece[static_cast<size_t>(whole.parent)];
    int32_t first = whole.first_row;
    const int32_t end = whole.first_row + whole.num_rows;
    while (first < end) {
      const auto next = ends.lower_bound(first);
      const int32_t stop = next == ends.end() || *next + 1 > end ? end : *next + 1;
      cut.push_back({first, stop - first, parent});
      parent = static_cast<int32_t>(cut.size()) - 1;
      first = stop;
    }
    last_piece[s] = parent;
  }
  segments = cut;
  std::vector<int32_t> segment_of;
  for (const int32_t row : rows)
    for (size_t s = 0; s < segments.size(); ++s)
      if (segments[s].first_row + segments[s].num_rows - 1 == row) segment_of.push_back(static_cast<int32_t>(s));
  return segment_of;
}

int64_t looks_back(const Intervention& intervention) {
  int64_t tokens = 0;
  for (const Edit& edit : intervention.edits) tokens = std::max(tokens, edit.where.following);
  return tokens;
}

LayerEdits generated_edits(const Intervention& intervention, const RoutedModel& model,
                           std::span<const GeneratedRow> rows) {
  LayerEdits by_layer;
  for (const Edit& edit : intervention.edits) {
    ScopedEdit scoped;
    scoped.edit = &edit;
    if (!edit.where.everywhere()) {
      static const std::map<std::string, std::vector<std::pair<int64_t, int64_t>>> kNoSpans;
      for (const GeneratedRow& row : rows) {
        RequestView view;
        view.id = row.prompt_id;
        view.fed_ids = row.fed;
        view.first_position = row.position + 1 - static_cast<int64_t>(row.fed.size());
        view.num_context = 0;
        view.spans = &kNoSpans;
        scoped.scope_T.push_back(resolve(edit.where, view).back());
      }
    }
    for (const int64_t layer : model.moe_layers)
      if (edit.touches(layer)) by_layer[layer].push_back(scoped);
  }
  return by_layer;
}

}  // namespace fare
