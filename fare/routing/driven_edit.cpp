#include "fare/routing/driven_edit.h"

#include <algorithm>

#include "fare/core/error.h"

namespace fare {
namespace {

at::Tensor vector_of(const std::vector<double>& values) {
  at::Tensor result = at::empty({static_cast<int64_t>(values.size())}, at::kFloat);
  std::transform(values.begin(), values.end(), result.mutable_data_ptr<float>(),
                 [](double v) { return static_cast<float>(v); });
  return result;
}

at::Tensor matrix_of(const std::vector<std::vector<double>>& rows) {
  std::vector<at::Tensor> tensors;
  for (const auto& row : rows) tensors.push_back(vector_of(row));
  return at::stack(tensors);
}

// [T] of a gate, [T, E] of a router_delta; undefined for any other edit.
at::Tensor drive_of(const EditOp& op, const at::Tensor& x_TD) {
  if (const auto* add = std::get_if<AddLogit>(&op); add != nullptr && add->gate)
    return (at::mv(x_TD.cpu().to(at::kFloat), vector_of(add->gate->vector)) + add->gate->offset).sigmoid();
  if (const auto* delta = std::get_if<RouterDelta>(&op))
    return at::mm(at::mm(x_TD.cpu().to(at::kFloat), matrix_of(delta->inputs).t()) + vector_of(delta->offsets),
                  matrix_of(delta->outputs));
  return {};
}

}  // namespace

bool reads_input(const EditOp& op) {
  if (const auto* add = std::get_if<AddLogit>(&op)) return add->gate.has_value();
  return std::holds_alternative<RouterDelta>(op);
}

std::span<const ScopedEdit> with_drive(std::span<const ScopedEdit> edits, const at::Tensor& x_TD,
                                       std::vector<ScopedEdit>& storage) {
  if (std::none_of(edits.begin(), edits.end(), [](const ScopedEdit& scoped) { return reads_input(scoped.edit->op); }))
    return edits;
  storage.assign(edits.begin(), edits.end());
  for (ScopedEdit& scoped : storage)
    if (reads_input(scoped.edit->op)) scoped.drive = drive_of(scoped.edit->op, x_TD).contiguous();
  return storage;
}

at::Tensor logit_shift(std::span<const ScopedEdit> edits, const at::Tensor& x_TD, int64_t num_experts) {
  const int64_t num_rows = x_TD.size(0);
  at::Tensor total_TE = at::zeros({num_rows, num_experts}, at::kFloat);
  for (const ScopedEdit& scoped : edits) {
    at::Tensor shift;
    const at::Tensor drive = drive_of(scoped.edit->op, x_TD);
    if (const auto* add = std::get_if<AddLogit>(&scoped.edit->op)) {
      FARE_CHECK(add->affects == AddLogit::Affects::kSelectionAndWeight,
                 "a shift of the selection alone has no logits");
      at::Tensor values_E = at::zeros({num_experts}, at::kFloat);
      float* values = values_E.mutable_data_ptr<float>();
      for (size_t i = 0; i < add->experts.size(); ++i) values[add->experts[i]] += static_cast<float>(add->values[i]);
      shift = drive.defined() ? drive.unsqueeze(1) * values_E : values_E.expand({num_rows, num_experts});
    } else {
      FARE_CHECK(std::holds_alternative<RouterDelta>(scoped.edit->op), "an edit that does not add to logits");
      shift = drive;
    }
    if (!scoped.scope_T.empty()) {
      at::Tensor in_scope = at::empty({num_rows, 1}, at::kFloat);
      std::transform(scoped.scope_T.begin(), scoped.scope_T.end(), in_scope.mutable_data_ptr<float>(),
                     [](uint8_t in) { return static_cast<float>(in); });
      shift = shift * in_scope;
    }
    total_TE = total_TE + shift;
  }
  return total_TE;
}

}  // namespace fare
