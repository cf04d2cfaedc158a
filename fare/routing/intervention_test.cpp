#include "fare/routing/intervention.h"
#include "fare/core/test_folder.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/sha256.h"
#include "fare/routing/route_testing.h"
#include "fare/routing/trace_file.h"

namespace fare {
namespace {

using namespace testing;

std::filesystem::path scratch(const std::string& name) {
  static const TestFolder folder("intervention");
  return folder / name;
}

// A model of 16 layers of which layer 0 is dense, with 8 experts and k = 2.
RoutedModel small_model() {
  RoutedModel model;
  model.model_type = "olmoe";
  model.num_layers = 4;
  model.moe_layers = {1, 2, 3};
  model.router = spec_of(8, 2, WeightMode::kRaw);
  model.fingerprint = [] { return std::string("sha256:abc"); };
  return model;
}

Intervention parse(const std::string& edits, const std::string& rest = "") {
  return Intervention::parse(
      Json::parse(R"({"format": "fare-intervention/1", "name": "n", "edits": [)" + edits + "]" + rest + "}"),
      "edit.json");
}

void expect_mentions(const std::string& message, const std::vector<std::string>& words) {
  for (const std::string& word : words)
    EXPECT_NE(message.find(word), std::string::npos) << "no '" << word << "' in: " << message;
}

// A file that must be refused with all of these words in the message.
void refused(const std::string& edits, const std::vector<std::string>& words, const std::string& rest = "") {
  try {
    parse(edits, rest);
    FAIL() << "accepted: " << edits << rest;
  } catch (const FormatError& error) {
    expect_mentions(error.what(), words);
    expect_mentions(error.what(), {"edit.json"});
  }
}

void mismatch(const Intervention& intervention, const RoutedModel& model, const std::vector<std::string>& words) {
  try {
    intervention.check(model);
    FAIL() << "accepted: " << intervention.to_json().dump();
  } catch (const ModelMismatch& error) {
    expect_mentions(error.what(), words);
  }
}

TEST(Intervention, ReadsEveryOperation) {
  const Intervention intervention = parse(R"(
    {"op": "mask", "layers": [1], "experts": [3, 5], "mode": "refill", "keep_sum": true},
    {"op": "mask", "layers": [1], "experts": [3], "mode": "renormalize"},
    {"op": "mask", "layers": [1], "experts": [3], "mode": "zero"},
    {"op": "add_logit", "layers": [2], "experts": [7, 1], "values": [-1.5, 2], "affects": "selection"},
    {"op": "add_logit", "layers": "all", "experts": [7, 1], "values": [0.5]},
    {"op": "reweight", "layers": "all", "experts": [1, 2], "scores": 1, "lambda": 2},
    {"op": "scale_weight", "layers": "all", "experts": [4], "factor": 2.0, "keep_sum": true},
    {"op": "activate", "layers": [3], "experts": [0]},
    {"op": "deactivate", "layers": [3], "experts": [1], "where": {"spans": ["demographic"], "phase": "generated",
      "token_ids": [4], "positions": [[0, 3]], "requests": ["a"]}},
    {"op": "set_top_k", "layers": "all", "k": 3},
    {"op": "top_p", "layers": "all", "p": 0.4},
    {"op": "temperature", "layers": "all", "value": 0.5},
    {"op": "shared_scale", "layers": "all", "factor": 0.5})");
  ASSERT_EQ(intervention.edits.size(), 13u);
  const auto& mask = std::get<Mask>(intervention.edits[0].op);
  EXPECT_EQ(mask.experts, (std::vector<int32_t>{3, 5}));
  EXPECT_TRUE(mask.keep_sum);
  EXPECT_EQ(std::get<Mask>(intervention.edits[1].op).mode, Mask::Mode::kRenormalize);
  EXPECT_EQ(std::get<Mask>(intervention.edits[2].op).mode, Mask::Mode::kZero);
  const auto& selection = std::get<AddLogit>(intervention.edits[3].op);
  EXPECT_EQ(selection.affects, AddLogit::Affects::kSelection);
  EXPECT_EQ(selection.values, (std::vector<double>{-1.5, 2}));
  const auto& one_for_all = std::get<AddLogit>(intervention.edits[4].op);
  EXPECT_EQ(one_for_all.values, (std::vector<double>{0.5, 0.5}));
  EXPECT_EQ(one_for_all.affects, AddLogit::Affects::kSelectionAndWeight);
  EXPECT_TRUE(intervention.edits[4].layers.empty());
  EXPECT_EQ(std::get<Reweight>(intervention.edits[5].op).scores, (std::vector<double>{1, 1}));
  EXPECT_EQ(std::get<Reweight>(intervention.edits[5].op).lambda, 2);
  EXPECT_EQ(std::get<ScaleWeight>(intervention.edits[6].op).factor, 2);
  const Selector& where = intervention.edits[8].where;
  EXPECT_EQ(where.phase, Selector::Phase::kGenerated);
  EXPECT_EQ(where.spans, (std::vector<std::string>{"demographic"}));
  EXPECT_EQ(where.positions, (std::vector<std::pair<int64_t, int64_t>>{{0, 3}}));
  EXPECT_EQ(std::get<SetTopK>(intervention.edits[9].op).k, 3);
  EXPECT_EQ(std::get<TopP>(intervention.edits[10].op).p, 0.4);
  EXPECT_EQ(std::get<Temperature>(intervention.edits[11].op).value, 0.5);
  EXPECT_EQ(std::get<SharedScale>(intervention.edits[12].op).factor, 0.5);

  // What it writes reads back to the same, and writes the same again.
  const OrderedJson json = intervention.to_json();
  const Intervention again = Intervention::parse(Json::parse(json.dump()), "again.json");
  EXPECT_EQ(again.to_json(), json);
  EXPECT_EQ(json["edits"][8]["where"]["positions"][0][1], 3);
}

TEST(Intervention, RefusesBrokenFilesWithTheEditAndTheReason) {
  refused(R"({"op": "maks", "layers": "all", "experts": [1]})", {"edit 0", "maks", "mask"});
  refused(
      R"({"op": "temperature", "layers": "all", "value": 1}, {"op": "mask", "layers": "all", "experts": [1], "expert": 2})",
      {"edit 1", "unknown field 'expert'"});
  refused(R"({"op": "mask", "layers": "all"})", {"edit 0", "'experts' is missing"});
  refused(R"({"op": "mask", "experts": [1]})", {"edit 0", "'layers' is missing"});
  refused(R"({"op": "mask", "layers": [], "experts": [1]})", {"edit 0", "layers", "empty"});
  refused(R"({"op": "mask", "layers": "some", "experts": [1]})", {"edit 0", "layers"});
  refused(R"({"op": "mask", "layers": [1, 1], "experts": [1]})", {"edit 0", "layers", "twice"});
  refused(R"({"op": "mask", "layers": [-1], "experts": [1]})", {"edit 0", "layers", "-1"});
  refused(R"({"op": "mask", "layers": [1.5], "experts": [1]})", {"edit 0", "layers", "1.5"});
  refused(R"({"op": "mask", "layers": "all", "experts": [2, 2]})", {"edit 0", "experts", "twice"});
  refused(R"({"op": "mask", "layers": "all", "experts": 2})", {"edit 0", "experts", "list"});
  refused(R"({"op": "mask", "layers": "all", "experts": [99999999999]})", {"edit 0", "experts", "range"});
  refused(R"({"op": "mask", "layers": "all", "experts": [1], "mode": "mena"})",
          {"edit 0", "mode", "refill, renormalize, zero"});
  for (const std::string mode : {"mean", "resample"}) {
    const std::string mask = R"({"op": "mask", "layers": "all", "experts": [1], "mode": ")" + mode + "\"";
    refused(mask + "}", {"edit 0", "'calibration' is missing", mode});
    refused(mask + R"(, "calibration": ""})", {"edit 0", "'calibration' is empty"});
    refused(mask + R"(, "calibration": 3})", {"edit 0", "'calibration' must be a text"});
    refused(mask + R"(, "calibration": "n.jsonl", "keep_sum": true})", {"edit 0", "keep_sum", "refill"});
  }
  refused(R"({"op": "mask", "layers": "all", "experts": [1], "calibration": "n.jsonl"})",
          {"edit 0", "'calibration' belongs to the modes mean and resample"});
  refused(R"({"op": "mask", "layers": "all", "experts": [1], "mode": "zero", "keep_sum": true})",
          {"keep_sum", "refill"});
  refused(R"({"op": "add_logit", "layers": "all", "experts": [1, 2, 3], "values": [1, 2]})",
          {"values", "2 numbers for 3"});
  refused(R"({"op": "add_logit", "layers": "all", "experts": [1], "values": ["1"]})", {"values", "number"});
  refused(R"({"op": "add_logit", "layers": "all", "experts": [1], "values": [1], "affects": "weight"})",
          {"affects", "selection_and_weight, selection"});
  refused(R"({"op": "reweight", "layers": "all", "experts": [1], "scores": [1]})", {"'lambda' is missing"});
  refused(R"({"op": "reweight", "layers": "all", "experts": [1], "scores": [1], "lambda": 1, "keep_sum": true})",
          {"keep_sum"});
  refused(R"({"op": "scale_weight", "layers": "all", "experts": [1], "factor": "2"})", {"factor", "number"});
  refused(R"({"op": "scale_weight", "layers": "all", "experts": [1], "factor": 2, "keep_sum": 1})",
          {"keep_sum", "true or false"});
  refused(R"({"op": "set_top_k", "layers": "all", "k": 0})", {"'k'", "at least 1"});
  refused(R"({"op": "set_top_k", "layers": "all", "k": 2.5})", {"'k'", "2.5"});
  refused(R"({"op": "top_p", "layers": "all", "p": 1.5})", {"'p'", "[0, 1]"});
  refused(R"({"op": "temperature", "layers": "all", "value": 0})", {"value", "positive"});
  refused(R"({"op": "temperature", "layers": "all", "value": -1})", {"value", "positive"});
  refused(R"({"op": "temperature", "layers": "all", "value": 1e-40})", {"value", "positive"});
  refused(R"({"op": "scale_weight", "layers": "all", "experts": [1], "factor": 1e300})", {"factor", "float32"});
  refused(R"({"op": "add_logit", "layers": "all", "experts": [1], "values": [-1e39]})", {"values", "float32"});
  refused(R"({"op": "scale_weight", "layers": "all", "experts": [1], "factor": -1, "keep_sum": true})",
          {"factor", "keep_sum"});
  refused(R"({"layers": "all"})", {"edit 0", "'op' is missing"});
  refused(R"(3)", {"edit 0", "object"});
  const auto with_where = [](const std::string& where) {
    return R"({"op": "temperature", "layers": "all", "value": 2, "where": )" + where + "}";
  };
  refused(with_where(R"({"phase": "context"})"), {"where", "phase", "prompt, generated, all"});
  refused(with_where(R"({"span": ["a"]})"), {"where", "unknown field 'span'", "spans"});
  refused(with_where(R"({"spans": []})"), {"where", "spans", "empty"});
  refused(with_where(R"({"positions": [[3, 3]]})"), {"where", "positions", "[3,3]"});
  refused(with_where(R"({"positions": [3]})"), {"where", "positions", "[from, to)"});
  refused(with_where(R"({"token_ids": ["a"]})"), {"where", "token_ids"});
  refused(with_where(R"([1])"), {"where", "object"});
  refused("", {"unknown field 'edit'"}, R"(, "edit": [])");
  refused("", {"model", "unknown field 'layers'"}, R"(, "model": {"layers": 3})");
  refused("", {"model", "num_experts"}, R"(, "model": {"num_experts": "8"})");
  EXPECT_THROW(Intervention::parse(Json::parse(R"({"format": "fare-intervention/2", "edits": []})"), "f"), FormatError);
  EXPECT_THROW(Intervention::parse(Json::parse(R"({"edits": []})"), "f"), FormatError);
  EXPECT_THROW(Intervention::parse(Json::parse(R"({"format": "fare-intervention/1"})"), "f"), FormatError);
  EXPECT_THROW(Intervention::parse(Json::parse("[]"), "f"), FormatError);
}

TEST(Intervention, ReadsAFileWithItsHashAndRefusesNumbersThatAreNotFinite) {
  const auto path = scratch("one.json");
  const std::string bytes = R"({"format": "fare-intervention/1", "edits": []})";
  write_file(path, bytes);
  const Intervention intervention = Intervention::read(path);
  EXPECT_EQ(intervention.sha256, sha256_hex(bytes));
  EXPECT_TRUE(intervention.name.empty());
  EXPECT_TRUE(intervention.edits.empty());
  for (const std::string factor : {"1e999", "NaN", "Infinity", "-1e400"}) {
    write_file(path,
               R"({"format": "fare-intervention/1", "edits": [{"op": "scale_weight", "layers": "all", "experts": [1],
                        "factor": )" +
                   factor + "}]}");
    EXPECT_THROW(Intervention::read(path), FormatError) << factor;
  }
  EXPECT_THROW(Intervention::read(scratch("missing.json")), IoError);
}

