#include "fare/routing/trace_file.h"
#include "fare/core/test_folder.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "fare/checkpoint/safetensors_file.h"
#include "fare/checkpoint/safetensors_writer.h"
#include "fare/core/error.h"

namespace fare {
namespace {

std::filesystem::path scratch(const std::string& name) {
  static const TestFolder folder("trace");
  return folder / name;
}

// Two requests of 2 and 3 tokens, layers 1 and 12, 3 experts, 2 slots. Row r of layer l has logits l + r / 10, .. and
// ids {r % 3, -1}, weights {r + 1, 0}.
const TraceShape kShape{{0, 2, 5}, {10, 11, 12, 13, 14}, {1, 12}, 3, 2};

void write_rows(TraceFileWriter& writer, int64_t layer, const std::vector<int64_t>& rows, int64_t num_slots = 2) {
  std::vector<float> logits, weights;
  std::vector<int32_t> ids;
  std::vector<int64_t> from;
  for (const int64_t row : rows) {
    from.push_back(static_cast<int64_t>(from.size()));
    for (int e = 0; e < 3; ++e) logits.push_back(static_cast<float>(layer * 100 + row * 10 + e));
    for (int64_t slot = 0; slot < num_slots; ++slot) {
      ids.push_back(slot == 0 ? static_cast<int32_t>(row % 3) : -1);
      weights.push_back(slot == 0 ? static_cast<float>(row + 1) : 0);
    }
  }
  writer.write(layer, rows, from, logits.data(), ids.data(), weights.data(), num_slots);
}

TEST(TraceFile, HoldsTheTensorsOfTheFormatWhateverOrderRowsComeIn) {
  const auto path = scratch("trace.safetensors");
  {
    TraceFileWriter writer(path, kShape);
    write_rows(writer, 12, {3, 4, 0});
    write_rows(writer, 1, {0, 1, 4});
    write_rows(writer, 1, {2, 3});
    write_rows(writer, 12, {2, 1});
    EXPECT_FALSE(std::filesystem::exists(path));
    writer.commit();
  }
  EXPECT_EQ(static_cast<int64_t>(std::filesystem::file_size(path)), trace_file_bytes(kShape));
  const SafetensorsFile file(path);
  EXPECT_EQ(file.tensors().size(), 8u);
  EXPECT_EQ(file.tensor("offsets").dtype, Dtype::kI64);
  EXPECT_EQ(file.tensor("token_ids").dtype, Dtype::kI32);
  EXPECT_EQ(file.tensor("layers.12.router_logits").shape, (std::vector<int64_t>{5, 3}));
  EXPECT_EQ(copy_values<float>(file.tensor("layers.12.router_logits"))[3 * 3 + 2], 1232);
  EXPECT_EQ(copy_values<float>(file.tensor("layers.1.router_logits"))[1 * 3], 110);
  const RouteTable table = read_trace_file(path);
  EXPECT_EQ(table.offsets, kShape.offsets);
  EXPECT_EQ(table.token_ids, kShape.token_ids);
  ASSERT_EQ(table.layers.size(), 2u);
  for (const int64_t layer : {1, 12}) {
    EXPECT_EQ(table.layers.at(layer).k, 2);
    EXPECT_EQ(table.layers.at(layer).ids, (std::vector<int32_t>{0, -1, 1, -1, 2, -1, 0, -1, 1, -1}));
    EXPECT_EQ(table.layers.at(layer).weights, (std::vector<float>{1, 0, 2, 0, 3, 0, 4, 0, 5, 0}));
  }
}

TEST(TraceFile, TakesNarrowerAndWiderRows) {
  const auto path = scratch("trace.safetensors");
  TraceFileWriter writer(path, kShape);
  write_rows(writer, 1, {0, 1, 2, 3, 4}, 1);
  write_rows(writer, 12, {0, 1, 2, 3, 4}, 3);
  writer.commit();
  const RouteTable table = read_trace_file(path);
  EXPECT_EQ(table.layers.at(1).ids, table.layers.at(12).ids);
  EXPECT_EQ(table.layers.at(1).weights, table.layers.at(12).weights);
}

TEST(TraceFile, MayHoldNoTokens) {
  const auto path = scratch("empty.safetensors");
  TraceFileWriter(path, TraceShape{{0, 0}, {}, {1}, 3, 2}).commit();
  EXPECT_EQ(read_trace_file(path).offsets, (std::vector<int64_t>{0, 0}));
}

TEST(TraceFile, AppearsCompleteOrNotAtAll) {
  const auto path = scratch("part.safetensors");
  {
    TraceFileWriter writer(path, kShape);
    write_rows(writer, 1, {0, 1, 2, 3, 4});
    write_rows(writer, 12, {0, 1, 3, 4});
    EXPECT_THROW(writer.commit(), BrokenInvariant);
    EXPECT_THROW(write_rows(writer, 2, {0}), BrokenInvariant);
    EXPECT_THROW(write_rows(writer, 1, {5}), BrokenInvariant);
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  for (const auto& entry : std::filesystem::directory_iterator(path.parent_path()))
    EXPECT_FALSE(entry.path().filename().string().starts_with("part.safetensors")) << entry.path();
  EXPECT_THROW(TraceFileWriter(scratch("no-folder") / "x" / "trace.safetensors", kShape), IoError);
}

TEST(TraceFile, WritesATableHeldInMemory) {
  RouteTable table;
  table.offsets = {0, 1};
  table.token_ids = {4};
  table.layers[2] = {2, {1, 0}, {0.75f, 0.25f}};
  write_trace_file(scratch("memory.safetensors"), table, 2, {{2, {0.5f, 1.5f}}});
  const RouteTable read = read_trace_file(scratch("memory.safetensors"));
  EXPECT_EQ(read.layers.at(2).ids, table.layers.at(2).ids);
  EXPECT_EQ(read.layers.at(2).weights, table.layers.at(2).weights);
  const SafetensorsFile file(scratch("memory.safetensors"));
  EXPECT_EQ(copy_values<float>(file.tensor("layers.2.router_logits")), (std::vector<float>{0.5f, 1.5f}));
}

// A trace of one request of two tokens, one thing of which can be broken.
struct Parts {
  std::vector<int64_t> offsets = {0, 2};
  std::vector<int32_t> token_ids = {7, 8};
  std::vector<int32_t> ids = {4, 1, 6, -1};
  std::vector<float> weights = {0.5f, 0.25f, 1, 0};
  std::vector<int64_t> ids_shape = {2, 2}, weights_shape = {2, 2};
  std::string ids_name = "layers.3.expert_ids";
};

void expect_refused(const Parts& parts, const std::vector<std::string>& words) {
  const auto path = scratch("broken.safetensors");
  SafetensorsWriter writer(path, {{"offsets", Dtype::kI64, {static_cast<int64_t>(parts.offsets.size())}},
                                  {"token_ids", Dtype::kI32, {static_cast<int64_t>(parts.token_ids.size())}},
                                  {parts.ids_name, Dtype::kI32, parts.ids_shape},
                                  {"layers.3.expert_weights", Dtype::kF32, parts.weights_shape}});
  writer.append("offsets", parts.offsets.data(), parts.offsets.size() * 8);
  writer.append("token_ids", parts.token_ids.data(), parts.token_ids.size() * 4);
  writer.append(parts.ids_name, parts.ids.data(), parts.ids.size() * 4);
  writer.append("layers.3.expert_weights", parts.weights.data(), parts.weights.size() * 4);
  writer.commit();
  try {
    read_trace_file(path);
    FAIL() << "accepted a file that should lack: " << words[0];
  } catch (const FormatError& error) {
    const std::string message = error.what();
    for (const std::string& word : words) EXPECT_NE(message.find(word), std::string::npos) << word << " in " << message;
    EXPECT_NE(message.find("broken.safetensors"), std::string::npos) << message;
  }
}

TEST(TraceFile, RefusesWhatIsNotATrace) {
  Parts parts;
  parts.offsets = {0, 1};
  expect_refused(parts, {"offsets", "2"});
  parts = {};
  parts.offsets = {0, 3, 2};
  expect_refused(parts, {"offsets"});
  parts = {};
  parts.ids_shape = {4, 1};
  expect_refused(parts, {"expert_ids", "[4, 1]"});
  parts = {};
  parts.weights_shape = {4, 1};
  expect_refused(parts, {"expert_weights", "[4, 1]"});
  parts = {};
  parts.ids[2] = -2;
  expect_refused(parts, {"expert_ids", "-2", "row 1"});
  parts = {};
  parts.ids[1] = 4;
  expect_refused(parts, {"expert_ids", "4 twice", "row 0"});
  parts = {};
  parts.weights[3] = 0.5f;
  expect_refused(parts, {"expert_weights", "absent", "row 1"});
  parts = {};
  parts.weights[0] = std::numeric_limits<float>::quiet_NaN();
  expect_refused(parts, {"expert_weights", "finite", "row 0"});
  parts = {};
  parts.ids_name = "layers.3.experts";
  expect_refused(parts, {"not a trace"});
}

TEST(RouteTable, NamesTheFirstTokenThatDiffers) {
  RouteTable table;
  table.offsets = {0, 2, 3};
  table.token_ids = {5, 6, 7};
  const auto message = [&](std::vector<int64_t> offsets, std::vector<int32_t> ids) -> std::string {
    try {
      require_same_tokens(table, offsets, ids, "routes.safetensors");
    } catch (const ModelMismatch& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message({0, 2, 3}, {5, 6, 7}), "");
  EXPECT_NE(message({0, 2, 3}, {5, 6, 9}).find("token 0 of request 1 is 7 there, 9"), std::string::npos);
  EXPECT_NE(message({0, 2, 3}, {5, 9, 7}).find("token 1 of request 0 is 6 there, 9"), std::string::npos);
  EXPECT_NE(message({0, 3}, {5, 6, 7}).find("2 requests, this run has 1"), std::string::npos);
  EXPECT_NE(message({0, 1, 3}, {5, 6, 7}).find("request 0 has 2 tokens there, 1"), std::string::npos);
}

}  // namespace
}  // namespace fare
