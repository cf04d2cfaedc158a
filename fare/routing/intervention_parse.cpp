#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/sha256.h"
#include "fare/routing/intervention.h"
#include "fare/routing/trace_file.h"

namespace fare {
namespace {

constexpr const char* kFormat = "fare-intervention/1";
constexpr double kLargest = 1e30;               // of any number in a file: products with it stay finite in float32
constexpr double kSmallestTemperature = 1e-20;  // as a divisor of logits

const std::vector<std::string> kOperations = {"mask",        "add_logit",    "reweight",     "scale_weight",
                                              "activate",    "deactivate",   "set_top_k",    "top_p",
                                              "temperature", "shared_scale", "force_routes", "router_delta"};

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// One JSON object of the file: typed access to its fields, and a complaint about fields nobody asked for.
class Fields {
 public:
  Fields(const Json& object, std::string path, std::string where)
      : object_(object), path_(std::move(path)), where_(std::move(where)) {
    if (!object.is_object()) fail("expected a JSON object, found " + object.dump());
  }

  [[noreturn]] void fail(const std::string& what) const { throw FormatError(path_, where_, what); }
  [[noreturn]] void fail_field(const std::string& field, const std::string& what) const {
    fail("field '" + field + "' " + what);
  }

  const Json* find(const std::string& field) {
    known_.insert(field);
    const auto found = object_.find(field);
    return found == object_.end() ? nullptr : &*found;
  }
  const Json& get(const std::string& field) {
    const Json* value = find(field);
    if (value == nullptr) fail_field(field, "is missing");
    return *value;
  }

  std::string text(const std::string& field) {
    const Json& value = get(field);
    if (!value.is_string()) fail_field(field, "must be a text, found " + value.dump());
    return value.get<std::string>();
  }
  bool flag(const std::string& field) {  // false when absent
    const Json* value = find(field);
    if (value != nullptr && !value->is_boolean()) fail_field(field, "must be true or false, found " + value->dump());
    return value != nullptr && value->get<bool>();
  }
  double number(const std::string& field) { return to_number(field, get(field)); }
  double to_number(const std::string& field, const Json& value) const {
    if (!value.is_number()) fail_field(field, "must be a number, found " + value.dump());
    const double number = value.get<double>();
    if (!(std::abs(number) <= kLargest))
      fail_field(field, "is " + value.dump() + ", too large for float32 arithmetic; numbers must lie within 1e30 of 0");
    return number;
  }
  int64_t to_integer(const std::string& field, const Json& value, int64_t lowest) const {
    const bool fits = value.is_number_integer() &&
                      (!value.is_number_unsigned() || value.get<uint64_t>() <= std::numeric_limits<int64_t>::max());
    if (!fits) fail_field(field, "must hold integers, found " + value.dump());
    if (value.get<int64_t>() < lowest)
      fail_field(field, "must be at least " + std::to_string(lowest) + ", found " + value.dump());
    return value.get<int64_t>();
  }
  int64_t integer(const std::string& field, int64_t lowest) { return to_integer(field, get(field), lowest); }

  const Json& list(const std::string& field) {
    const Json& value = get(field);
    if (!value.is_array()) fail_field(field, "must be a list, found " + value.dump());
    return value;
  }
  std::vector<int64_t> integers(const std::string& field, int64_t highest) {
    std::vector<int64_t> values;
    for (const Json& entry : list(field)) {
      const int64_t value = to_integer(field, entry, 0);
      if (value > highest) fail_field(field, "is out of range: " + entry.dump());
      if (std::find(values.begin(), values.end(), value) != values.end())
        fail_field(field, "names " + entry.dump() + " twice");
      values.push_back(value);
    }
    return values;
  }
  std::vector<int32_t> small_integers(const std::string& field) {
    const std::vector<int64_t> wide = integers(field, std::numeric_limits<int32_t>::max());
    return {wide.begin(), wide.end()};
  }
  std::vector<std::string> texts(const std::string& field) {
    std::vector<std::string> values;
    for (const Json& entry : list(field)) {
      if (!entry.is_string()) fail_field(field, "must hold texts, found " + entry.dump());
      values.push_back(entry.get<std::string>());
    }
    return values;
  }
  // One number for each of `num` experts: a list of that many, or one number for all (bare, or a list of one).
  std::vector<double> per_expert(const std::string& field, size_t num) {
    const Json& value = get(field);
    if (!value.is_array()) return std::vector<double>(num, to_number(field, value));
    std::vector<double> values;
    for (const Json& entry : value) values.push_back(to_number(field, entry));
    if (values.size() == 1) return std::vector<double>(num, values[0]);
    if (values.size() != num)
      fail_field(field, "has " + std::to_string(values.size()) + " numbers for " + std::to_string(num) +
                            " experts; give one for each, or one for all");
    return values;
  }

