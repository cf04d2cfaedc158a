#include "fare/routing/edit.h"

#include <algorithm>

#include "fare/core/error.h"

namespace fare {
namespace {

bool all_zero(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double value) { return value == 0; });
}

struct IsIdentity {
  bool operator()(const AddLogit& op) const { return op.experts.empty() || all_zero(op.values); }
  bool operator()(const RouterDelta& op) const { return std::all_of(op.outputs.begin(), op.outputs.end(), all_zero); }
  bool operator()(const Temperature& op) const { return op.value == 1; }
  bool operator()(const Mask& op) const { return op.experts.empty(); }
  bool operator()(const Activate& op) const { return op.experts.empty(); }
  bool operator()(const Deactivate& op) const { return op.experts.empty(); }
  bool operator()(const SetTopK&) const { return false; }
  bool operator()(const TopP&) const { return false; }
  bool operator()(const ForceRoutes&) const { return false; }
  bool operator()(const Reweight& op) const { return op.experts.empty() || op.lambda == 0 || all_zero(op.scores); }
  bool operator()(const ScaleWeight& op) const { return op.experts.empty() || op.factor == 1; }
  bool operator()(const SharedScale& op) const { return op.factor == 1; }
};

struct Name {
  std::string operator()(const AddLogit&) const { return "add_logit"; }
  std::string operator()(const RouterDelta&) const { return "router_delta"; }
  std::string operator()(const Temperature&) const { return "temperature"; }
  std::string operator()(const Mask&) const { return "mask"; }
  std::string operator()(const Activate&) const { return "activate"; }
  std::string operator()(const Deactivate&) const { return "deactivate"; }
  std::string operator()(const SetTopK&) const { return "set_top_k"; }
  std::string operator()(const TopP&) const { return "top_p"; }
  std::string operator()(const ForceRoutes&) const { return "force_routes"; }
  std::string operator()(const Reweight&) const { return "reweight"; }
  std::string operator()(const ScaleWeight&) const { return "scale_weight"; }
  std::string operator()(const SharedScale&) const { return "shared_scale"; }
};

}  // namespace

bool Selector::everywhere() const {
  return phase == Phase::kAll && spans.empty() && token_ids.empty() && positions.empty() && requests.empty();
}

bool Selector::depends_on_request() const {
  // Positions count from before truncation: equal fed tokens can stand at different positions of two requests.
  return phase != Phase::kAll || !spans.empty() || !positions.empty() || !requests.empty();
}

bool Edit::touches(int64_t layer) const {
  if (!layers.empty() && std::find(layers.begin(), layers.end(), layer) == layers.end()) return false;
  if (const auto* force = std::get_if<ForceRoutes>(&op)) return force->table && force->table->layers.contains(layer);
  return true;
}

bool Edit::is_identity() const { return std::visit(IsIdentity{}, op); }

std::string op_name(const EditOp& op) { return std::visit(Name{}, op); }

}  // namespace fare
