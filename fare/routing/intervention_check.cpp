#include <algorithm>
#include <optional>
#include <set>

#include "fare/core/error.h"
#include "fare/routing/intervention.h"
#include "fare/routing/route.h"

namespace fare {
namespace {

std::string list(const std::vector<int64_t>& numbers) {
  std::string text;
  for (const int64_t number : numbers) text += (text.empty() ? "" : ", ") + std::to_string(number);
  return text;
}

std::string without_prefix(const std::string& fingerprint) {
  constexpr std::string_view kPrefix = "sha256:";
  return fingerprint.starts_with(kPrefix) ? fingerprint.substr(kPrefix.size()) : fingerprint;
}

void check_model_block(const Json& block, const RoutedModel& model, const std::string& name) {
  if (block.is_null()) return;
  const auto compare = [&](const std::string& field, const std::string& wanted, const std::string& found) {
    if (wanted != found)
      throw ModelMismatch("intervention '" + name + "' is for another model: " + field + " is " + wanted +
                          " in the intervention but " + found + " in the checkpoint");
  };
  for (const auto& [field, value] : block.items()) {
    if (field == "model_type") compare(field, value.get<std::string>(), model.model_type);
    if (field == "num_layers") compare(field, value.dump(), std::to_string(model.num_layers));
    if (field == "num_experts") compare(field, value.dump(), std::to_string(model.router.num_experts));
    if (field == "top_k") compare(field, value.dump(), std::to_string(model.router.top_k));
  }
  // Last, because it reads weights: a mismatch above is cheaper to find.
  if (const auto found = block.find("fingerprint"); found != block.end()) {
    FARE_CHECK(model.fingerprint != nullptr, "the intervention names a fingerprint but the model offers none");
    compare("fingerprint", "sha256:" + without_prefix(found->get<std::string>()),
            "sha256:" + without_prefix(model.fingerprint()));
  }
}

class EditChecker {
 public:
  EditChecker(const RoutedModel& model, const std::vector<Edit>& edits, size_t index)
      : model_(model), router_(model.router), edits_(edits), index_(index), edit_(edits[index]) {}

  void check() const {
    check_layers();
    if (const auto* add = std::get_if<AddLogit>(&edit_.op)) {
      check_experts(add->experts);
      if (add->gate) check_input(add->gate->vector.size(), "gate: 'vector'");
    }
    if (const auto* delta = std::get_if<RouterDelta>(&edit_.op)) {
      for (const auto& input : delta->inputs) check_input(input.size(), "each list of 'inputs'");
      for (const auto& output : delta->outputs)
        if (static_cast<int64_t>(output.size()) != router_.num_experts)
          refuse("each list of 'outputs' has " + std::to_string(output.size()) + " numbers, but each layer has " +
                 std::to_string(router_.num_experts) + " experts");
    }
    if (const auto* mask = std::get_if<Mask>(&edit_.op)) {
      check_experts(mask->experts);
      if (mask->mode == Mask::Mode::kRefill) check_enough_left();
    }
    if (const auto* on = std::get_if<Activate>(&edit_.op)) {
      check_experts(on->experts);
      check_forced_on();
    }
    if (const auto* off = std::get_if<Deactivate>(&edit_.op)) check_experts(off->experts);
    if (const auto* by_score = std::get_if<Reweight>(&edit_.op)) check_experts(by_score->experts);
    if (const auto* factor = std::get_if<ScaleWeight>(&edit_.op)) check_experts(factor->experts);
    if (const auto* top_k = std::get_if<SetTopK>(&edit_.op))
      if (top_k->k < 1 || top_k->k > router_.num_experts)
        refuse("k is " + std::to_string(top_k->k) + ", but must lie between 1 and the model's " +
               std::to_string(router_.num_experts) + " experts");
    if (std::holds_alternative<SharedScale>(edit_.op) && !router_.has_shared_expert)
      refuse("the model has no shared expert to scale");
    if (const auto* stored = std::get_if<ForceRoutes>(&edit_.op)) check_routes(*stored);
  }

 private:
  [[noreturn]] void refuse(const std::string& reason) const {
    throw ModelMismatch("edit " + std::to_string(index_) + " (" + op_name(edit_.op) + "): " + reason);
  }

