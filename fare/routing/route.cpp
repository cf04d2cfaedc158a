#include "fare/routing/route.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "fare/core/error.h"
#include "fare/routing/driven_edit.h"
#include "fare/routing/parallel_rows.h"
#include "fare/routing/selection.h"
#include "fare/routing/weight_edits.h"

// Shapes: T rows of the call, R rows that some edit of logits or selection touches, E experts, K slots.

namespace fare {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr int64_t kGrain = 128;  // rows per task

at::Tensor float_matrix(int64_t rows, int64_t columns) { return at::empty({rows, columns}, at::kFloat); }
at::Tensor int_matrix(int64_t rows, int64_t columns) { return at::empty({rows, columns}, at::kInt); }

bool is_all_ones(const std::vector<uint8_t>& scope_T) {
  return std::all_of(scope_T.begin(), scope_T.end(), [](uint8_t in) { return in != 0; });
}

bool in_scope(const ScopedEdit& scoped, int64_t row) { return scoped.scope_T.empty() || scoped.scope_T[row] != 0; }

// The order in which the edits of logits and selection are applied, whatever their order among points in the file:
// logits; activate and deactivate; selection. Weights and shared_scale come later and are not ranked here.
enum class Point { kLogits, kForcing, kSelection, kWeights };

Point point_of(const EditOp& op) {
  if (const auto* add = std::get_if<AddLogit>(&op))
    return add->affects == AddLogit::Affects::kSelection ? Point::kSelection : Point::kLogits;
  if (const auto* mask = std::get_if<Mask>(&op))
    return mask->mode == Mask::Mode::kRefill ? Point::kLogits : Point::kWeights;
  if (std::holds_alternative<Temperature>(op) || std::holds_alternative<RouterDelta>(op)) return Point::kLogits;
  if (std::holds_alternative<Activate>(op) || std::holds_alternative<Deactivate>(op)) return Point::kForcing;
  if (std::holds_alternative<SetTopK>(op) || std::holds_alternative<TopP>(op) ||
      std::holds_alternative<ForceRoutes>(op))
    return Point::kSelection;
  return Point::kWeights;
}

bool keeps_sum(const EditOp& op) {
  if (const auto* add = std::get_if<AddLogit>(&op)) return add->keep_sum;
  if (const auto* delta = std::get_if<RouterDelta>(&op)) return delta->keep_sum;
  if (const auto* mask = std::get_if<Mask>(&op)) return mask->keep_sum;
  if (const auto* on = std::get_if<Activate>(&op)) return on->keep_sum;
  if (const auto* off = std::get_if<Deactivate>(&op)) return off->keep_sum;
  return false;
}

void require_finite(const at::Tensor& logits_TE, int64_t layer) {
  const int64_t num_experts = logits_TE.size(1);
  const float* data = logits_TE.const_data_ptr<float>();
  parallel_rows(0, logits_TE.size(0), 1024, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* row_E = data + t * num_experts;
      bool any_finite = false;
      for (int64_t e = 0; e < num_experts; ++e) {
        // -inf is accepted: such an expert cannot be chosen.
        if (!(row_E[e] < std::numeric_limits<float>::infinity()))
          throw NumericError("router logit is " + std::string(std::isnan(row_E[e]) ? "NaN" : "+inf") + " at layer " +
                             std::to_string(layer) + ", row " + std::to_string(t) + ", expert " + std::to_string(e) +
                             ": the layer's input or the router's weights hold a value that is not finite");
        any_finite |= row_E[e] != kMinusInfinity;
      }
      if (!any_finite)
        throw NumericError("every router logit is -inf at layer " + std::to_string(layer) + ", row " +
                           std::to_string(t) + ": no expert can be chosen");
    }
  });
}

// Rows on their way through the edits of logits and selection.
class EditedRows {
 public:
  EditedRows(const RouterSpec& spec, const at::Tensor& logits_TE, std::vector<int64_t> rows_R, int64_t num_slots)
      : spec_(spec), rows_R_(std::move(rows_R)), num_slots_(num_slots) {
    const int64_t num_rows = static_cast<int64_t>(rows_R_.size());
    const at::Tensor index_R = at::from_blob(rows_R_.data(), {num_rows}, at::kLong);
    logits_RE_ = logits_TE.index_select(0, index_R).contiguous();
    size_R_.assign(rows_R_.size(), RowSize{spec.top_k, -1});
    stored_R_.assign(rows_R_.size(), nullptr);
    table_row_R_.assign(rows_R_.size(), -1);
  }