TEST(Intervention, MatchesTheModelBlockFieldByField) {
  const RoutedModel model = small_model();
  parse(
      "",
      R"(, "model": {"model_type": "olmoe", "num_layers": 4, "num_experts": 8, "top_k": 2, "fingerprint": "sha256:abc"})")
      .check(model);
  parse("", R"(, "model": {"top_k": 2})").check(model);
  parse("", R"(, "model": {})").check(model);
  mismatch(parse("", R"(, "model": {"model_type": "mixtral"})"), model, {"model_type", "mixtral", "olmoe"});
  mismatch(parse("", R"(, "model": {"num_layers": 16})"), model, {"num_layers", "16", "4"});
  mismatch(parse("", R"(, "model": {"num_experts": 64})"), model, {"num_experts", "64", "8"});
  mismatch(parse("", R"(, "model": {"top_k": 8})"), model, {"top_k", "8", "2"});
  mismatch(parse("", R"(, "model": {"fingerprint": "sha256:abd"})"), model, {"fingerprint", "abd", "abc"});
}

TEST(Intervention, ComputesTheFingerprintOnlyWhenAsked) {
  RoutedModel model = small_model();
  int computed = 0;
  model.fingerprint = [&] {
    ++computed;
    return std::string("sha256:abc");
  };
  parse("", R"(, "model": {"top_k": 2})").check(model);
  EXPECT_EQ(computed, 0);
  parse("", R"(, "model": {"fingerprint": "sha256:abc"})").check(model);
  EXPECT_EQ(computed, 1);
}

