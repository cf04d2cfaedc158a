#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "fare/checkpoint/safetensors_file.h"
#include "fare/checkpoint/safetensors_writer.h"
#include "fare/checkpoint/test_safetensors.h"
#include "fare/core/json.h"
#include "fare/core/source_folder.h"

namespace fare {
namespace {

std::filesystem::path golden() { return source_folder() / "tests/golden/safetensors"; }

std::string hex(const TensorView& tensor) {
  std::string text;
  for (size_t i = 0; i < tensor.num_bytes; ++i) {
    text += "0123456789abcdef"[std::to_integer<int>(tensor.data[i] >> 4)];
    text += "0123456789abcdef"[std::to_integer<int>(tensor.data[i] & std::byte{15})];
  }
  return text;
}

void expect_golden_tensors(const SafetensorsFile& file) {
  const Json expected = read_json_file(golden() / "expected.json")["tensors"];
  EXPECT_EQ(file.tensors().size(), expected.size());
  for (const auto& [name, wanted] : expected.items()) {
    ASSERT_TRUE(file.has(name)) << name;
    const TensorView tensor = file.tensor(name);
    EXPECT_EQ(dtype_name(tensor.dtype), wanted["dtype"].get<std::string>()) << name;
    EXPECT_EQ(tensor.shape, wanted["shape"].get<std::vector<int64_t>>()) << name;
    EXPECT_EQ(hex(tensor), wanted["hex"].get<std::string>()) << name;
  }
}

std::vector<std::byte> from_hex(const std::string& text) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < text.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(text.substr(i, 2), nullptr, 16)));
  return bytes;
}

TEST(SafetensorsFile, reads_what_the_python_library_wrote) {
  const SafetensorsFile file(golden() / "python_written/model.safetensors");
  expect_golden_tensors(file);
  EXPECT_EQ(file.metadata().at("kind"), "golden");
}

TEST(SafetensorsFile, reads_tensors_out_of_order_and_unaligned) {
  const SafetensorsFile file(golden() / "python_unaligned/model.safetensors");
  expect_golden_tensors(file);
  const auto address = reinterpret_cast<uintptr_t>(file.tensor("a.weight").data);
  EXPECT_NE(address % alignof(float), 0u) << "the file no longer tests what it should";
  EXPECT_EQ(copy_values<float>(file.tensor("a.weight")), (std::vector<float>{-2.5f, -1.5f, -0.5f, 0.5f, 1.5f, 2.5f}));
  EXPECT_EQ(copy_values<int64_t>(file.tensor("e.long")), (std::vector<int64_t>{-(int64_t{1} << 40), 7}));
  EXPECT_EQ(copy_values<float>(file.tensor("g.scalar")), (std::vector<float>{0.75f}));
}

TEST(SafetensorsFile, values_of_another_type_are_refused_with_both_types) {
  const SafetensorsFile file(golden() / "python_written/model.safetensors");
  const std::string message = message_of<ModelMismatch>([&] { copy_values<float>(file.tensor("e.long")); });
  EXPECT_HAS(message, "'e.long' is I64, expected F32");
}

TEST(SafetensorsFile, a_missing_tensor_is_named_with_its_neighbours) {
  const SafetensorsFile file(golden() / "python_written/model.safetensors");
  const std::string message = message_of<ModelMismatch>([&] { file.tensor("a.weigth"); });
  EXPECT_HAS(message, "'a.weigth'");
  EXPECT_HAS(message, "did you mean 'a.weight'");
}

TEST(SafetensorsFile, a_missing_file_is_an_io_error_with_its_path) {
  EXPECT_HAS(message_of<IoError>([] { SafetensorsFile file("/nowhere/x.safetensors"); }), "/nowhere/x.safetensors");
}

TEST(SafetensorsFile, a_truncated_file_is_refused) {
  const TestFolder folder;
  const std::string whole = read_file(golden() / "python_written/model.safetensors");
  for (const size_t cut : {size_t{1}, whole.size() / 2, whole.size() - 8, whole.size()}) {
    write_file(folder / "m.safetensors", whole.substr(0, whole.size() - cut));
    EXPECT_HAS(message_of<FormatError>([&] { SafetensorsFile file(folder / "m.safetensors"); }), "m.safetensors");
  }
}