  int64_t num_rows() const { return static_cast<int64_t>(rows_R_.size()); }
  int64_t row(int64_t r) const { return rows_R_[r]; }

  void apply(const ScopedEdit& scoped, int64_t layer) {
    const EditOp& op = scoped.edit->op;
    if (const auto* add = std::get_if<AddLogit>(&op)) add_logit(*add, scoped);
    if (std::holds_alternative<RouterDelta>(op)) {
      const float* shift = scoped.drive.const_data_ptr<float>();
      for_rows(scoped, [&](int64_t r) {
        float* row_E = logits(r);
        for (int64_t e = 0; e < spec_.num_experts; ++e) row_E[e] += shift[rows_R_[r] * spec_.num_experts + e];
      });
    }
    if (const auto* temperature = std::get_if<Temperature>(&op))
      for_rows(scoped, [&](int64_t r) {
        float* row_E = logits(r);
        for (int64_t e = 0; e < spec_.num_experts; ++e) row_E[e] /= static_cast<float>(temperature->value);
      });
    if (const auto* mask = std::get_if<Mask>(&op))
      for_rows(scoped, [&](int64_t r) {
        for (const int32_t e : mask->experts) logits(r)[e] = kMinusInfinity;
      });
    if (const auto* on = std::get_if<Activate>(&op)) force(on->experts, kForcedOn, scoped);
    if (const auto* off = std::get_if<Deactivate>(&op)) force(off->experts, kForcedOff, scoped);
    if (const auto* top_k = std::get_if<SetTopK>(&op)) select_again(scoped, RowSize{top_k->k, -1});
    if (const auto* top_p = std::get_if<TopP>(&op)) select_again(scoped, RowSize{0, top_p->p});
    if (const auto* stored = std::get_if<ForceRoutes>(&op)) {
      const auto found = stored->table->layers.find(layer);
      if (found == stored->table->layers.end()) return;
      for_rows(scoped, [&](int64_t r) {
        stored_R_[r] = &found->second;
        table_row_R_[r] = scoped.table_row_T[rows_R_[r]];
      });
    }
  }

  bool replayed(int64_t r) const { return table_row_R_[r] >= 0; }

  // The route that the edits applied so far lead to.
  Route evaluate() const {
    Route route{int_matrix(num_rows(), num_slots_), float_matrix(num_rows(), num_slots_)};
    const at::Tensor scores_RE = router_scores(logits_RE_);
    const at::Tensor shifted_RE = shift_RE_.defined() ? logits_RE_ + shift_RE_ : logits_RE_;
    const at::Tensor select_RE = shift_RE_.defined() ? router_scores(shifted_RE) : scores_RE;
    const float* logits_data = logits_RE_.const_data_ptr<float>();
    const float* scores_data = scores_RE.const_data_ptr<float>();
    const float* select_data = select_RE.const_data_ptr<float>();
    const float* shifted_data = shifted_RE.const_data_ptr<float>();
    int32_t* ids_data = route.ids_TK.mutable_data_ptr<int32_t>();
    float* weights_data = route.weights_TK.mutable_data_ptr<float>();
    const int64_t num_experts = spec_.num_experts;
    parallel_rows(0, num_rows(), kGrain, [&](int64_t begin, int64_t end) {
      SelectionScratch scratch;
      for (int64_t r = begin; r < end; ++r) {
        int32_t* ids_K = ids_data + r * num_slots_;
        float* weights_K = weights_data + r * num_slots_;
        if (replayed(r)) {
          replay(r, ids_K, weights_K);
          continue;
        }
        const uint8_t* forced_E = forced_any(r) ? forced_RE_.data() + r * num_experts : nullptr;
        select_row(spec_,
                   RowScores{logits_data + r * num_experts, scores_data + r * num_experts,
                             select_data + r * num_experts, shifted_data + r * num_experts, forced_E},
                   size_R_[r], num_slots_, scratch, ids_K, weights_K);
      }
    });
    return route;
  }