TEST(Intervention, IsCheckedAgainstTheModel) {
  const RoutedModel model = small_model();
  const std::string fine = R"({"op": "temperature", "layers": "all", "value": 2}, )";
  mismatch(parse(fine + R"({"op": "temperature", "layers": [4], "value": 2})"), model, {"edit 1", "layer 4", "0 to 3"});
  mismatch(parse(fine + R"({"op": "temperature", "layers": [0], "value": 2})"), model,
           {"edit 1", "layer 0", "dense", "1, 2, 3"});
  for (const std::string op :
       {R"("op": "mask")", R"("op": "add_logit", "values": 1)", R"("op": "reweight", "scores": 1, "lambda": 1)",
        R"("op": "scale_weight", "factor": 2)", R"("op": "activate")", R"("op": "deactivate")"})
    mismatch(parse(fine + "{" + op + R"(, "layers": [1], "experts": [8]})"), model, {"edit 1", "expert 8", "0 to 7"});
  mismatch(parse(R"({"op": "set_top_k", "layers": "all", "k": 9})"), model, {"edit 0", "9", "8"});
  mismatch(parse(R"({"op": "shared_scale", "layers": "all", "factor": 0.5})"), model, {"edit 0", "shared"});
  RoutedModel with_shared = model;
  with_shared.router.has_shared_expert = true;
  parse(R"({"op": "shared_scale", "layers": "all", "factor": 0.5})").check(with_shared);
  RoutedModel dense = model;
  dense.moe_layers.clear();
  mismatch(parse(R"({"op": "temperature", "layers": "all", "value": 2})"), dense, {"edit 0", "no MoE layer"});
}

