// The pages, schemas and examples in docs/ say what the code does.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/json.h"
#include "fare/core/source_folder.h"
#include "fare/routing/intervention.h"
#include "fare/routing/receipt.h"
#include "fare/routing/route_testing.h"

namespace fare {
namespace {

using namespace testing;

const std::filesystem::path kDocs = source_folder() / "docs";

std::set<std::string> keys(const Json& object) {
  std::set<std::string> names;
  for (const auto& [name, value] : object.items()) names.insert(name);
  return names;
}
std::set<std::string> words(const Json& list) { return list.get<std::set<std::string>>(); }

// An edit with every field that the schema names for its operation, or only the required ones.
Json edit_from_schema(const Json& schema, const std::string& op, bool all_fields) {
  const Json values = {{"op", op},
                       {"layers", "all"},
                       {"experts", {1}},
                       {"values", {0.5}},
                       {"scores", {0.5}},
                       {"lambda", 1.0},
                       {"factor", 2.0},
                       {"k", 2},
                       {"p", 0.5},
                       {"value", 2.0},
                       {"mode", "refill"},
                       {"affects", "selection"},
                       {"keep_sum", true},
                       {"file", "routes.safetensors"},
                       {"gate", {{"vector", {0.5, 1.0}}, {"offset", 1.0}}},
                       {"inputs", Json::array({{0.5, 1.0}})},
                       {"outputs", Json::array({{0.5, 1.0}})},
                       {"offsets", {0.5}},
                       {"where",
                        {{"phase", "all"},
                         {"spans", {"a"}},
                         {"token_ids", {1}},
                         {"following", 2},
                         {"positions", {{0, 1}}},
                         {"requests", {"r"}}}}};
  const Json& definition = schema["$defs"][op];
  Json edit;
  for (const std::string& field : all_fields ? keys(definition["properties"]) : words(definition["required"]))
    if (field != "calibration") edit[field] = values.at(field);  // of modes that keep_sum does not go with
  return edit;
}

Intervention parse_edit(const Json& edit) {
  return Intervention::parse({{"format", "fare-intervention/1"}, {"edits", {edit}}}, "schema");
}

TEST(Formats, TheExampleInterventionIsRead) {
  const Intervention example = Intervention::read(kDocs / "examples/intervention.json");
  EXPECT_EQ(example.name, "one of each operation");
  RoutedModel model;
  model.model_type = "olmoe";
  model.num_layers = 16;
  for (int64_t l = 0; l < 16; ++l) model.moe_layers.push_back(l);
  model.router = spec_of(64, 8, WeightMode::kRaw);
  example.check(model);
  EXPECT_EQ(Intervention::parse(Json::parse(example.to_json().dump()), "again").to_json(), example.to_json());
}

TEST(Formats, TheSchemaOfInterventionsNamesTheFieldsThatAreRead) {
  const Json schema = read_json_file(kDocs / "schemas/intervention.schema.json");
  std::set<std::string> operations;
  for (const Json& choice : schema["properties"]["edits"]["items"]["oneOf"]) {
    const std::string reference = choice["$ref"];
    operations.insert(reference.substr(reference.rfind('/') + 1));
  }
  EXPECT_EQ(operations.size(), std::variant_size_v<EditOp>);
  for (const std::string& op : operations) {
    if (op == "force_routes") continue;  // needs a second file; the tests of interventions read one
    const Json full = edit_from_schema(schema, op, true), least = edit_from_schema(schema, op, false);
    EXPECT_EQ(op_name(parse_edit(full).edits[0].op), op);
    EXPECT_NO_THROW(parse_edit(least)) << op;
    for (const std::string& field : keys(least)) {
      Json without = least;
      without.erase(field);
      EXPECT_THROW(parse_edit(without), FormatError) << op << " without " << field;
    }
    for (const std::string field :
         {"experts", "values", "scores", "lambda", "factor", "k", "p", "value", "mode", "affects", "keep_sum", "file",
          "gate", "inputs", "outputs", "offsets", "calibration", "comment"}) {
      if (full.contains(field)) continue;
      Json more = least;
      more[field] = 1;
      EXPECT_THROW(parse_edit(more), FormatError) << op << " with " << field;
    }
  }
}

TEST(Formats, TheSchemaAndExampleOfReceiptsHaveTheFieldsThatAreWritten) {
  const Json schema = read_json_file(kDocs / "schemas/receipt.schema.json");
  const Json example = read_json_file(kDocs / "examples/receipt.json");
  const std::vector<Edit> edits = {edit_of(Mask{{0}, Mask::Mode::kRefill, false})};
  const at::Tensor logits = logits_of_odds({{4, 3, 2, 1}});
  Receipt receipt;
  receipt.add(12, route(logits, spec_of(4, 2, WeightMode::kRaw), scoped(edits)), scoped(edits), {});
  std::vector<ScopedEdit> nowhere = scoped(edits);
  nowhere[0].scope_T = {0};
  receipt.add(14, route(logits, spec_of(4, 2, WeightMode::kRaw), nowhere), nowhere, {});
  const Json written = Json::parse(receipt.to_json("a", "b").dump());
  EXPECT_EQ(keys(written), words(schema["required"]));
  EXPECT_EQ(keys(written), keys(example));
  const Json& layer = schema["$defs"]["layer"];
  EXPECT_EQ(keys(written["layers"]["12"]), words(layer["required"]));
  EXPECT_EQ(keys(written["layers"]["14"]), keys(layer["properties"]));
  for (const std::string number : {"12", "14"})
    EXPECT_EQ(keys(example["layers"][number]), keys(written["layers"][number]));
}

TEST(Formats, EveryFieldIsExplained) {
  const auto expect_named = [](const std::string& page, const std::set<std::string>& fields) {
    const std::string text = read_file(kDocs / page);
    for (const std::string& field : fields)
      EXPECT_NE(text.find("`" + field), std::string::npos) << page << ": " << field;
  };
  const Json intervention = read_json_file(kDocs / "schemas/intervention.schema.json");
  for (const Json& choice : intervention["properties"]["edits"]["items"]["oneOf"]) {
    const std::string reference = choice["$ref"];
    const std::string op = reference.substr(reference.rfind('/') + 1);
    expect_named("intervention.md", {op});
    auto fields = keys(intervention["$defs"][op]["properties"]);
    fields.erase("op");
    expect_named("intervention.md", fields);
  }
  expect_named("intervention.md", keys(intervention["$defs"]["where"]["properties"]));
  const Json receipt = read_json_file(kDocs / "schemas/receipt.schema.json");
  expect_named("receipt.md", keys(receipt["properties"]));
  expect_named("receipt.md", keys(receipt["$defs"]["layer"]["properties"]));
}

}  // namespace
}  // namespace fare