 private:
  float* logits(int64_t r) { return logits_RE_.mutable_data_ptr<float>() + r * spec_.num_experts; }
  bool forced_any(int64_t r) const { return !extremes_R_.empty() && extremes_R_[r].taken; }

  template <typename Body>
  void for_rows(const ScopedEdit& scoped, const Body& body) {
    parallel_rows(0, num_rows(), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        if (in_scope(scoped, rows_R_[r])) body(r);
    });
  }

  void add_logit(const AddLogit& op, const ScopedEdit& scoped) {
    const bool selection_only = op.affects == AddLogit::Affects::kSelection;
    if (selection_only && !shift_RE_.defined()) shift_RE_ = at::zeros_like(logits_RE_);
    float* target = selection_only ? shift_RE_.mutable_data_ptr<float>() : logits_RE_.mutable_data_ptr<float>();
    const float* gate_T = op.gate ? scoped.drive.const_data_ptr<float>() : nullptr;
    for_rows(scoped, [&](int64_t r) {
      for (size_t i = 0; i < op.experts.size(); ++i) {
        const float value = static_cast<float>(op.values[i]);
        target[r * spec_.num_experts + op.experts[i]] += gate_T == nullptr ? value : value * gate_T[rows_R_[r]];
      }
      if (selection_only) table_row_R_[r] = -1;
    });
  }

  // Source: steering by (de)activation on log-softmax(z), max + 0.01 and min - 0.01; both taken once per row.
  void force(const std::vector<int32_t>& experts, uint8_t how, const ScopedEdit& scoped) {
    const int64_t num_experts = spec_.num_experts;
    if (extremes_R_.empty()) {
      extremes_R_.resize(rows_R_.size());
      forced_RE_.assign(rows_R_.size() * num_experts, 0);
    }
    for_rows(scoped, [&](int64_t r) {
      float* row_E = logits(r);
      Extremes& extremes = extremes_R_[r];
      if (!extremes.taken) {
        log_softmax(row_E);
        extremes.taken = true;
        for (int64_t e = 0; e < num_experts; ++e) {
          if (row_E[e] == kMinusInfinity) continue;
          extremes.max = std::max(extremes.max, row_E[e]);
          extremes.min = std::min(extremes.min, row_E[e]);
        }
      }
      for (const int32_t e : experts) {
        if (row_E[e] == kMinusInfinity) continue;  // a mask beats forcing
        row_E[e] = how == kForcedOn ? extremes.max + 0.01f : extremes.min - 0.01f;
        forced_RE_[r * num_experts + e] = how;
      }
    });
  }

  void log_softmax(float* row_E) const {
    float largest = kMinusInfinity;
    for (int64_t e = 0; e < spec_.num_experts; ++e) largest = std::max(largest, row_E[e]);
    if (largest == kMinusInfinity) return;
    double sum = 0;
    for (int64_t e = 0; e < spec_.num_experts; ++e) sum += std::exp(double{row_E[e]} - largest);
    const double log_sum = largest + std::log(sum);
    for (int64_t e = 0; e < spec_.num_experts; ++e) row_E[e] = static_cast<float>(row_E[e] - log_sum);
  }

  void select_again(const ScopedEdit& scoped, RowSize size) {
    for_rows(scoped, [&](int64_t r) {
      size_R_[r] = size;
      table_row_R_[r] = -1;
    });
  }

  void replay(int64_t r, int32_t* ids_K, float* weights_K) const {
    const RouteTable::Layer& stored = *stored_R_[r];
    const int64_t k = std::min(stored.k, num_slots_);
    std::copy_n(stored.ids.data() + table_row_R_[r] * stored.k, k, ids_K);
    std::copy_n(stored.weights.data() + table_row_R_[r] * stored.k, k, weights_K);
    std::fill(ids_K + k, ids_K + num_slots_, -1);
    std::fill(weights_K + k, weights_K + num_slots_, 0.0f);
  }

  struct Extremes {
    bool taken = false;
    float max = kMinusInfinity;
    float min = std::numeric_limits<float>::infinity();
  };

  const RouterSpec& spec_;
  std::vector<int64_t> rows_R_;
  int64_t num_slots_;
  at::Tensor logits_RE_;
  at::Tensor shift_RE_;  // added to the logits for selection only; undefined without such an edit
  std::vector<uint8_t> forced_RE_;
  std::vector<Extremes> extremes_R_;  // empty until something is forced
  std::vector<RowSize> size_R_;
  std::vector<const RouteTable::Layer*> stored_R_;  // read where table_row_R_ says so
  std::vector<int64_t> table_row_R_;                // row replayed, -1 = none
};