TEST(Intervention, RefillMustLeaveEnoughExperts) {
  const RoutedModel model = small_model();
  parse(R"({"op": "mask", "layers": [1], "experts": [0, 1, 2, 3, 4, 5], "mode": "refill"})").check(model);
  mismatch(parse(R"({"op": "mask", "layers": [1], "experts": [0, 1, 2, 3, 4, 5, 6], "mode": "refill"})"), model,
           {"edit 0", "leaves 1", "layer 1", "fewer than the 2"});
  for (const std::string mode : {"renormalize", "zero"})
    parse(R"({"op": "mask", "layers": [1], "experts": [0, 1, 2, 3, 4, 5, 6, 7], "mode": ")" + mode + R"("})")
        .check(model);
  // Two masks of the same rows count together; of different layers or different rows they do not.
  const std::string first = R"({"op": "mask", "layers": [1, 2], "experts": [0, 1, 2, 3]}, )";
  mismatch(parse(first + R"({"op": "mask", "layers": "all", "experts": [3, 4, 5, 6]})"), model, {"edit 1", "layer 1"});
  parse(first + R"({"op": "mask", "layers": [3], "experts": [3, 4, 5, 6]})").check(model);
  parse(R"({"op": "mask", "layers": [1], "experts": [0, 1, 2, 3], "where": {"spans": ["a"]}},
           {"op": "mask", "layers": [1], "experts": [3, 4, 5, 6], "where": {"spans": ["b"]}})")
      .check(model);
}