TEST(SafetensorsFile, released_pages_come_back) {
  const TestFolder folder;
  std::vector<float> values(100000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  write_safetensors(folder / "m.safetensors", {{"w", Dtype::kF32, {100000}, std::as_bytes(std::span(values))}});
  const SafetensorsFile file(folder / "m.safetensors");
  EXPECT_EQ(copy_values<float>(file.tensor("w")), values);
  file.release("w");
  file.release("not there");
  EXPECT_EQ(copy_values<float>(file.tensor("w")), values);
}

TEST(SafetensorsWriter, writes_the_bytes_that_the_python_reader_accepted) {
  const TestFolder folder;
  const Json expected = read_json_file(golden() / "expected.json")["tensors"];
  std::vector<std::vector<std::byte>> bytes;
  std::vector<TensorData> tensors;
  bytes.reserve(expected.size());
  for (const auto& [name, wanted] : expected.items()) {
    bytes.push_back(from_hex(wanted["hex"].get<std::string>()));
    tensors.push_back({name, *dtype_from_name(wanted["dtype"].get<std::string>()),
                       wanted["shape"].get<std::vector<int64_t>>(), bytes.back()});
  }
  write_safetensors(folder / "m.safetensors", tensors, {{"format", "pt"}, {"kind", "golden"}});
  expect_golden_tensors(SafetensorsFile(folder / "m.safetensors"));
  // Kept for `make_golden.py --check` when the format of our files changes.
  if (const char* keep = std::getenv("FARE_KEEP_SAFETENSORS"))
    std::filesystem::copy_file(folder / "m.safetensors", keep, std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(read_file(folder / "m.safetensors"), read_file(golden() / "fare_written.safetensors"));
}

TEST(SafetensorsWriter, orders_by_element_size_then_name_and_aligns) {
  const TestFolder folder;
  SafetensorsWriter writer(
      folder / "m.safetensors",
      {{"a", Dtype::kU8, {3}}, {"c", Dtype::kF32, {1}}, {"b", Dtype::kI32, {1}}, {"d", Dtype::kI64, {1}}});
  std::string order;
  for (const auto& tensor : writer.layout()) order += tensor.name;
  EXPECT_EQ(order, "dbca");
  const int32_t b = 7;
  const float c = 1.5f;
  const int64_t d = -9;
  writer.append("a", "\1", 1);
  writer.append("c", &c, 4);
  writer.append("a", "\2\3", 2);
  writer.append("b", &b, 4);
  writer.append("d", &d, 8);
  EXPECT_FALSE(std::filesystem::exists(folder / "m.safetensors")) << "nothing may appear before it is complete";
  writer.commit();
  const SafetensorsFile file(folder / "m.safetensors");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.tensor("d").data) % 8, 0u);
  EXPECT_EQ(copy_values<uint8_t>(file.tensor("a")), (std::vector<uint8_t>{1, 2, 3}));
  EXPECT_EQ(copy_values<float>(file.tensor("c")), (std::vector<float>{1.5f}));
  EXPECT_EQ(copy_values<int64_t>(file.tensor("d")), (std::vector<int64_t>{-9}));
}

TEST(SafetensorsWriter, tensors_may_be_appended_to_from_several_threads) {
  const TestFolder folder;
  constexpr int64_t kRows = 20000;
  const std::vector<std::string> names = {"t0", "t1", "t2"};
  SafetensorsWriter writer(folder / "m.safetensors",
                           {{"t0", Dtype::kI32, {kRows}}, {"t1", Dtype::kI32, {kRows}}, {"t2", Dtype::kI32, {kRows}}});
  std::vector<std::thread> threads;
  for (int32_t t = 0; t < 3; ++t)
    threads.emplace_back([&writer, &names, t] {
      for (int32_t i = 0; i < kRows; ++i) {
        const int32_t value = i * 3 + t;
        writer.append(names[static_cast<size_t>(t)], &value, sizeof value);
      }
    });
  for (auto& thread : threads) thread.join();
  writer.commit();
  const SafetensorsFile file(folder / "m.safetensors");
  for (int32_t t = 0; t < 3; ++t) {
    const auto values = copy_values<int32_t>(file.tensor(names[static_cast<size_t>(t)]));
    for (int32_t i = 0; i < kRows; ++i) ASSERT_EQ(values[static_cast<size_t>(i)], i * 3 + t);
  }
}

TEST(SafetensorsWriter, leaves_nothing_behind_without_commit_and_keeps_the_older_file) {
  const TestFolder folder;
  write_file(folder / "m.safetensors", "older");
  {
    SafetensorsWriter writer(folder / "m.safetensors", {{"a", Dtype::kU8, {3}}});
    writer.append("a", "xyz", 3);
  }
  EXPECT_EQ(read_file(folder / "m.safetensors"), "older");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(SafetensorsWriter, misuse_is_our_bug_and_says_which_tensor) {
  const TestFolder folder;
  using Writer = SafetensorsWriter;
  EXPECT_HAS(message_of<BrokenInvariant>([&] {
               Writer(folder / "m", {{"a", Dtype::kU8, {1}}, {"a", Dtype::kU8, {1}}});
             }),
             "'a'");
  EXPECT_HAS(message_of<BrokenInvariant>([&] {
               Writer(folder / "m", {{"__metadata__", Dtype::kU8, {1}}});
             }),
             "reserved");
  EXPECT_HAS(message_of<BrokenInvariant>([&] {
               Writer(folder / "m", {{"big", Dtype::kF32, {int64_t{1} << 40, int64_t{1} << 40}}});
             }),
             "'big'");
  Writer writer(folder / "m", {{"a", Dtype::kU8, {2}}});
  EXPECT_HAS(message_of<BrokenInvariant>([&] { writer.append("b", "x", 1); }), "'b'");
  EXPECT_HAS(message_of<BrokenInvariant>([&] { writer.append("a", "xyz", 3); }), "2 bytes");
  writer.append("a", "x", 1);
  EXPECT_HAS(message_of<BrokenInvariant>([&] { writer.commit(); }), "1 of 2 bytes");
}

TEST(SafetensorsWriter, a_folder_that_is_not_there_is_an_io_error) {
  EXPECT_HAS(message_of<IoError>([] { SafetensorsWriter("/nowhere/m.safetensors", {}); }), "/nowhere/m.safetensors");
}

TEST(SafetensorsWriter, a_full_disk_is_found_before_the_work_and_leaves_nothing) {
  // A file-size limit stands in for the full disk.
  const TestFolder folder;
  struct rlimit old {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  auto* const old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { 4096, old.rlim_max };
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string message = message_of<IoError>([&] {
    SafetensorsWriter(folder / "m.safetensors", {{"a", Dtype::kU8, {1 << 20}}});
  });
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_HAS(message, "m.safetensors");
  EXPECT_HAS(message, "bytes are needed");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace fare