Route choose(const at::Tensor& logits_TE, const RouterSpec& spec) {
  Route route{int_matrix(logits_TE.size(0), spec.top_k), float_matrix(logits_TE.size(0), spec.top_k)};
  const at::Tensor scores_TE = router_scores(logits_TE);
  const float* logits_data = logits_TE.const_data_ptr<float>();
  const float* scores_data = scores_TE.const_data_ptr<float>();
  int32_t* ids_data = route.ids_TK.mutable_data_ptr<int32_t>();
  float* weights_data = route.weights_TK.mutable_data_ptr<float>();
  const int64_t num_experts = spec.num_experts;
  parallel_rows(0, logits_TE.size(0), kGrain, [&](int64_t begin, int64_t end) {
    SelectionScratch scratch;
    for (int64_t t = begin; t < end; ++t) {
      const float *scores_E = scores_data + t * num_experts, *logits_E = logits_data + t * num_experts;
      select_row(spec, RowScores{logits_E, scores_E, scores_E, logits_E, nullptr}, RowSize{spec.top_k, -1}, spec.top_k,
                 scratch, ids_data + t * spec.top_k, weights_data + t * spec.top_k);
    }
  });
  return route;
}

// A route of the same rows with `num_slots` slots: absent ones added, or (where they are absent anyway) cut off.
Route with_slots(const Route& route, int64_t num_slots) {
  const int64_t common = std::min(num_slots, route.ids_TK.size(1));
  Route wider{at::full({route.ids_TK.size(0), num_slots}, -1, at::kInt),
              at::zeros({route.ids_TK.size(0), num_slots}, at::kFloat)};
  wider.ids_TK.narrow(1, 0, common).copy_(route.ids_TK.narrow(1, 0, common));
  wider.weights_TK.narrow(1, 0, common).copy_(route.weights_TK.narrow(1, 0, common));
  return wider;
}

double weight_sum(const Route& route, int64_t row) {
  const int64_t num_slots = route.weights_TK.size(1);
  const float* weights_K = route.weights_TK.const_data_ptr<float>() + row * num_slots;
  double sum = 0;
  for (int64_t i = 0; i < num_slots; ++i) sum += weights_K[i];
  return sum;
}

// Applies the edits of logits and selection to the rows they touch and stores those rows in `after`.
void edit_selection(const at::Tensor& logits_TE, const RouterSpec& spec, const std::vector<const ScopedEdit*>& edits,
                    int64_t layer, const Route& before, Route& after) {
  std::vector<int64_t> rows_R;
  for (int64_t t = 0; t < logits_TE.size(0); ++t)
    if (std::any_of(edits.begin(), edits.end(), [&](const ScopedEdit* scoped) { return in_scope(*scoped, t); }))
      rows_R.push_back(t);
  if (rows_R.empty()) return;

  // On the way (for keep_sum) a row may have more experts than in the end.
  const int64_t num_slots = after.ids_TK.size(1);
  int64_t working_slots = std::max(num_slots, spec.top_k);
  for (const ScopedEdit* scoped : edits)
    working_slots = std::max(working_slots, slots_needed(spec, std::span(scoped, 1)));
  EditedRows rows(spec, logits_TE, std::move(rows_R), working_slots);
  std::vector<double> factor_R(rows.num_rows(), 1);
  std::vector<double> sum_R(rows.num_rows());
  for (int64_t r = 0; r < rows.num_rows(); ++r) sum_R[r] = weight_sum(before, rows.row(r));
  Route current;
  bool sums_current = true, route_current = false;

  // keep_sum restores the sum of the weights that the earlier edits alone would have led to. Factors multiply: weights
  // are only scaled at the end.
  for (const ScopedEdit* scoped : edits) {
    const bool keep_sum = keeps_sum(scoped->edit->op);
    if (keep_sum && !sums_current) {
      current = rows.evaluate();
      for (int64_t r = 0; r < rows.num_rows(); ++r) sum_R[r] = weight_sum(current, r);
    }
    rows.apply(*scoped, layer);
    route_current = sums_current = keep_sum;
    if (!keep_sum) continue;
    current = rows.evaluate();
    for (int64_t r = 0; r < rows.num_rows(); ++r) {
      const double sum = weight_sum(current, r);
      if (sum != sum_R[r] && sum > 0) factor_R[r] *= sum_R[r] / sum;
      sum_R[r] = sum;
    }
  }
  if (!route_current) current = rows.evaluate();

  const int32_t* from_ids = current.ids_TK.const_data_ptr<int32_t>();
  const float* from_weights = current.weights_TK.const_data_ptr<float>();
  int32_t* to_ids = after.ids_TK.mutable_data_ptr<int32_t>();
  float* to_weights = after.weights_TK.mutable_data_ptr<float>();
  for (int64_t r = 0; r < rows.num_rows(); ++r) {
    const int64_t t = rows.row(r);
    std::copy_n(from_ids + r * working_slots, num_slots, to_ids + t * num_slots);
    std::copy_n(from_weights + r * working_slots, num_slots, to_weights + t * num_slots);
    if (factor_R[r] == 1 || rows.replayed(r)) continue;  // stored weights are replayed as they are
    for (int64_t i = 0; i < num_slots; ++i)
      to_weights[t * num_slots + i] = static_cast<float>(to_weights[t * num_slots + i] * factor_R[r]);
  }
}

