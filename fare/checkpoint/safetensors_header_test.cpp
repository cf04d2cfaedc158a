#include "fare/checkpoint/safetensors_header.h"

#include <gtest/gtest.h>

#include "fare/checkpoint/tensor_view.h"
#include "fare/checkpoint/test_safetensors.h"

namespace fare {
namespace {

SafetensorsHeader parse(const std::string& bytes) {
  return parse_safetensors_header(std::as_bytes(std::span(bytes)), "dir/x.safetensors");
}

std::string entry(const std::string& dtype, const std::string& shape, size_t begin, size_t end) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":[)" + std::to_string(begin) + "," +
         std::to_string(end) + "]}";
}

// Every refusal names the file.
std::string refusal(const std::string& bytes) {
  const std::string message = message_of<FormatError>([&] { parse(bytes); });
  EXPECT_TRUE(message.starts_with("dir/x.safetensors: ")) << message;
  return message;
}

TEST(SafetensorsHeader, reads_every_dtype_with_its_size) {
  struct Case {
    const char* name;
    int bits;
  };
  const Case cases[] = {{"BOOL", 8}, {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},
                        {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8},     {"I16", 16},
                        {"U16", 16}, {"F16", 16},    {"BF16", 16},   {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},
                        {"I32", 32}, {"U32", 32},    {"F32", 32},    {"C64", 64},        {"F64", 64},
                        {"I64", 64}, {"U64", 64}};
  EXPECT_EQ(std::size(cases), kNumDtypes);
  for (const auto& c : cases) {
    const size_t n = static_cast<size_t>(c.bits) * 4 / 8;
    const auto header = parse(safetensors_bytes("{\"t\":" + entry(c.name, "[2,2]", 0, n) + "}", n));
    ASSERT_EQ(header.tensors.size(), 1u) << c.name;
    EXPECT_EQ(dtype_name(header.tensors[0].dtype), c.name);
    EXPECT_EQ(dtype_bits(header.tensors[0].dtype), c.bits) << c.name;
  }
  EXPECT_FALSE(dtype_from_name("f32"));
  EXPECT_FALSE(dtype_from_name(""));
}

TEST(SafetensorsHeader, reads_tensors_metadata_and_padding) {
  const std::string text = R"({"b":)" + entry("F32", "[1,2]", 2, 10) +
                           R"(,"__metadata__":{"format":"pt","k":""},"a":)" + entry("BF16", "[]", 0, 2) + R"(,"z":)" +
                           entry("F32", "[3,0]", 10, 10) + "}     ";
  const auto header = parse(safetensors_bytes(text, 10));
  ASSERT_EQ(header.tensors.size(), 3u);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_TRUE(header.tensors[0].shape.empty());
  EXPECT_EQ(header.tensors[1].name, "b");
  EXPECT_EQ(header.tensors[1].shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(header.tensors[1].begin, 2u);
  EXPECT_EQ(header.tensors[1].end, 10u);
  EXPECT_EQ(header.tensors[2].shape, (std::vector<int64_t>{3, 0}));
  EXPECT_EQ(header.metadata, (std::map<std::string, std::string>{{"format", "pt"}, {"k", ""}}));
  EXPECT_EQ(header.data_begin, 8 + text.size());
}

TEST(SafetensorsHeader, a_zero_sized_tensor_may_lie_between_others) {
  const auto header =
      parse(safetensors_bytes(R"({"a":)" + entry("U8", "[2]", 0, 2) + R"(,"m":)" + entry("F32", "[0]", 2, 2) +
                                  R"(,"b":)" + entry("U8", "[1]", 2, 3) + "}",
                              3));
  EXPECT_EQ(header.tensors[1].name, "m");
}

TEST(SafetensorsHeader, no_tensors_and_no_data_is_a_sound_file) {
  EXPECT_TRUE(parse(safetensors_bytes("{}", 0)).tensors.empty());
}

TEST(SafetensorsHeader, refuses_a_file_shorter_than_eight_bytes) {
  EXPECT_HAS(refusal(""), "0 bytes");
  EXPECT_HAS(refusal("1234567"), "7 bytes");
}

TEST(SafetensorsHeader, refuses_a_header_length_above_the_limit) {
  std::string bytes = safetensors_bytes("{}", 0);
  const uint64_t length = 100'000'001;
  std::memcpy(bytes.data(), &length, 8);
  EXPECT_HAS(refusal(bytes), "100000001");
  EXPECT_HAS(refusal(bytes), "limit");
  const uint64_t huge = ~uint64_t{0};
  std::memcpy(bytes.data(), &huge, 8);
  EXPECT_HAS(refusal(bytes), "18446744073709551615");
}

TEST(SafetensorsHeader, refuses_a_header_that_reaches_past_the_file) {
  std::string bytes = safetensors_bytes("{}", 0);
  bytes[0] = 3;
  EXPECT_HAS(refusal(bytes), "past the end of the file");
  const std::string whole = safetensors_bytes(R"({"a":)" + entry("U8", "[2]", 0, 2) + "}", 2);
  EXPECT_HAS(refusal(whole.substr(0, 20)), "cut short");
}

TEST(SafetensorsHeader, refuses_a_header_that_does_not_begin_with_a_brace) {
  EXPECT_HAS(refusal(safetensors_bytes(" {}", 0)), "begin with '{'");
  EXPECT_HAS(refusal(safetensors_bytes("[]", 0)), "begin with '{'");
  EXPECT_HAS(refusal(safetensors_bytes("", 0)), "begin with '{'");
  EXPECT_HAS(refusal(safetensors_bytes("\xEF\xBB\xBF{}", 0)), "begin with '{'");
}

TEST(SafetensorsHeader, refuses_other_padding_than_spaces) {
  EXPECT_HAS(refusal(safetensors_bytes("{}\n", 0)), "spaces");
  EXPECT_HAS(refusal(safetensors_bytes("{}\t ", 0)), "spaces");
  EXPECT_HAS(refusal(safetensors_bytes(std::string("{}\0", 3), 0)), "spaces");
  EXPECT_HAS(refusal(safetensors_bytes(std::string("{}\0}", 4), 0)), "zero byte");
  EXPECT_HAS(refusal(safetensors_bytes("{} {}", 0)), "JSON");
}

TEST(SafetensorsHeader, refuses_broken_json_and_utf8) {
  EXPECT_HAS(refusal(safetensors_bytes("{\"a\":}", 0)), "JSON");
  EXPECT_HAS(refusal(safetensors_bytes("{\"\xff\":1}", 0)), "UTF-8");
  std::string deep = "{\"a\":";
  for (int i = 0; i < 100000; ++i) deep += '[';
  EXPECT_HAS(refusal(safetensors_bytes(deep + "}", 0)), "nested");
}

TEST(SafetensorsHeader, refuses_duplicate_names) {
  const std::string text = R"({"twice":)" + entry("U8", "[1]", 0, 1) + R"(,"twice":)" + entry("U8", "[1]", 1, 2) + "}";
  EXPECT_HAS(refusal(safetensors_bytes(text, 2)), "twice");
  EXPECT_HAS(refusal(safetensors_bytes(text, 2)), "duplicate");
}

TEST(SafetensorsHeader, refuses_metadata_that_is_not_text) {
  EXPECT_HAS(refusal(safetensors_bytes(R"({"__metadata__":{"epoch":3}})", 0)), "'epoch'");
  EXPECT_HAS(refusal(safetensors_bytes(R"({"__metadata__":[]})", 0)), "__metadata__");
}

TEST(SafetensorsHeader, refuses_entries_that_are_incomplete_or_of_the_wrong_type) {
  EXPECT_HAS(refusal(safetensors_bytes(R"({"t":3})", 0)), "tensor 't'");
  EXPECT_HAS(refusal(safetensors_bytes(R"({"t":{"shape":[],"data_offsets":[0,4]}})", 4)), "'dtype' is missing");
  EXPECT_HAS(refusal(safetensors_bytes(R"({"t":{"dtype":"F32","data_offsets":[0,4]}})", 4)), "'shape' is missing");
  EXPECT_HAS(refusal(safetensors_bytes(R"({"t":{"dtype":"F32","shape":[]}})", 4)), "'data_offsets' is missing");
  EXPECT_HAS(refusal(safetensors_bytes(R"({"t":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", 4)), "shape");
  EXPECT_HAS(refusal(safetensors_bytes(R"({"t":{"dtype":"F32","shape":[],"data_offsets":[0]}})", 4)), "data_offsets");
  EXPECT_HAS(refusal(safetensors_bytes(R"({"t":{"dtype":"F32","shape":[],"data_offsets":[0,4,4]}})", 4)),
             "data_offsets");
  EXPECT_HAS(refusal(safetensors_bytes(R"({"t":{"dtype":"F32","shape":[],"data_offsets":[0,4.0]}})", 4)), "4.0");
  EXPECT_HAS(refusal(safetensors_bytes(R"({"t":{"dtype":"F32","shape":[],"data_offsets":[-4,0]}})", 4)), "-4");
}

TEST(SafetensorsHeader, refuses_an_unknown_dtype_and_lists_the_known) {
  for (const char* dtype : {"F31", "f32", "", "float32"}) {
    const std::string message = refusal(safetensors_bytes(R"({"odd.weight":)" + entry(dtype, "[1]", 0, 4) + "}", 4));
    EXPECT_HAS(message, "odd.weight");
    EXPECT_HAS(message, "BF16");
  }
  EXPECT_HAS(refusal(safetensors_bytes(R"({"t":{"dtype":7,"shape":[],"data_offsets":[0,4]}})", 4)), "dtype 7");
}

TEST(SafetensorsHeader, refuses_shapes_that_are_not_natural_numbers) {
  for (const char* shape : {"[-1]", "[2.0]", "[\"2\"]", "[null]", "[9223372036854775808]", "[1e3]", "[true]"})
    EXPECT_HAS(refusal(safetensors_bytes(R"({"t.x":)" + entry("U8", shape, 0, 2) + "}", 2)), "t.x");
}

TEST(SafetensorsHeader, refuses_shapes_whose_size_overflows) {
  EXPECT_HAS(refusal(safetensors_bytes(R"({"t":)" + entry("U8", "[4294967296,4294967296]", 0, 0) + "}", 0)),
             "overflow");
  EXPECT_HAS(refusal(safetensors_bytes(R"({"t":)" + entry("F64", "[2305843009213693952]", 0, 0) + "}", 0)), "overflow");
  EXPECT_HAS(refusal(safetensors_bytes(R"({"t":)" + entry("U8", "[4294967296,4294967296,0]", 0, 0) + "}", 0)),
             "overflow");
}

TEST(SafetensorsHeader, refuses_elements_that_do_not_fill_whole_bytes) {
  EXPECT_HAS(refusal(safetensors_bytes(R"({"t":)" + entry("F4", "[3]", 0, 2) + "}", 2)), "12 bits");
  EXPECT_HAS(refusal(safetensors_bytes(R"({"t":)" + entry("F6_E3M2", "[2]", 0, 2) + "}", 2)), "12 bits");
}

TEST(SafetensorsHeader, refuses_reversed_offsets) {
  const std::string message = refusal(safetensors_bytes(R"({"back":)" + entry("U8", "[0]", 4, 0) + "}", 4));
  EXPECT_HAS(message, "back");
  EXPECT_HAS(message, "[4,0]");
  EXPECT_HAS(message, "reversed");
}

TEST(SafetensorsHeader, refuses_a_shape_that_disagrees_with_the_bytes) {
  const std::string message = refusal(safetensors_bytes(R"({"w":)" + entry("F32", "[2,3]", 0, 20) + "}", 20));
  EXPECT_HAS(message, "'w'");
  EXPECT_HAS(message, "24");
  EXPECT_HAS(message, "20");
  EXPECT_HAS(refusal(safetensors_bytes(R"({"w":)" + entry("F32", "[2,3]", 0, 28) + "}", 28)), "28");
  EXPECT_HAS(refusal(safetensors_bytes(R"({"w":)" + entry("F32", "[0]", 0, 4) + "}", 4)), "'w'");
  EXPECT_HAS(refusal(safetensors_bytes(R"({"w":)" + entry("F32", "[]", 0, 0) + "}", 0)), "'w'");
}

TEST(SafetensorsHeader, refuses_a_hole) {
  const std::string at_front = refusal(safetensors_bytes(R"({"a":)" + entry("U8", "[2]", 1, 3) + "}", 3));
  EXPECT_HAS(at_front, "hole");
  const std::string between = refusal(
      safetensors_bytes(R"({"a":)" + entry("U8", "[2]", 0, 2) + R"(,"b":)" + entry("U8", "[2]", 3, 5) + "}", 5));
  EXPECT_HAS(between, "'b'");
  EXPECT_HAS(between, "[3, 5)");
  EXPECT_HAS(between, "hole");
}

TEST(SafetensorsHeader, refuses_an_overlap) {
  const std::string message = refusal(
      safetensors_bytes(R"({"a":)" + entry("U8", "[2]", 0, 2) + R"(,"b":)" + entry("U8", "[2]", 1, 3) + "}", 3));
  EXPECT_HAS(message, "'b'");
  EXPECT_HAS(message, "overlap");
}

TEST(SafetensorsHeader, refuses_data_that_end_before_or_behind_the_last_tensor) {
  const std::string text = R"({"last":)" + entry("U8", "[4]", 0, 4) + "}";
  const std::string short_file = refusal(safetensors_bytes(text, 3));
  EXPECT_HAS(short_file, "'last'");
  EXPECT_HAS(short_file, "cut short");
  EXPECT_HAS(refusal(safetensors_bytes(text, 5)), "1 bytes behind the last tensor");
  EXPECT_HAS(refusal(safetensors_bytes("{}", 1)), "behind the last tensor");
}

}  // namespace
}  // namespace fare
