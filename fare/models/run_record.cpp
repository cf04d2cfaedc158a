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

// Of each segment, how many leading rows see none of `changed` through attention (all = num_rows).
std::vector<int32_t> unchanged_rows(const Pack& pack, const std::vector<int32_t>& changed) {
  std::vector<int32_t> result;
  for (const Segment& segment : pack.segments) {
    int32_t leading = segment.num_rows;
    const size_t parent = static_cast<size_t>(segment.parent);
    if (segment.parent >= 0 && result[parent] < pack.segments[parent].num_rows) leading = 0;
    else if (const auto next = std::lower_bound(changed.begin(), changed.end(), segment.first_row);
             next != changed.end())
      leading = std::min(leading, *next - segment.first_row);
    result.push_back(leading);
  }
  return result;
}

// Rows outside `known` whose decision the edits change.
std::vector<int32_t> rerouted(const Decision& decision, const std::vector<int32_t>& known) {
  const at::Tensor &ids_before = decision.before.ids_TK, &ids = decision.after.ids_TK;
  const int64_t k_before = ids_before.size(1), k = ids.size(1), common = std::min(k_before, k);
  at::Tensor differs =
      (ids.narrow(1, 0, common) != ids_before.narrow(1, 0, common))
          .logical_or(decision.after.weights_TK.narrow(1, 0, common) != decision.before.weights_TK.narrow(1, 0, common))
          .any(1);
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

RunRecord::RunRecord(std::vector<bool> edited_layers, std::vector<bool> in_scratch, ScratchFile* scratch)
    : edited(std::move(edited_layers)),
      first_layer(std::find(edited.begin(), edited.end(), true) - edited.begin()),
      layers(edited.size()),
      in_scratch_(std::move(in_scratch)),
      scratch_(scratch) {}

at::Tensor RunRecord::keep(int64_t layer, const at::Tensor& value, bool changes) const {
  const at::Tensor on_host = value.cpu();
  if (scratch_ != nullptr && in_scratch_[static_cast<size_t>(layer)]) return scratch_->keep(on_host);
  return changes && on_host.is_same(value) ? value.clone() : on_host;
}

int64_t RunRecord::layer_bytes(const DecoderSpec& spec, const std::vector<bool>& edited, int64_t layer,
                               int64_t num_rows) {
  int64_t floats = 0;
  if (std::find(edited.begin(), edited.begin() + layer, true) != edited.begin() + layer)
    floats += spec.hidden_size + spec.num_kv_heads * (spec.head_dim + spec.value_dim);
  if (edited[static_cast<size_t>(layer)]) floats += spec.hidden_size + spec.router.num_experts;
  return floats * num_rows * static_cast<int64_t>(sizeof(float));
}

int64_t RunRecord::bytes(const DecoderSpec& spec, const std::vector<bool>& edited, int64_t num_rows) {
  int64_t sum = spec.hidden_size * num_rows * static_cast<int64_t>(sizeof(float));  // h_TD
  for (int64_t l = 0; l < spec.num_layers; ++l) sum += layer_bytes(spec, edited, l, num_rows);
  return sum;
}

namespace {

// A pass on its way up.
struct Lane {
  size_t pass = 0;
  const LayerEdits* edits = nullptr;
  Receipt* receipt = nullptr;
  ChangedRows changed;  // after the layer below
  // Within a layer:
  std::vector<int32_t> unchanged;  // per segment, see unchanged_rows
  std::vector<int32_t> active;     // rows that see a changed one, ascending
  at::Tensor h_AD;                 // of the active rows, after attention; undefined without any
  std::vector<int32_t> rows;       // rows whose output is computed: active and rerouted ones, ascending
  Decision decision;               // of `rows`
};
using Lanes = std::span<Lane>;

// Calls use(part) for consecutive parts of `lanes` of at most `max_rows` rows together, or one lane.
template <typename CountOf, typename Use>
void in_parts(Lanes lanes, int64_t max_rows, CountOf count_of, Use use) {
  for (size_t begin = 0; begin < lanes.size();) {
    size_t end = begin;
    for (int64_t rows = 0; end < lanes.size(); ++end) {
      rows += static_cast<int64_t>(count_of(lanes[end]));
      if (end > begin && rows > max_rows) break;
    }
    use(lanes.subspan(begin, end - begin));
    begin = end;
  }
}

at::Tensor joined(const std::vector<at::Tensor>& parts) { return parts.size() == 1 ? parts.front() : at::cat(parts); }

// [A, columns] with columns of `value` on the right up to that many.
at::Tensor widened(const at::Tensor& t, int64_t columns, double value) {
  return t.size(1) == columns ? t : at::constant_pad_nd(t, {0, columns - t.size(1)}, value);
}

class Climb {
 public:
  Climb(const Model& model, const Pack& pack, const RunRecord& record, int64_t max_rows, const PassesDone& done)
      : model_(model), pack_(pack), record_(record), max_rows_(max_rows), done_(done) {}

  // Takes the lanes through layer l and all above it.
  void from(Lanes lanes, int64_t l) const {
    if (l == model_.spec().num_layers) return finish(lanes);
    for (Lane& lane : lanes) find_active(lane);
    in_parts(
        lanes, max_rows_, [](const Lane& lane) { return lane.active.size(); },
        [&](Lanes part) {
          attention(part, l);
          in_parts(
              part, max_rows_, [](const Lane& lane) { return lane.rows.size(); },
              [&](Lanes together) {
                feed_forward(together, l);
                from(together, l + 1);
              });
        });
  }

 private:
  void find_active(Lane& lane) const {
    lane.active.clear();
    if (lane.changed.rows.empty()) return;
    lane.unchanged = unchanged_rows(pack_, lane.changed.rows);
    for (size_t s = 0; s < pack_.segments.size(); ++s)
      for (int32_t i = lane.unchanged[s]; i < pack_.segments[s].num_rows; ++i)
        lane.active.push_back(pack_.segments[s].first_row + i);
  }

  // The active rows of all lanes, as further rows of the pack: each lane's changed ends of segments hang where they
  // begin to differ. `rows`: which rows they are.
  struct Branches {
    std::vector<int32_t> rows;
    std::vector<Segment> segments;
    std::vector<SegmentQueries> queries;
  };
  Branches branches(Lanes lanes) const {
    Branches all{{}, pack_.segments, {}};
    for (const Segment& segment : pack_.segments) all.queries.push_back({segment.num_rows, 0});
    const int32_t num_rows = static_cast<int32_t>(pack_.num_rows());
    const auto add = [&](const Segment& segment, const SegmentQueries& queries) {
      all.segments.push_back(segment);
      all.queries.push_back(queries);
      return static_cast<int32_t>(all.segments.size()) - 1;
    };
    for (const Lane& lane : lanes) {
      if (lane.active.empty()) continue;
      int32_t next = static_cast<int32_t>(all.rows.size());
      all.rows.insert(all.rows.end(), lane.active.begin(), lane.active.end());
      std::vector<int32_t> branch_of(pack_.segments.size(), -1);
      for (size_t s = 0; s < pack_.segments.size(); ++s) {
        const Segment& segment = pack_.segments[s];
        const int32_t leading = lane.unchanged[s], own = segment.num_rows - leading;
        if (own == 0) continue;
        int32_t parent = segment.parent;
        if (leading > 0) parent = add({segment.first_row, leading, parent}, {leading, 0});
        else if (parent >= 0 && branch_of[static_cast<size_t>(parent)] >= 0)
          parent = branch_of[static_cast<size_t>(parent)];
        branch_of[s] = add({num_rows + next, own, parent}, {0, next});
        next += own;
      }
    }
    return all;
  }

  // Attention of the active rows, and what every lane's router decides.
  void attention(Lanes lanes, int64_t l) const {
    const LayerRecord& kept = record_.layers[static_cast<size_t>(l)];
    const bool is_moe = model_.spec().is_moe[static_cast<size_t>(l)];
    const Branches all = branches(lanes);
    at::Tensor h_AD, logits_AE;
    if (!all.rows.empty()) {
      h_AD = kept.input_TD.index_select(0, index_of(all.rows));
      int64_t first = 0;
      for (const Lane& lane : lanes) {
        if (lane.active.empty()) continue;
        at::Tensor own = h_AD.narrow(0, first, static_cast<int64_t>(lane.active.size()));
        own.index_copy_(0, places(lane.changed.rows, lane.active).to(at::kLong), lane.changed.h_AD);
        first += own.size(0);
      }
      const Rotary rotary =
          make_rotary(model_.spec().rope, pick(pack_.positions, all.rows), pick(pack_.length, all.rows));
      h_AD = after_attention(model_, l, h_AD, rotary, all.segments, all.queries,
                             [&](const at::Tensor& k_AGd, const at::Tensor& v_AGv) {
                               return std::pair(at::cat({kept.k_TGd.to(k_AGd.device()), k_AGd}),
                                                at::cat({kept.v_TGv.to(v_AGv.device()), v_AGv}));
                             })
                 .cpu();
      if (is_moe) logits_AE = raw_logits(model_, l, ffn_input(model_, l, h_AD));
    }
    int64_t first = 0;
    for (Lane& lane : lanes) {
      const int64_t count = static_cast<int64_t>(lane.active.size());
      lane.h_AD = count > 0 ? h_AD.narrow(0, first, count) : at::Tensor();
      lane.rows = lane.active;
      lane.decision = {};
      if (is_moe) decide(lane, l, count > 0 ? logits_AE.narrow(0, first, count) : at::Tensor());
      first += count;
    }
  }

  void decide(Lane& lane, int64_t l, const at::Tensor& logits_AE) const {
    const auto found = lane.edits->find(l);
    if (found == lane.edits->end() || found->second.empty()) {
      if (logits_AE.defined()) lane.decision = route(logits_AE, model_.router(l), {}, l);
      return;
    }
    at::Tensor logits_TE = record_.layers[static_cast<size_t>(l)].logits_TE;
    FARE_CHECK(logits_TE.defined(), "layer " + std::to_string(l) + " is edited but was not recorded");
    if (logits_AE.defined()) logits_TE = logits_TE.index_copy(0, index_of(lane.active).to(at::kLong), logits_AE);
    std::span<const ScopedEdit> edits = found->second;
    std::vector<ScopedEdit> driven;
    if (std::any_of(edits.begin(), edits.end(),
                    [](const ScopedEdit& scoped) { return reads_input(scoped.edit->op); })) {
      at::Tensor middle_TD = record_.layers[static_cast<size_t>(l)].middle_TD;
      if (lane.h_AD.defined()) middle_TD = middle_TD.index_copy(0, index_of(lane.active).to(at::kLong), lane.h_AD);
      edits = with_drive(edits, ffn_input(model_, l, middle_TD), driven);
    }
    Decision decision = route(logits_TE.contiguous(), model_.router(l), edits, l, pack_.positions);
    if (lane.receipt != nullptr) lane.receipt->add(l, decision, edits, pack_.multiplicity);
    const std::vector<int32_t> also = rerouted(decision, lane.active);
    lane.rows.clear();
    std::merge(lane.active.begin(), lane.active.end(), also.begin(), also.end(), std::back_inserter(lane.rows));
    const at::Tensor index = index_of(lane.rows);
    lane.decision.after = {decision.after.ids_TK.index_select(0, index),
                           decision.after.weights_TK.index_select(0, index)};
    // A replaced row is in `rows`: it lost an expert.
    for (Replaced one : decision.replaced) {
      one.row = std::lower_bound(lane.rows.begin(), lane.rows.end(), one.row) - lane.rows.begin();
      lane.decision.replaced.push_back(one);
    }
    if (decision.shared_scale_T.defined())
      lane.decision.shared_scale_T = decision.shared_scale_T.index_select(0, index);
  }

  // What the experts or the dense MLP add to the rows.
  void feed_forward(Lanes lanes, int64_t l) const {
    std::vector<at::Tensor> middle, ids, weights, scales;
    int64_t slots = 0;
    bool scaled = false;
    for (const Lane& lane : lanes) {
      if (lane.rows.empty()) continue;
      middle.push_back(lane.h_AD);
      if (lane.rows.size() > lane.active.size()) {
        middle.back() = record_.layers[static_cast<size_t>(l)].middle_TD.index_select(0, index_of(lane.rows));
        if (lane.h_AD.defined()) middle.back().index_copy_(0, places(lane.active, lane.rows).to(at::kLong), lane.h_AD);
      }
      if (!lane.decision.after.ids_TK.defined()) continue;
      slots = std::max(slots, lane.decision.after.ids_TK.size(1));
      scaled = scaled || lane.decision.shared_scale_T.defined();
    }
    if (!middle.empty()) {
      at::Tensor h_AD = joined(middle);
      const at::Tensor x_AD = ffn_input(model_, l, h_AD);
      if (model_.spec().is_moe[static_cast<size_t>(l)]) {
        for (const Lane& lane : lanes) {
          if (lane.rows.empty()) continue;
          ids.push_back(widened(lane.decision.after.ids_TK, slots, -1));
          weights.push_back(widened(lane.decision.after.weights_TK, slots, 0));
          const at::Tensor& scale = lane.decision.shared_scale_T;
          scales.push_back(scale.defined() ? scale : at::ones({ids.back().size(0)}, at::kFloat));
        }
        Decision decision;
        decision.after = {joined(ids), joined(weights)};
        int64_t first = 0;
        for (const Lane& lane : lanes) {
          for (Replaced one : lane.decision.replaced) {
            one.row += first;
            decision.replaced.push_back(one);
          }
          first += static_cast<int64_t>(lane.rows.size());
        }
        if (scaled) decision.shared_scale_T = joined(scales);
        add_experts(model_, l, x_AD, decision, h_AD);
      } else {
        add_into(h_AD, model_.family().dense_output(l, x_AD));
      }
      int64_t first = 0;
      for (Lane& lane : lanes) {
        if (lane.rows.empty()) continue;
        const int64_t count = static_cast<int64_t>(lane.rows.size());
        lane.changed = {std::move(lane.rows), h_AD.narrow(0, first, count), lane.changed.row_layers + count};
        first += count;
      }
    }
    for (Lane& lane : lanes) {  // a lane that changed before has active rows: none is left behind
      lane.h_AD = at::Tensor();
      lane.decision = {};
    }
  }

  void finish(Lanes lanes) const {
    std::vector<size_t> passes;
    std::vector<ChangedRows> changed;
    for (Lane& lane : lanes) {
      passes.push_back(lane.pass);
      changed.push_back(std::move(lane.changed));
    }
    done_(passes, changed);
  }

  const Model& model_;
  const Pack& pack_;
  const RunRecord& record_;
  int64_t max_rows_;
  const PassesDone& done_;
};

}  // namespace

void forward_changed(const Model& model, const Pack& pack, const RunRecord& record, std::span<const EditedPass> passes,
                     int64_t max_rows, const PassesDone& done) {
  const at::NoGradGuard no_grad;
  std::vector<Lane> lanes(passes.size());
  for (size_t i = 0; i < passes.size(); ++i) {
    lanes[i].pass = i;
    lanes[i].edits = passes[i].edits;
    lanes[i].receipt = passes[i].receipt;
  }
  Climb(model, pack, record, max_rows, done).from(lanes, record.first_layer);
}

ChangedRows forward_changed(const Model& model, const Pack& pack, const RunRecord& record, const LayerEdits& edits,
                            Receipt* receipt) {
  const EditedPass pass{&edits, receipt};
  ChangedRows result;
  forward_changed(model, pack, record, {&pass, 1}, pack.num_rows(),
                  [&](auto, std::span<const ChangedRows> changed) { result = changed.front(); });
  return result;
}

}  // namespace fare