TEST(Intervention, RefillMustLeaveEnoughExpertsInEveryChoiceOfGroups) {
  RoutedModel model = small_model();
  model.router.num_groups = 4;  // of two experts
  model.router.top_groups = 1;
  parse(R"({"op": "mask", "layers": [1], "experts": [0, 1]})").check(model);  // an empty group is never kept
  mismatch(parse(R"({"op": "mask", "layers": [1], "experts": [0]})"), model, {"edit 0", "can leave 1", "1 groups"});
  mismatch(parse(R"({"op": "mask", "layers": [1], "experts": [7]})"), model, {"edit 0", "can leave 1", "1 groups"});
  model.router.top_groups = 2;
  parse(R"({"op": "mask", "layers": [1], "experts": [0]})").check(model);
  parse(R"({"op": "mask", "layers": [1], "experts": [0, 2]})").check(model);
  model.router.top_k = 3;
  mismatch(parse(R"({"op": "mask", "layers": [1], "experts": [0, 2]})"), model, {"edit 0", "can leave 2", "2 groups"});
}

TEST(Intervention, ForcesAtMostKExpertsOn) {
  const RoutedModel model = small_model();
  parse(R"({"op": "activate", "layers": [1], "experts": [0, 1]})").check(model);
  mismatch(parse(R"({"op": "activate", "layers": [1], "experts": [0, 1, 2]})"), model,
           {"edit 0", "3 experts on", "2 run"});
  mismatch(
      parse(
          R"({"op": "activate", "layers": [1], "experts": [0, 1]}, {"op": "activate", "layers": [1], "experts": [2]})"),
      model, {"edit 1", "3 experts on"});
  parse(R"({"op": "activate", "layers": [1], "experts": [0, 1, 2]}, {"op": "set_top_k", "layers": [1], "k": 3})")
      .check(model);
}

TEST(Intervention, KnowsItsFirstLayerAndItsSlots) {
  const RoutedModel model = small_model();
  EXPECT_EQ(parse("").first_layer(model), -1);
  EXPECT_EQ(parse("").num_slots(model), 2);
  const Intervention late =
      parse(R"({"op": "set_top_k", "layers": [3], "k": 5}, {"op": "temperature", "layers": [2], "value": 2})");
  EXPECT_EQ(late.first_layer(model), 2);
  EXPECT_EQ(late.num_slots(model), 5);
  EXPECT_EQ(parse(R"({"op": "temperature", "layers": "all", "value": 2})").first_layer(model), 1);
  EXPECT_EQ(parse(R"({"op": "set_top_k", "layers": "all", "k": 1})").num_slots(model), 1);
  EXPECT_EQ(parse(R"({"op": "set_top_k", "layers": [1], "k": 1})").num_slots(model), 2);
  EXPECT_EQ(parse(R"({"op": "top_p", "layers": [1], "p": 0.2})").num_slots(model), 8);
}