  // A list of finite numbers, at least one.
  std::vector<double> numbers(const std::string& field) { return to_numbers(field, list(field)); }
  std::vector<double> to_numbers(const std::string& field, const Json& value) const {
    if (!value.is_array() || value.empty())
      fail_field(field, "must be a list of at least one number, found " + brief(value));
    std::vector<double> values;
    for (const Json& entry : value) values.push_back(to_number(field, entry));
    return values;
  }
  // A list of lists of numbers, all of one length.
  std::vector<std::vector<double>> rows(const std::string& field) {
    std::vector<std::vector<double>> rows;
    for (const Json& row : list(field)) {
      rows.push_back(to_numbers(field, row));
      if (rows.back().size() != rows.front().size())
        fail_field(field, "has rows of " + std::to_string(rows.front().size()) + " and of " +
                              std::to_string(rows.back().size()) + " numbers");
    }
    if (rows.empty()) fail_field(field, "is an empty list; give at least one list of numbers");
    return rows;
  }

  // Throws when the object has a field that was never asked for.
  void done() const {
    for (const auto& [field, value] : object_.items())
      if (!known_.contains(field)) {
        const std::vector<std::string> known(known_.begin(), known_.end());
        const std::string near = did_you_mean(field, known);
        fail("unknown field '" + field + "'" + (near.empty() ? ";" : near) + " known here: " + joined(known));
      }
  }

 private:
  static std::string brief(const Json& value) {
    const std::string text = value.dump();
    return text.size() <= 60 ? text : text.substr(0, 57) + "...";
  }

