#include "fare/models/run_record.h"

#include <algorithm>
#include <iterator>

#include "fare/core/error.h"
#include "fare/models/layer.h"
#include "fare/routing/driven_edit.h"

namespace fare {
namespace {

at::Tensor index_of(const std::vector<int32_t>& rows) { return at::tensor(at::ArrayRef<int32_t>(rows), at::kInt); }

// Where each of `some` stands in `all` (both ascending, `some` part of `all`).
at::Tensor places(const std::vector<int32_t>& some, const std::vector<int32_t>& all) {
  std::vector<int32_t> result;
  size_t j = 0;
  for (const int32_t row : some) {
    while (all[j] != row) ++j;
    result.push_back(static_cast<int32_t>(j));
  }
  return index_of(result);
}

// Rows that see one of `changed` through attention, themselves included, and where their queries stand.
struct Downstream {
  std::vector<int32_t> rows;            // ascending
  std::vector<SegmentQueries> queries;  // per segment
};

Downstream downstream(const Pack& pack, const std::vector<int32_t>& changed) {
  Downstream result;
  std::vector<char> all_rows(pack.segments.size(), 0);  // a row of the segment's path before it changed
  auto next = changed.begin();
  // Segments stand in the order of their rows (a pack's layout), so one walk finds the first changed row of each.
  for (size_t s = 0; s < pack.segments.size(); ++s) {
    const Segment& segment = pack.segments[s];
    const int32_t end = segment.first_row + segment.num_rows;
    next = std::lower_bound(changed.begin(), changed.end(), segment.first_row);
    int32_t skip = segment.num_rows;
    if (segment.parent >= 0 && all_rows[static_cast<size_t>(segment.parent)]) skip = 0;
    else if (next != changed.end() && *next < end) skip = *next - segment.first_row;
    all_rows[s] = skip < segment.num_rows;
    result.queries.push_back({skip, static_cast<int32_t>(result.rows.size())});
    for (int32_t r = segment.first_row + skip; r < end; ++r) result.rows.push_back(r);
  }
  return result;
}

// Rows outside `known` whose decision the edits change.
std::vector<int32_t> rerouted(const Decision& decision, const std::vector<int32_t>& known) {
  const at::Tensor &ids_before = decision.before.ids_TK, &ids = decision.after.ids_TK;
  const int64_t k_before = ids_before.size(1), k = ids.size(1), common = std::min(k_before, k);
  at::Tensor differs = (ids.narrow(1, 0, common) != ids_before.narrow(1, 0, common))
                           .logical_or(decision.after.weights_TK.narrow(1, 0, common) !=
                                       decision.before.weights_TK.narrow(1, 0, common)).any(1);
  if (k > common) differs = differs.logical_or((ids.narrow(1, common, k - common) >= 0).any(1));
  if (k_before > common) differs = differs.logical_or((ids_before.narrow(1, common, k_before - common) >= 0).any(1));
  if (decision.shared_scale_T.defined()) differs = differs.logical_or(decision.shared_scale_T != 1.0f);
  differs = differs.contiguous();
  const bool* flags = differs.const_data_ptr<bool>();
  std::vector<int32_t> rows;
  auto next = known.begin();
  for (int32_t r = 0; r < static_cast<int32_t>(differs.size(0)); ++r) {
    if (next != known.end() && *next == r) ++next;
    else if (flags[r]) rows.push_back(r);
  }
  return rows;
}

template <typename T>
std::vector<T> pick(const std::vector<T>& values, const std::vector<int32_t>& rows) {
  std::vector<T> result;
  if (values.empty()) return result;
  result.reserve(rows.size());
  for (const int32_t r : rows) result.push_back(values[static_cast<size_t>(r)]);
  return result;
}

}  // namespace

RunRecord::RunRecord(std::vector<bool> edited_layers)
    : edited(std::move(edited_layers)),
      first_layer(std::find(edited.begin(), edited.end(), true) - edited.begin()),
      layers(edited.size()) {}

int64_t RunRecord::bytes(const DecoderSpec& spec, const std::vector<bool>& edited, int64_t num_rows) {
  int64_t floats = spec.hidden_size;  // h_TD
  bool above = false;
  for (const bool is_edited : edited) {
    if (above) floats += spec.hidden_size + spec.num_kv_heads * (spec.head_dim + spec.value_dim);
    if (is_edited) floats += spec.hidden_size + spec.router.num_experts;
    above = above || is_edited;
  }
  return floats * num_rows * static_cast<int64_t>(sizeof(float));
}

ChangedRows forward_changed(const Model& model, const Pack& pack, const RunRecord& record, const LayerEdits& edits,
                            Receipt* receipt) {
  const at::NoGradGuard no_grad;
  const Family& family = model.family();
  const DecoderSpec& spec = model.spec();
  ChangedRows changed;
  for (int64_t l = record.first_layer; l < spec.num_layers; ++l) {
    const LayerRecord& kept = record.layers[static_cast<size_t>(l)];
    const auto found = edits.find(l);
    const bool edited = found != edits.end() && !found->second.empty();
    if (changed.rows.empty() && !edited) continue;

    Downstream active;
    at::Tensor h_AD, logits_AE;
    if (!changed.rows.empty()) {
      active = downstream(pack, changed.rows);
      const at::Tensor index = index_of(active.rows);
      h_AD = kept.input_TD.index_select(0, index);
      h_AD.index_copy_(0, places(changed.rows, active.rows).to(at::kLong), changed.h_AD);
      const Rotary rotary = make_rotary(spec.rope, pick(pack.positions, active.rows), pick(pack.length, active.rows));
      h_AD = after_attention(model, l, h_AD, rotary, pack.segments, active.queries,
                             [&](const at::Tensor& k_AGd, const at::Tensor& v_AGv) {
                               const at::Tensor at_rows = index.to(at::kLong);
                               return std::pair(kept.k_TGd.clone().index_copy_(0, at_rows, k_AGd),
                                                kept.v_TGv.clone().index_copy_(0, at_rows, v_AGv));
                             });
    }
    at::Tensor x_AD;
    if (h_AD.defined()) x_AD = ffn_input(model, l, h_AD);
    if (!spec.is_moe[static_cast<size_t>(l)]) {
      add_into(h_AD, family.dense_output(l, x_AD));
      changed.row_layers += static_cast<int64_t>(active.rows.size());
      changed = {std::move(active.rows), h_AD, changed.row_layers};
      continue;
    }
    if (h_AD.defined()) logits_AE = raw_logits(model, l, x_AD);
    if (!edited) {
      add_experts(model, l, x_AD, route(logits_AE, model.router(l), {}, l), h_AD);
      changed.row_layers += static_cast<int64_t>(active.rows.size());
      changed = {std::move(active.rows), h_AD, changed.row_layers};
      continue;
    }
    FARE_CHECK(kept.logits_TE.defined(), "layer " + std::to_string(l) + " is edited but was not recorded");
    at::Tensor logits_TE = kept.logits_TE;
    if (h_AD.defined()) logits_TE = logits_TE.index_copy(0, index_of(active.rows).to(at::kLong), logits_AE);
    std::span<const ScopedEdit> layer_edits = found->second;
    std::vector<ScopedEdit> driven;
    if (std::any_of(layer_edits.begin(), layer_edits.end(), [](const ScopedEdit& scoped) { return reads_input(scoped.edit->op); })) {
      const at::Tensor middle_TD =
          h_AD.defined() ? kept.middle_TD.index_copy(0, index_of(active.rows).to(at::kLong), h_AD) : kept.middle_TD;
      layer_edits = with_drive(layer_edits, ffn_input(model, l, middle_TD), driven);
    }
    Decision decision = route(logits_TE.contiguous(), model.router(l), layer_edits, l);
    if (receipt != nullptr) receipt->add(l, decision, layer_edits, pack.multiplicity);

    const std::vector<int32_t> also = rerouted(decision, active.rows);
    std::vector<int32_t> rows;
    std::merge(active.rows.begin(), active.rows.end(), also.begin(), also.end(), std::back_inserter(rows));
    if (rows.empty()) continue;
    const at::Tensor index = index_of(rows);
    at::Tensor middle_CD = kept.middle_TD.index_select(0, index);
    if (h_AD.defined()) middle_CD.index_copy_(0, places(active.rows, rows).to(at::kLong), h_AD);
    decision.before = {};
    decision.after = {decision.after.ids_TK.index_select(0, index), decision.after.weights_TK.index_select(0, index)};
    if (decision.shared_scale_T.defined()) decision.shared_scale_T = decision.shared_scale_T.index_select(0, index);
    add_experts(model, l, ffn_input(model, l, middle_CD), decision, middle_CD);
    changed.row_layers += static_cast<int64_t>(rows.size());
    changed = {std::move(rows), middle_CD, changed.row_layers};
  }
  return changed;
}

}  // namespace fare