void edit_weights(const ScopedEdit& scoped, Decision& decision) {
  const int64_t num_slots = decision.after.ids_TK.size(1);
  int32_t* ids = decision.after.ids_TK.mutable_data_ptr<int32_t>();
  float* weights = decision.after.weights_TK.mutable_data_ptr<float>();
  parallel_rows(0, decision.after.ids_TK.size(0), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      if (in_scope(scoped, t))
        edit_row_weights(scoped.edit->op, num_slots, ids + t * num_slots, weights + t * num_slots);
  });
}

void edit_shared(const SharedScale& op, const ScopedEdit& scoped, int64_t num_rows, Decision& decision) {
  if (!decision.shared_scale_T.defined()) decision.shared_scale_T = at::ones({num_rows}, at::kFloat);
  float* scale_T = decision.shared_scale_T.mutable_data_ptr<float>();
  for (int64_t t = 0; t < num_rows; ++t)
    if (in_scope(scoped, t)) scale_T[t] = static_cast<float>(scale_T[t] * op.factor);
}

const Mask* replacing_mask(const ScopedEdit& scoped) {
  const auto* mask = std::get_if<Mask>(&scoped.edit->op);
  return mask != nullptr && mask->replaces_outputs() ? mask : nullptr;
}

// Takes the experts whose output is replaced out of the route, with the weight that the edits left them. The last mask
// that names an expert of a row decides.
void replace_outputs(const std::vector<const ScopedEdit*>& masks, int64_t layer, std::span<const int32_t> position_T,
                     Decision& decision) {
  const int64_t num_slots = decision.after.ids_TK.size(1);
  int32_t* ids = decision.after.ids_TK.mutable_data_ptr<int32_t>();
  float* weights = decision.after.weights_TK.mutable_data_ptr<float>();
  for (int64_t t = 0; t < decision.after.ids_TK.size(0); ++t) {
    int32_t* ids_K = ids + t * num_slots;
    float* weights_K = weights + t * num_slots;
    int64_t kept = 0;
    for (int64_t i = 0; i < num_slots; ++i) {
      const int32_t expert = ids_K[i];
      const auto names = [&](const ScopedEdit* scoped) {
        const std::vector<int32_t>& experts = replacing_mask(*scoped)->experts;
        return in_scope(*scoped, t) && std::find(experts.begin(), experts.end(), expert) != experts.end();
      };
      const auto last = expert < 0 ? masks.rend() : std::find_if(masks.rbegin(), masks.rend(), names);
      if (last == masks.rend()) {
        weights_K[kept] = weights_K[i];
        ids_K[kept++] = expert;
        continue;
      }
      const int64_t position = position_T.empty() ? 0 : position_T[static_cast<size_t>(t)];
      decision.replaced.push_back(
          {t, expert, weights_K[i], replacing_mask(**last)->stand_ins->drawn(layer, expert, position)});
    }
    std::fill(ids_K + kept, ids_K + num_slots, -1);
    std::fill(weights_K + kept, weights_K + num_slots, 0.0f);
  }
}