  bool is_moe(int64_t layer) const {
    return std::find(model_.moe_layers.begin(), model_.moe_layers.end(), layer) != model_.moe_layers.end();
  }

  void check_layer(int64_t layer, const std::string& said_by) const {
    if (layer < 0 || layer >= model_.num_layers)
      refuse(said_by + "layer " + std::to_string(layer) + " does not exist; the model has layers 0 to " +
             std::to_string(model_.num_layers - 1));
    if (!is_moe(layer))
      refuse(said_by + "layer " + std::to_string(layer) + " is dense, it has no router; MoE layers are " +
             list(model_.moe_layers));
  }

  void check_layers() const {
    if (model_.moe_layers.empty()) refuse("the model has no MoE layer");
    for (const int64_t layer : edit_.layers) check_layer(layer, "");
  }

  void check_experts(const std::vector<int32_t>& experts) const {
    for (const int32_t expert : experts)
      if (expert < 0 || expert >= router_.num_experts)
        refuse("expert " + std::to_string(expert) + " does not exist; each layer has experts 0 to " +
               std::to_string(router_.num_experts - 1));
  }

  void check_input(size_t size, const std::string& what) const {
    if (static_cast<int64_t>(size) != model_.hidden_size)
      refuse(what + " has " + std::to_string(size) + " numbers, but the router's input has " +
             std::to_string(model_.hidden_size));
  }

  // Whether two edits certainly touch the same rows.
  static bool share_rows(const Edit& a, const Edit& b) {
    if (a.where.everywhere() || b.where.everywhere()) return true;
    return a.where.phase == b.where.phase && a.where.spans == b.where.spans && a.where.token_ids == b.where.token_ids &&
           a.where.following == b.where.following && a.where.positions == b.where.positions &&
           a.where.requests == b.where.requests;
  }

  std::vector<int64_t> touched_layers() const {
    std::vector<int64_t> layers;
    for (const int64_t layer : model_.moe_layers)
      if (edit_.touches(layer)) layers.push_back(layer);
    return layers;
  }

  // Experts that this edit and the earlier ones of the same kind on the same rows take together.
  template <typename Experts>
  std::set<int32_t> taken_together(int64_t layer, const Experts& experts_of) const {
    std::set<int32_t> taken;
    for (size_t i = 0; i <= index_; ++i)
      if (const std::vector<int32_t>* experts = experts_of(edits_[i].op);
          experts != nullptr && edits_[i].touches(layer) && share_rows(edits_[i], edit_))
        taken.insert(experts->begin(), experts->end());
    return taken;
  }

  void check_enough_left() const {
    for (const int64_t layer : touched_layers()) {
      const std::set<int32_t> masked = taken_together(layer, [](const EditOp& op) -> const std::vector<int32_t>* {
        const auto* mask = std::get_if<Mask>(&op);
        return mask != nullptr && mask->mode == Mask::Mode::kRefill ? &mask->experts : nullptr;
      });
      const int64_t left = router_.num_experts - static_cast<int64_t>(masked.size());
      if (left < router_.top_k)
        refuse("masking leaves " + std::to_string(left) + " experts in layer " + std::to_string(layer) +
               ", fewer than the " + std::to_string(router_.top_k) +
               " that mode refill must choose; mask fewer or use mode renormalize or zero");
      if (const std::optional<int64_t> worst = fewest_left_in_groups(masked); worst && *worst < router_.top_k)
        refuse("masking can leave " + std::to_string(*worst) + " experts in the " + std::to_string(router_.top_groups) +
               " groups that layer " + std::to_string(layer) + " keeps, fewer than the " +
               std::to_string(router_.top_k) +
               " that mode refill must choose; mask fewer or use mode renormalize or zero");
    }
  }

  // Over all admissible choices of groups. None without groups, or where even all experts of the kept groups are too
  // few.
  std::optional<int64_t> fewest_left_in_groups(const std::set<int32_t>& masked) const {
    if (router_.num_groups == 0) return std::nullopt;
    const int64_t group_size = router_.num_experts / router_.num_groups;
    if (group_size * router_.top_groups < router_.top_k) return std::nullopt;
    std::vector<int64_t> left_G(router_.num_groups, group_size);
    for (const int32_t expert : masked) --left_G[expert / group_size];
    std::sort(left_G.begin(), left_G.end());
    // A group without any expert left is never kept while others have some.
    const auto first = std::find_if(left_G.begin(), left_G.end(), [](int64_t left) { return left > 0; });
    int64_t sum = 0, kept = 0;
    for (auto group = first; group != left_G.end() && kept < router_.top_groups; ++group, ++kept) sum += *group;
    return sum;
  }

