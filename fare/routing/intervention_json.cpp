#include "fare/core/error.h"
#include "fare/routing/intervention.h"

namespace fare {
namespace {

// Writes the fields of one operation, in the order in which a person would.
struct WriteFields {
  OrderedJson& json;

  void keep_sum(bool kept) const {
    if (kept) json["keep_sum"] = true;
  }
  void operator()(const AddLogit& op) const {
    json["experts"] = op.experts;
    json["values"] = op.values;
    json["affects"] = op.affects == AddLogit::Affects::kSelection ? "selection" : "selection_and_weight";
    keep_sum(op.keep_sum);
    if (op.gate) json["gate"] = {{"vector", op.gate->vector}, {"offset", op.gate->offset}};
  }
  void operator()(const RouterDelta& op) const {
    json["inputs"] = op.inputs;
    json["outputs"] = op.outputs;
    json["offsets"] = op.offsets;
    keep_sum(op.keep_sum);
  }
  void operator()(const Temperature& op) const { json["value"] = op.value; }
  void operator()(const Mask& op) const {
    json["experts"] = op.experts;
    json["mode"] = op.mode == Mask::Mode::kRefill        ? "refill"
                   : op.mode == Mask::Mode::kRenormalize ? "renormalize"
                   : op.mode == Mask::Mode::kMean        ? "mean"
                   : op.mode == Mask::Mode::kResample    ? "resample"
                                                         : "zero";
    if (op.replaces_outputs()) json["calibration"] = op.calibration;
    keep_sum(op.keep_sum);
  }
  void operator()(const Activate& op) const {
    json["experts"] = op.experts;
    keep_sum(op.keep_sum);
  }
  void operator()(const Deactivate& op) const {
    json["experts"] = op.experts;
    keep_sum(op.keep_sum);
  }
  void operator()(const SetTopK& op) const { json["k"] = op.k; }
  void operator()(const TopP& op) const { json["p"] = op.p; }
  void operator()(const ForceRoutes& op) const {
    if (op.file.empty())
      throw UsageError(
          "an intervention that replays routes held in memory cannot be written: write the routes as a "
          "trace file first and name it in `file`");
    json["file"] = op.file;
  }
  void operator()(const Reweight& op) const {
    json["experts"] = op.experts;
    json["scores"] = op.scores;
    json["lambda"] = op.lambda;
  }
  void operator()(const ScaleWeight& op) const {
    json["experts"] = op.experts;
    json["factor"] = op.factor;
    keep_sum(op.keep_sum);
  }
  void operator()(const SharedScale& op) const { json["factor"] = op.factor; }
};

OrderedJson where_json(const Selector& where) {
  OrderedJson json = OrderedJson::object();
  if (where.phase == Selector::Phase::kPrompt) json["phase"] = "prompt";
  if (where.phase == Selector::Phase::kGenerated) json["phase"] = "generated";
  if (!where.spans.empty()) json["spans"] = where.spans;
  if (!where.token_ids.empty()) json["token_ids"] = where.token_ids;
  if (where.following > 0) json["following"] = where.following;
  if (!where.positions.empty()) json["positions"] = where.positions;
  if (!where.requests.empty()) json["requests"] = where.requests;
  return json;
}

}  // namespace

OrderedJson Intervention::to_json() const {
  OrderedJson json;
  json["format"] = "fare-intervention/1";
  json["name"] = name;
  if (!model.is_null()) json["model"] = model;
  json["edits"] = OrderedJson::array();
  for (const Edit& edit : edits) {
    OrderedJson entry;
    entry["op"] = op_name(edit.op);
    if (edit.layers.empty()) entry["layers"] = "all";
    else entry["layers"] = edit.layers;
    std::visit(WriteFields{entry}, edit.op);
    if (!edit.where.everywhere()) entry["where"] = where_json(edit.where);
    json["edits"].push_back(entry);
  }
  return json;
}

}  // namespace fare