// The experts an edit names and its number of values; {null, 0} for an operation without experts.
std::pair<const std::vector<int32_t>*, size_t> named_experts(const EditOp& op) {
  if (const auto* add = std::get_if<AddLogit>(&op)) return {&add->experts, add->values.size()};
  if (const auto* mask = std::get_if<Mask>(&op)) return {&mask->experts, mask->experts.size()};
  if (const auto* on = std::get_if<Activate>(&op)) return {&on->experts, on->experts.size()};
  if (const auto* off = std::get_if<Deactivate>(&op)) return {&off->experts, off->experts.size()};
  if (const auto* by_score = std::get_if<Reweight>(&op)) return {&by_score->experts, by_score->scores.size()};
  if (const auto* factor = std::get_if<ScaleWeight>(&op)) return {&factor->experts, factor->experts.size()};
  return {nullptr, 0};
}

void check_stand_ins(const Mask& mask, int64_t layer, bool has_positions) {
  FARE_CHECK(mask.stand_ins != nullptr, "a mask of mode mean or resample needs its outputs on calibration text");
  FARE_CHECK(mask.mode == Mask::Mode::kMean || has_positions, "a mask of mode resample needs the position of each row");
  const auto found = mask.stand_ins->outputs_ND.find(layer);
  for (const int32_t e : mask.experts)
    FARE_CHECK(found != mask.stand_ins->outputs_ND.end() && found->second.contains(e),
               "a mask has no calibration output of an expert that it names");
}

void check_call(const at::Tensor& logits_TE, const RouterSpec& spec, std::span<const ScopedEdit> edits, int64_t layer,
                std::span<const int32_t> position_T) {
  FARE_CHECK(logits_TE.dim() == 2 && logits_TE.size(1) == spec.num_experts, "router logits must be [T, E]");
  FARE_CHECK(logits_TE.scalar_type() == at::kFloat && logits_TE.device().is_cpu(),
             "router logits must be float32 on the CPU");
  FARE_CHECK(spec.top_k >= 1 && spec.top_k <= spec.num_experts, "top_k must lie in [1, E]");
  FARE_CHECK(spec.selection_bias.empty() || static_cast<int64_t>(spec.selection_bias.size()) == spec.num_experts,
             "one selection bias per expert");
  FARE_CHECK(spec.num_groups == 0 || (spec.num_experts % spec.num_groups == 0 && spec.top_groups >= 1 &&
                                      spec.top_groups <= spec.num_groups),
             "groups must divide the experts, and at least one must be kept");
  const size_t num_rows = static_cast<size_t>(logits_TE.size(0));
  for (const ScopedEdit& scoped : edits) {
    FARE_CHECK(scoped.edit != nullptr, "a scoped edit must name its edit");
    FARE_CHECK(scoped.scope_T.empty() || scoped.scope_T.size() == num_rows, "one scope flag per row");
    if (const Mask* mask = replacing_mask(scoped)) check_stand_ins(*mask, layer, position_T.size() == num_rows);
    if (const auto [experts, num_values] = named_experts(scoped.edit->op); experts != nullptr) {
      FARE_CHECK(num_values == experts->size(), "an edit needs one value per expert it names");
      for (const int32_t e : *experts)
        FARE_CHECK(e >= 0 && e < spec.num_experts, "an edit names an expert that the router does not have");
    }
    if (reads_input(scoped.edit->op)) {
      const int64_t numbers =
          logits_TE.size(0) * (std::holds_alternative<RouterDelta>(scoped.edit->op) ? spec.num_experts : 1);
      FARE_CHECK(scoped.drive.defined() && scoped.drive.numel() == numbers && scoped.drive.is_contiguous(),
                 "an edit that reads the router's input needs what it reads there");
    }
    if (const auto* stored = std::get_if<ForceRoutes>(&scoped.edit->op)) {
      FARE_CHECK(stored->table != nullptr, "force_routes needs its table");
      FARE_CHECK(scoped.table_row_T.size() == num_rows, "force_routes needs the table row of each row");
      const int64_t num_stored = static_cast<int64_t>(stored->table->token_ids.size());
      for (const int64_t row : scoped.table_row_T)
        FARE_CHECK(row >= -1 && row < num_stored, "force_routes names a row that its table does not hold");
    }
  }
}

}  // namespace