TEST(Intervention, KnowsWhetherItsRowsDependOnTheRequest) {
  const auto with_where = [](const std::string& where) {
    return parse(R"({"op": "temperature", "layers": "all", "value": 2, "where": )" + where + "}").depends_on_request();
  };
  EXPECT_FALSE(parse(R"({"op": "temperature", "layers": "all", "value": 2})").depends_on_request());
  EXPECT_FALSE(with_where(R"({"token_ids": [1]})"));
  EXPECT_TRUE(with_where(R"({"phase": "prompt"})"));
  EXPECT_TRUE(with_where(R"({"spans": ["a"]})"));
  EXPECT_TRUE(with_where(R"({"requests": ["a"]})"));
  EXPECT_TRUE(with_where(R"({"positions": [[0, 4]]})"));
}

// A trace of one request of two tokens, with routes of layers 1 and 3.
std::string write_trace(const std::string& name, int32_t expert) {
  const TraceShape shape{{0, 2}, {7, 8}, {1, 3}, 8, 2};
  TraceFileWriter writer(scratch(name), shape);
  const std::vector<float> logits(16, 0.5f), weights = {0.5f, 0.25f, 1, 0};
  const std::vector<int32_t> ids = {4, 1, expert, -1};
  const std::vector<int64_t> rows = {0, 1};
  for (const int64_t layer : shape.layers)
    writer.write(layer, rows, rows, logits.data(), ids.data(), weights.data(), 2);
  writer.commit();
  return name;
}

TEST(Intervention, ReplaysRoutesFromAFileBesideIt) {
  write_trace("routes.safetensors", 6);
  write_file(scratch("replay.json"), R"({"format": "fare-intervention/1", "name": "replay",
    "edits": [{"op": "force_routes", "file": "routes.safetensors", "layers": [3]}]})");
  const Intervention intervention = Intervention::read(scratch("replay.json"));
  const auto& force = std::get<ForceRoutes>(intervention.edits[0].op);
  EXPECT_EQ(force.file, "routes.safetensors");
  EXPECT_EQ(force.table->token_ids, (std::vector<int32_t>{7, 8}));
  EXPECT_EQ(force.table->layers.at(3).ids, (std::vector<int32_t>{4, 1, 6, -1}));
  intervention.check(small_model());
  EXPECT_EQ(intervention.first_layer(small_model()), 3);
  EXPECT_TRUE(intervention.depends_on_request());
  EXPECT_EQ(intervention.to_json()["edits"][0]["file"], "routes.safetensors");
  // `layers` may be left out: the layers that the file holds.
  write_file(scratch("replay.json"), R"({"format": "fare-intervention/1",
    "edits": [{"op": "force_routes", "file": "routes.safetensors"}]})");
  const Intervention all = Intervention::read(scratch("replay.json"));
  all.check(small_model());
  EXPECT_EQ(all.first_layer(small_model()), 1);
  EXPECT_FALSE(all.edits[0].touches(2));
}

TEST(Intervention, RefusesRoutesThatDoNotFitTheModel) {
  write_trace("routes.safetensors", 6);
  const auto with_layers = [](const std::string& file, const std::string& layers) {
    return Intervention::parse(
        Json::parse(R"({"format": "fare-intervention/1", "edits": [{"op": "force_routes", "file": ")" + file +
                    R"(", "layers": )" + layers + "}]}"),
        scratch("replay.json").string());
  };
  mismatch(with_layers("routes.safetensors", "[2]"), small_model(), {"edit 0", "no routes of layer 2"});
  RoutedModel other = small_model();
  other.moe_layers = {2, 3};
  mismatch(with_layers("routes.safetensors", R"("all")"), other, {"edit 0", "layer 1 is dense"});
  write_trace("far.safetensors", 8);
  mismatch(with_layers("far.safetensors", "[3]"), small_model(), {"edit 0", "layer 3, row 1", "expert 8"});
  EXPECT_THROW(with_layers("missing.safetensors", "[3]"), IoError);
  write_file(scratch("broken.safetensors"), "nothing");
  EXPECT_THROW(with_layers("broken.safetensors", "[3]"), FormatError);
}

TEST(Intervention, RoutesHeldInMemoryCannotBeWritten) {
  Intervention intervention;
  intervention.edits = {edit_of(ForceRoutes{std::make_shared<const RouteTable>(), ""})};
  EXPECT_THROW(intervention.to_json(), UsageError);
}

}  // namespace
}  // namespace fare
