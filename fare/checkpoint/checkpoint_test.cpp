#include "fare/checkpoint/checkpoint.h"

#include <gtest/gtest.h>

#include "fare/checkpoint/fingerprint.h"
#include "fare/checkpoint/safetensors_writer.h"
#include "fare/checkpoint/shard_index.h"
#include "fare/checkpoint/test_safetensors.h"
#include "fare/core/source_folder.h"

namespace fare {
namespace {

std::filesystem::path golden() { return source_folder() / "tests/golden/safetensors"; }
Json expected() { return read_json_file(golden() / "expected.json"); }

constexpr const char* kIndex = "model.safetensors.index.json";

void write_bytes_tensor(const std::filesystem::path& path, const std::vector<std::string>& names) {
  std::vector<TensorData> tensors;
  static const std::vector<std::byte> data(4, std::byte{1});
  for (const auto& name : names) tensors.push_back({name, Dtype::kU8, {4}, data});
  write_safetensors(path, tensors);
}

TEST(Checkpoint, one_file_shards_and_unaligned_give_the_same_tensors_and_fingerprint) {
  const Json wanted = expected();
  for (const char* name : {"python_written", "python_sharded", "python_unaligned"}) {
    const auto checkpoint = Checkpoint::open(golden() / name);
    EXPECT_EQ(checkpoint->names().size(), wanted["tensors"].size()) << name;
    EXPECT_EQ(checkpoint->fingerprint(), wanted["fingerprint"].get<std::string>()) << name;
    EXPECT_EQ(checkpoint->fingerprint(), checkpoint->fingerprint());
    EXPECT_EQ(checkpoint->tensor("a.weight").shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(copy_values<int32_t>(checkpoint->tensor("f.int")), (std::vector<int32_t>{-5, 6, 7}));
    EXPECT_EQ(checkpoint->config()["model_type"], "olmoe");
    EXPECT_EQ(checkpoint->total_bytes(), 24 + 6 + 10 + 3 + 16 + 12 + 4 + 3 + 4);
    EXPECT_TRUE(checkpoint->notes().empty()) << checkpoint->notes().front();
    checkpoint->release("a.weight");
    checkpoint->release("nothing");
  }
}

TEST(Checkpoint, names_are_in_byte_order) {
  const auto names = Checkpoint::open(golden() / "python_sharded")->names();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(names.back(), "é \"quoted\"");
}

TEST(Checkpoint, a_missing_tensor_and_an_unusable_type_are_mismatches) {
  const auto checkpoint = Checkpoint::open(golden() / "python_written");
  const std::string message = message_of<ModelMismatch>([&] { checkpoint->tensor("a.weigh"); });
  EXPECT_HAS(message, "'a.weigh'");
  EXPECT_HAS(message, "did you mean 'a.weight'");
  EXPECT_HAS(message_of<ModelMismatch>([&] { checkpoint->tensor("i.flag"); }), "BOOL");
  EXPECT_EQ(checkpoint->raw_tensor("i.flag").dtype, Dtype::kBool);
}

TEST(Checkpoint, what_is_not_a_model_folder_is_refused_with_what_to_do) {
  const TestFolder folder;
  EXPECT_HAS(message_of<IoError>([&] { Checkpoint::open(folder / "absent"); }), "no such folder");
  write_file(folder / "file", "x");
  EXPECT_HAS(message_of<IoError>([&] { Checkpoint::open(folder / "file"); }), "is not a folder");
  EXPECT_HAS(message_of<IoError>([&] { Checkpoint::open(folder.path()); }), "config.json");
  write_file(folder / "config.json", "[]");
  EXPECT_HAS(message_of<FormatError>([&] { Checkpoint::open(folder.path()); }), "object");
  write_file(folder / "config.json", "{\"a\": 1,}");
  EXPECT_HAS(message_of<FormatError>([&] { Checkpoint::open(folder.path()); }), "config.json");
  write_file(folder / "config.json", "{}");
  EXPECT_HAS(message_of<IoError>([&] { Checkpoint::open(folder.path()); }), "no weights");
  write_file(folder / "pytorch_model.bin", "x");
  EXPECT_HAS(message_of<IoError>([&] { Checkpoint::open(folder.path()); }), "pytorch_model.bin");
  EXPECT_TRUE(Checkpoint::open_config(folder / "config.json")->names().empty());
  write_file(folder / "model.safetensors", safetensors_bytes("{}", 0));
  EXPECT_HAS(message_of<FormatError>([&] { Checkpoint::open(folder.path()); }), "no tensors");
}

TEST(Checkpoint, the_index_wins_over_a_single_file_and_other_weights_are_ignored) {
  const TestFolder folder;
  write_file(folder / "config.json", "{}");
  write_file(folder / "pytorch_model.bin", "x");
  write_file(folder / "consolidated.safetensors", "broken");
  write_file(folder / "model.safetensors", "broken");
  write_bytes_tensor(folder / "odd name.st", {"x", "y", "extra"});
  write_bytes_tensor(folder / "z", {"z", "x"});
  write_file(folder / kIndex, R"({"weight_map":{"x":"odd name.st","y":"odd name.st","z":"z"}})");
  const auto checkpoint = Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint->names(), (std::vector<std::string>{"x", "y", "z"}));
  EXPECT_FALSE(checkpoint->has("extra"));
  ASSERT_EQ(checkpoint->notes().size(), 2u);
  EXPECT_HAS(checkpoint->notes()[0], "'extra'");
  EXPECT_HAS(checkpoint->notes()[1], "'x' is taken from odd name.st");
}

TEST(Checkpoint, a_missing_shard_or_tensor_is_named) {
  const TestFolder folder;
  write_file(folder / "config.json", "{}");
  write_bytes_tensor(folder / "a.safetensors", {"x"});
  write_file(folder / kIndex, R"({"weight_map":{"x":"a.safetensors","y":"b.safetensors"}})");
  EXPECT_HAS(message_of<IoError>([&] { Checkpoint::open(folder.path()); }), "b.safetensors: no such file");
  write_file(folder / kIndex, R"({"weight_map":{"x":"a.safetensors","lost":"a.safetensors"}})");
  const std::string message = message_of<FormatError>([&] { Checkpoint::open(folder.path()); });
  EXPECT_HAS(message, kIndex);
  EXPECT_HAS(message, "'lost'");
  EXPECT_HAS(message, "a.safetensors");
  write_file(folder / "a.safetensors", "junk and more junk");
  EXPECT_HAS(message_of<FormatError>([&] { Checkpoint::open(folder.path()); }), "a.safetensors");
}

TEST(Checkpoint, a_total_size_that_is_not_the_sum_is_only_noted) {
  const TestFolder folder;
  write_file(folder / "config.json", "{}");
  write_bytes_tensor(folder / "a.safetensors", {"x"});
  write_file(folder / kIndex,
             R"({"metadata":{"total_size":5.0,"total_parameters":4},"weight_map":{"x":"a.safetensors"}})");
  EXPECT_HAS(Checkpoint::open(folder.path())->notes().at(0), "5.0");
  write_file(folder / kIndex, R"({"metadata":{"total_size":4},"weight_map":{"x":"a.safetensors"}})");
  EXPECT_TRUE(Checkpoint::open(folder.path())->notes().empty());
}

TEST(ShardIndex, metadata_may_be_missing_and_total_size_a_float) {
  const TestFolder folder;
  write_file(folder / kIndex, R"({"weight_map":{"b":"2","a":"1","c":"1"}})");
  const ShardIndex index = read_shard_index(folder / kIndex);
  EXPECT_FALSE(index.total_size_bytes);
  EXPECT_EQ(index.files(), (std::vector<std::string>{"1", "2"}));
  write_file(folder / kIndex, R"({"metadata":{"total_size":1.4e10},"weight_map":{"b":"2"}})");
  EXPECT_EQ(read_shard_index(folder / kIndex).total_size_bytes, 1.4e10);
}

TEST(ShardIndex, broken_indexes_are_refused_with_the_place) {
  struct Case {
    const char* text;
    const char* says;
  };
  const Case cases[] = {
      {"{", "JSON"},
      {"[]", "object"},
      {"{}", "'weight_map' is missing"},
      {R"({"weight_map":[]})", "weight_map"},
      {R"({"weight_map":{}})", "empty"},
      {R"({"weight_map":{"t":3}})", "'t'"},
      {R"({"weight_map":{"t":"../x"}})", "plain name"},
      {R"({"weight_map":{"t":"sub/x"}})", "sub/x"},
      {R"({"weight_map":{"t":"sub\\x"}})", "plain name"},
      {R"({"weight_map":{"t":"/etc/passwd"}})", "plain name"},
      {R"({"weight_map":{"t":".."}})", "plain name"},
      {R"({"weight_map":{"t":"."}})", "plain name"},
      {R"({"weight_map":{"t":""}})", "plain name"},
      {R"({"weight_map":{"t":"a\u0000b"}})", "plain name"},
      {R"({"weight_map":{"t":"a","t":"b"}})", "duplicate"},
      {R"({"metadata":[],"weight_map":{"t":"a"}})", "metadata"},
      {R"({"metadata":{"total_size":"5"},"weight_map":{"t":"a"}})", "total_size"},
      {R"({"metadata":{"total_size":-5},"weight_map":{"t":"a"}})", "total_size"},
  };
  const TestFolder folder;
  for (const auto& c : cases) {
    write_file(folder / kIndex, c.text);
    const std::string message = message_of<FormatError>([&] { read_shard_index(folder / kIndex); });
    EXPECT_HAS(message, kIndex) << c.text;
    EXPECT_HAS(message, c.says) << c.text;
  }
}

TEST(Fingerprint, the_configuration_is_hashed_as_python_spells_it) {
  Json config = Checkpoint::open(golden() / "python_written")->config();
  EXPECT_EQ(canonical_json(config), expected()["canonical_config"].get<std::string>());
}

TEST(Fingerprint, blocks_of_a_large_checkpoint_are_those_of_the_definition) {
  const TestFolder folder;
  std::vector<int32_t> values(3001);
  for (int32_t i = 0; i < 3001; ++i) values[static_cast<size_t>(i)] = i * i % 100003;
  write_file(folder / "config.json", "{}");
  const auto write = [&] {
    write_safetensors(folder / "model.safetensors", {{"t", Dtype::kI32, {3001}, std::as_bytes(std::span(values))}});
  };
  write();
  const auto checkpoint = Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint->fingerprint(), expected()["fingerprint_large_whole"].get<std::string>());
  EXPECT_EQ(compute_fingerprint(*checkpoint, true), expected()["fingerprint_large_blocks"].get<std::string>());
}

TEST(Fingerprint, only_what_matters_changes_it) {
  const TestFolder folder;
  const auto print = [&](const std::string& config) {
    write_file(folder / "config.json", config);
    return Checkpoint::open(folder.path())->fingerprint();
  };
  write_bytes_tensor(folder / "model.safetensors", {"x"});
  const std::string base = print(R"({"a":1,"b":2})");
  EXPECT_EQ(base.size(), 7u + 64u);
  EXPECT_EQ(print(R"({ "b": 2, "transformers_version": "5", "a": 1 })"), base);
  EXPECT_NE(print(R"({"a":1,"b":3})"), base);
  EXPECT_NE(print(R"({"a":1,"b":2,"c":{"transformers_version":1}})"), print(R"({"a":1,"b":2,"c":{}})"));
  const uint8_t changed[] = {1, 1, 1, 2};
  write_safetensors(folder / "model.safetensors", {{"x", Dtype::kU8, {4}, std::as_bytes(std::span(changed))}});
  EXPECT_NE(print(R"({"a":1,"b":2})"), base);
  const uint8_t same[] = {1, 1, 1, 1};
  write_safetensors(folder / "model.safetensors", {{"x", Dtype::kU8, {2, 2}, std::as_bytes(std::span(same))}});
  EXPECT_NE(print(R"({"a":1,"b":2})"), base);
}

}  // namespace
}  // namespace fare