at::Tensor router_scores(const at::Tensor& logits_TE) {
  // Not at::softmax: that starts every thread even for a handful of rows, which costs more than the work itself. Each
  // row is summed in float64, so its bits depend on nothing but the row.
  const at::NoGradGuard no_grad;
  const at::Tensor logits = logits_TE.contiguous();
  const at::Tensor scores_TE = at::empty_like(logits);
  const int64_t num_experts = logits.size(1);
  const float* from = logits.const_data_ptr<float>();
  float* to = scores_TE.mutable_data_ptr<float>();
  parallel_rows(0, logits.size(0), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* logits_E = from + t * num_experts;
      float* scores_E = to + t * num_experts;
      const float largest = *std::max_element(logits_E, logits_E + num_experts);
      // All experts masked (differently scoped masks can meet in a row): no scores, and nothing to choose.
      if (largest == kMinusInfinity) {
        std::fill_n(scores_E, num_experts, 0.0f);
        continue;
      }
      double sum = 0;
      for (int64_t e = 0; e < num_experts; ++e) sum += scores_E[e] = std::exp(logits_E[e] - largest);
      for (int64_t e = 0; e < num_experts; ++e) scores_E[e] = static_cast<float>(scores_E[e] / sum);
    }
  });
  return scores_TE;
}

int64_t slots_needed(const RouterSpec& spec, std::span<const ScopedEdit> edits) {
  int64_t num_slots = spec.top_k;
  for (const ScopedEdit& scoped : edits) {
    int64_t asked = 0;
    if (const auto* top_k = std::get_if<SetTopK>(&scoped.edit->op)) asked = top_k->k;
    if (std::holds_alternative<TopP>(scoped.edit->op)) asked = spec.num_experts;
    if (const auto* stored = std::get_if<ForceRoutes>(&scoped.edit->op)) {
      for (const auto& [layer, routes] : stored->table->layers) asked = std::max(asked, routes.k);
      num_slots = std::max(num_slots, asked);  // layers and rows it does not hold keep their own
      continue;
    }
    if (asked == 0) continue;
    // An edit of every row replaces the size; one of some rows leaves the others as they were.
    const bool every_row = scoped.edit->where.everywhere() && is_all_ones(scoped.scope_T);
    num_slots = every_row ? asked : std::max(num_slots, asked);
  }
  return num_slots;
}

Decision route(const at::Tensor& logits_TE, const RouterSpec& spec, std::span<const ScopedEdit> edits, int64_t layer,
               std::span<const int32_t> position_T) {
  const at::NoGradGuard no_grad;
  check_call(logits_TE, spec, edits, layer, position_T);
  const at::Tensor logits = logits_TE.detach().contiguous();
  require_finite(logits, layer);

  Decision decision;
  decision.before = choose(logits, spec);
  decision.after = decision.before;

  std::vector<const ScopedEdit*> early, late;
  for (const Point point : {Point::kLogits, Point::kForcing, Point::kSelection, Point::kWeights})
    for (const ScopedEdit& scoped : edits)
      if (!scoped.edit->is_identity() && point_of(scoped.edit->op) == point)
        (point == Point::kWeights ? late : early).push_back(&scoped);
  if (early.empty() && late.empty()) return decision;

  decision.after = with_slots(decision.before, slots_needed(spec, edits));
  if (!early.empty()) edit_selection(logits, spec, early, layer, decision.before, decision.after);
  std::vector<const ScopedEdit*> replacing;
  for (const ScopedEdit* scoped : late) {
    if (replacing_mask(*scoped) != nullptr) replacing.push_back(scoped);
    else if (const auto* shared = std::get_if<SharedScale>(&scoped->edit->op))
      edit_shared(*shared, *scoped, logits.size(0), decision);
    else edit_weights(*scoped, decision);
  }
  if (!replacing.empty()) replace_outputs(replacing, layer, position_T, decision);
  return decision;
}

}  // namespace fare