  void check_forced_on() const {
    for (const int64_t layer : touched_layers()) {
      int64_t allowed = router_.top_k;
      for (const Edit& other : edits_) {
        if (!other.touches(layer)) continue;
        if (const auto* top_k = std::get_if<SetTopK>(&other.op)) allowed = std::max(allowed, top_k->k);
        if (std::holds_alternative<TopP>(other.op)) allowed = router_.num_experts;
      }
      const std::set<int32_t> forced = taken_together(layer, [](const EditOp& op) -> const std::vector<int32_t>* {
        const auto* on = std::get_if<Activate>(&op);
        return on != nullptr ? &on->experts : nullptr;
      });
      if (static_cast<int64_t>(forced.size()) > allowed)
        refuse("forces " + std::to_string(forced.size()) + " experts on in layer " + std::to_string(layer) +
               ", but only " + std::to_string(allowed) + " run for a token");
    }
  }

  void check_routes(const ForceRoutes& stored) const {
    FARE_CHECK(stored.table != nullptr, "force_routes without a table");
    const std::string file = stored.file.empty() ? "the stored routes" : "'" + stored.file + "'";
    for (const int64_t layer : edit_.layers)
      if (!stored.table->layers.contains(layer)) refuse(file + " holds no routes of layer " + std::to_string(layer));
    for (const auto& [layer, routes] : stored.table->layers) {
      if (!edit_.touches(layer)) continue;
      check_layer(layer, file + " holds another model's routes: ");
      if (routes.k > router_.num_experts)
        refuse(file + ", layer " + std::to_string(layer) + ": " + std::to_string(routes.k) +
               " experts per token, more than the model's " + std::to_string(router_.num_experts));
      for (size_t i = 0; i < routes.ids.size(); ++i)
        if (routes.ids[i] >= router_.num_experts)
          refuse(file + ", layer " + std::to_string(layer) + ", row " + std::to_string(i / routes.k) + ": expert " +
                 std::to_string(routes.ids[i]) + " does not exist; each layer has experts 0 to " +
                 std::to_string(router_.num_experts - 1));
    }
  }

  const RoutedModel& model_;
  const RouterSpec& router_;
  const std::vector<Edit>& edits_;
  size_t index_;
  const Edit& edit_;
};

}  // namespace

void Intervention::check(const RoutedModel& routed_model) const {
  try {
    check_model_block(model, routed_model, name);
    for (size_t i = 0; i < edits.size(); ++i) EditChecker(routed_model, edits, i).check();
  } catch (const ModelMismatch& error) {
    throw ModelMismatch((path.empty() ? "" : path + ": ") + error.what());
  }
}

int64_t Intervention::first_layer(const RoutedModel& routed_model) const {
  int64_t first = -1;
  for (const int64_t layer : routed_model.moe_layers)
    if ((first < 0 || layer < first) &&
        std::any_of(edits.begin(), edits.end(), [&](const Edit& edit) { return edit.touches(layer); }))
      first = layer;
  return first;
}

int64_t Intervention::num_slots(const RoutedModel& routed_model) const {
  int64_t num_slots = edits.empty() ? routed_model.router.top_k : 1;
  for (const int64_t layer : routed_model.moe_layers) {
    std::vector<ScopedEdit> scoped;
    for (const Edit& edit : edits)
      if (edit.touches(layer)) scoped.push_back(ScopedEdit{&edit, {}, {}});
    num_slots = std::max(num_slots, slots_needed(routed_model.router, scoped));
  }
  return num_slots;
}

bool Intervention::depends_on_request() const {
  return std::any_of(edits.begin(), edits.end(), [](const Edit& edit) {
    // Stored routes belong to a request's rows, whatever other request begins with the same tokens.
    return edit.where.depends_on_request() || std::holds_alternative<ForceRoutes>(edit.op);
  });
}

}  // namespace fare