  const Json& object_;
  std::string path_, where_;
  std::set<std::string> known_;
};

Selector parse_where(const Json& json, const std::string& path, const std::string& where) {
  Fields fields(json, path, where + ", where");
  Selector selector;
  const auto not_empty = [&](const std::string& field, bool empty) {
    if (empty) fields.fail_field(field, "is an empty list, which no token fits; leave it out or name something");
  };
  if (fields.find("phase") != nullptr) {
    const std::string phase = fields.text("phase");
    if (phase == "prompt") selector.phase = Selector::Phase::kPrompt;
    else if (phase == "generated") selector.phase = Selector::Phase::kGenerated;
    else if (phase != "all") fields.fail_field("phase", "is '" + phase + "'; accepted: prompt, generated, all");
  }
  if (fields.find("spans") != nullptr) {
    selector.spans = fields.texts("spans");
    not_empty("spans", selector.spans.empty());
  }
  if (fields.find("token_ids") != nullptr) {
    selector.token_ids = fields.small_integers("token_ids");
    not_empty("token_ids", selector.token_ids.empty());
  }
  if (fields.find("following") != nullptr) {
    selector.following = fields.integer("following", 0);
    if (selector.token_ids.empty())
      fields.fail_field("following", "counts tokens after those of 'token_ids', which is missing");
  }
  if (fields.find("requests") != nullptr) {
    selector.requests = fields.texts("requests");
    not_empty("requests", selector.requests.empty());
  }
  if (fields.find("positions") != nullptr) {
    for (const Json& range : fields.list("positions")) {
      if (!range.is_array() || range.size() != 2)
        fields.fail_field("positions", "must hold pairs [from, to), found " + range.dump());
      const int64_t from = fields.to_integer("positions", range[0], 0),
                    to = fields.to_integer("positions", range[1], 0);
      if (from >= to) fields.fail_field("positions", "holds " + range.dump() + ", which is empty: `to` is exclusive");
      selector.positions.emplace_back(from, to);
    }
    not_empty("positions", selector.positions.empty());
  }
  fields.done();
  return selector;
}

EditOp parse_mask(Fields& fields, const std::string& path) {
  Mask mask;
  mask.experts = fields.small_integers("experts");
  const std::string mode = fields.find("mode") == nullptr ? "refill" : fields.text("mode");
  if (mode == "refill") mask.mode = Mask::Mode::kRefill;
  else if (mode == "renormalize") mask.mode = Mask::Mode::kRenormalize;
  else if (mode == "zero") mask.mode = Mask::Mode::kZero;
  else if (mode == "mean") mask.mode = Mask::Mode::kMean;
  else if (mode == "resample") mask.mode = Mask::Mode::kResample;
  else fields.fail_field("mode", "is '" + mode + "'; accepted: refill, renormalize, zero, mean, resample");
  if (mask.mode == Mask::Mode::kRefill) mask.keep_sum = fields.flag("keep_sum");
  else if (fields.find("keep_sum") != nullptr)
    fields.fail_field("keep_sum",
                      "belongs to mode refill only; renormalize, mean and resample keep the sum, zero does not");
  const Json* calibration = fields.find("calibration");
  if (!mask.replaces_outputs()) {
    if (calibration != nullptr) fields.fail_field("calibration", "belongs to the modes mean and resample only");
    return mask;
  }
  if (calibration == nullptr)
    fields.fail_field("calibration", "is missing; mode " + mode + " takes outputs on a file of neutral text, name one");
  mask.calibration = fields.text("calibration");
  if (mask.calibration.empty()) fields.fail_field("calibration", "is empty; name a file of neutral text");
  mask.calibration_path = std::filesystem::path(path).parent_path() / mask.calibration;
  return mask;
}

InputGate parse_gate(const Json& json, const std::string& path, const std::string& where) {
  Fields fields(json, path, where + ", gate");
  InputGate gate;
  gate.vector = fields.numbers("vector");
  if (fields.find("offset") != nullptr) gate.offset = fields.number("offset");
  fields.done();
  return gate;
}

EditOp parse_router_delta(Fields& fields) {
  RouterDelta delta;
  delta.inputs = fields.rows("inputs");
  delta.outputs = fields.rows("outputs");
  if (delta.inputs.size() != delta.outputs.size())
    fields.fail_field("outputs", "has " + std::to_string(delta.outputs.size()) + " lists for " +
                                     std::to_string(delta.inputs.size()) + " of 'inputs'; give one for each");
  delta.offsets.assign(delta.inputs.size(), 0.0);
  if (fields.find("offsets") != nullptr) {
    delta.offsets = fields.numbers("offsets");
    if (delta.offsets.size() != delta.inputs.size())
      fields.fail_field("offsets", "has " + std::to_string(delta.offsets.size()) + " numbers for " +
                                       std::to_string(delta.inputs.size()) + " lists of 'inputs'");
  }
  delta.keep_sum = fields.flag("keep_sum");
  return delta;
}

EditOp parse_add_logit(Fields& fields, const std::string& path, const std::string& where) {
  AddLogit add;
  add.experts = fields.small_integers("experts");
  add.values = fields.per_expert("values", add.experts.size());
  if (fields.find("affects") != nullptr) {
    const std::string affects = fields.text("affects");
    if (affects == "selection") add.affects = AddLogit::Affects::kSelection;
    else if (affects != "selection_and_weight")
      fields.fail_field("affects", "is '" + affects + "'; accepted: selection_and_weight, selection");
  }
  add.keep_sum = fields.flag("keep_sum");
  if (const Json* gate = fields.find("gate")) add.gate = parse_gate(*gate, path, where);
  return add;
}

EditOp parse_force_routes(Fields& fields, const std::string& path) {
  ForceRoutes force;
  force.file = fields.text("file");
  if (force.file.empty()) fields.fail_field("file", "is empty");
  const std::filesystem::path file = std::filesystem::path(path).parent_path() / force.file;
  force.table = std::make_shared<const RouteTable>(read_trace_file(file));
  return force;
}

EditOp parse_operation(const std::string& op, Fields& fields, const std::string& path, const std::string& where) {
  if (op == "mask") return parse_mask(fields, path);
  if (op == "add_logit") return parse_add_logit(fields, path, where);
  if (op == "router_delta") return parse_router_delta(fields);
  if (op == "force_routes") return parse_force_routes(fields, path);
  if (op == "reweight") {
    Reweight by_score;
    by_score.experts = fields.small_integers("experts");
    by_score.scores = fields.per_expert("scores", by_score.experts.size());
    by_score.lambda = fields.number("lambda");
    return by_score;
  }
  if (op == "scale_weight") {
    ScaleWeight scale{fields.small_integers("experts"), fields.number("factor"), fields.flag("keep_sum")};
    if (scale.keep_sum && scale.factor < 0)
      fields.fail_field("factor", "is negative, which has no defined rescaling with keep_sum");
    return scale;
  }
  if (op == "activate") return Activate{fields.small_integers("experts"), fields.flag("keep_sum")};
  if (op == "deactivate") return Deactivate{fields.small_integers("experts"), fields.flag("keep_sum")};
  if (op == "set_top_k") return SetTopK{fields.integer("k", 1)};
  if (op == "top_p") {
    const double p = fields.number("p");
    if (p < 0 || p > 1) fields.fail_field("p", "must lie in [0, 1]");
    return TopP{p};
  }
  if (op == "temperature") {
    const double value = fields.number("value");
    if (value < kSmallestTemperature) fields.fail_field("value", "must be a positive temperature, at least 1e-20");
    return Temperature{value};
  }
  if (op == "shared_scale") return SharedScale{fields.number("factor")};
  const std::string near = did_you_mean(op, kOperations);
  fields.fail("unknown operation '" + op + "'" + (near.empty() ? ";" : near) + " known: " + joined(kOperations));
}

Edit parse_edit(const Json& json, size_t index, const std::string& path) {
  const std::string where = "edit " + std::to_string(index);
  std::string op;
  {
    Fields fields(json, path, where);
    op = fields.text("op");
  }
  Fields fields(json, path, where + " (" + op + ")");
  fields.text("op");
  Edit edit;
  edit.op = parse_operation(op, fields, path, where + " (" + op + ")");
  const Json* layers = fields.find("layers");
  if (layers == nullptr && op != "force_routes")
    fields.fail_field("layers", "is missing; list decoder layers or write \"all\"");
  if (layers != nullptr && *layers != Json("all")) {
    if (!layers->is_array())
      fields.fail_field("layers", "must be a list of layers or \"all\", found " + layers->dump());
    edit.layers = fields.integers("layers", std::numeric_limits<int32_t>::max());
    if (edit.layers.empty()) fields.fail_field("layers", "is an empty list; name a layer or write \"all\"");
  }
  if (const Json* selector = fields.find("where")) edit.where = parse_where(*selector, path, where + " (" + op + ")");
  fields.done();
  return edit;
}

void check_model_block(const Json& block, const std::string& path) {
  if (block.is_null()) return;
  Fields fields(block, path, "model");
  for (const std::string field : {"model_type", "fingerprint"})
    if (fields.find(field) != nullptr) fields.text(field);
  for (const std::string field : {"num_layers", "num_experts", "top_k"})
    if (fields.find(field) != nullptr) fields.integer(field, 0);
  fields.done();
}

}  // namespace

Intervention Intervention::parse(const Json& json, const std::string& path) {
  Fields fields(json, path, "");
  const std::string format = fields.text("format");
  if (format != kFormat) fields.fail_field("format", "is '" + format + "'; this version reads '" + kFormat + "'");
  Intervention intervention;
  if (fields.find("name") != nullptr) intervention.name = fields.text("name");
  if (const Json* block = fields.find("model")) {
    check_model_block(*block, path);
    intervention.model = *block;
  }
  const Json& edits = fields.list("edits");
  fields.done();
  for (size_t i = 0; i < edits.size(); ++i) intervention.edits.push_back(parse_edit(edits[i], i, path));
  return intervention;
}

Intervention Intervention::read(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  Intervention intervention = parse(parse_json(bytes, path.string()), path.string());
  std::string hashed = bytes;  // with what calibration files hold: other text is another intervention
  for (const Edit& edit : intervention.edits)
    if (const auto* mask = std::get_if<Mask>(&edit.op); mask != nullptr && mask->replaces_outputs())
      hashed += sha256_hex(read_file(mask->calibration_path));
  intervention.sha256 = sha256_hex(hashed);
  intervention.path = path.string();
  return intervention;
}

}  // namespace fare
