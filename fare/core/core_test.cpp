#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <numeric>
#include <string>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/json.h"
#include "fare/core/parallel.h"
#include "fare/core/philox.h"
#include "fare/core/sha256.h"
#include "fare/core/test_folder.h"

namespace fare {
namespace {

std::filesystem::path scratch(const std::string& name) {
  static const TestFolder folder("core");
  return folder / name;
}

TEST(Philox, MatchesThePublishedKnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Philox, AddressesDrawsInAnyOrder) {
  const RandomStream stream(20240601, "bootstrap/paired");
  EXPECT_EQ(stream.u32(0), 0x2b882afau);
  EXPECT_EQ(stream.u32(7), 0x6e09808bu);
  EXPECT_EQ(stream.u64(3), (uint64_t{0x6e09808b} << 32) | 0xcde3b7d0u);
  for (uint64_t d = 0; d < 1000; ++d) ASSERT_LT(stream.index(d, 7), 7u);
}

TEST(Sha256, OfTheEmptyTextAndOfAbc) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Json, RefusesDuplicateKeysDepthAndBrokenText) {
  EXPECT_THROW(parse_json(R"({"a":1,"a":2})", "f"), FormatError);
  EXPECT_THROW(parse_json("{\"a\":\"\xff\"}", "f"), FormatError);
  EXPECT_THROW(parse_json(std::string(100, '[') + std::string(100, ']'), "f"), FormatError);
  EXPECT_NO_THROW(parse_json(R"({"a":{"b":1},"c":{"b":1}})", "f"));
  try {
    parse_json("{", "file.json", "line 7");
    FAIL();
  } catch (const FormatError& error) {
    EXPECT_NE(std::string(error.what()).find("file.json: line 7"), std::string::npos);
  }
}

TEST(Json, AZeroByteIsNoEndOfTheText) {
  using namespace std::string_literals;
  for (const std::string& text : {"{}\0"s, "{}\0{\"more\": 1}"s, "\0{}"s, "{\"a\0b\": 1}"s}) {
    try {
      parse_json(text, "f.json");
      ADD_FAILURE() << "accepted, cut at the zero byte";
    } catch (const FormatError& error) {
      EXPECT_NE(std::string(error.what()).find("zero byte at byte " + std::to_string(text.find('\0'))),
                std::string::npos)
          << error.what();
    }
  }
  EXPECT_EQ(parse_json(R"({"a":"\u0000"})", "f")["a"].get<std::string>(), "\0"s);
}

TEST(Json, SpellsNumbersAsPythonDoes) {
  EXPECT_EQ(python_float_text(1e-7), "1e-07");
  EXPECT_EQ(python_float_text(1e16), "1e+16");
  EXPECT_EQ(python_float_text(-0.0), "-0.0");
  EXPECT_EQ(python_float_text(-41.902435302734375), "-41.902435302734375");
  EXPECT_EQ(python_float_text(0.0001), "0.0001");
  EXPECT_EQ(python_float_text(123456789012345.0), "123456789012345.0");
}

TEST(File, AppearsCompleteOrNotAtAll) {
  const auto path = scratch("atomic.txt");
  {
    AtomicFile file(path);
    file.write("half");
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  write_file(path, "whole");
  EXPECT_EQ(read_file(path), "whole");
  EXPECT_THROW(write_file("/nonexistent-folder/x", "y"), IoError);
  EXPECT_THROW(read_file(scratch("absent")), IoError);
}

TEST(File, LinesCountFromOneAndAcceptCrLf) {
  std::vector<std::string> lines;
  for_each_line("a\r\n\nb", [&](std::string_view line, size_t number) {
    lines.push_back(std::to_string(number) + ":" + std::string(line));
  });
  EXPECT_EQ(lines, (std::vector<std::string>{"1:a", "2:", "3:b"}));
}

TEST(Error, SuggestsTheNearestName) {
  EXPECT_EQ(did_you_mean("trutfulqa", {"truthfulqa", "mmlu"}), "; did you mean 'truthfulqa'?");
  EXPECT_EQ(did_you_mean("zzzzzzzz", {"truthfulqa", "mmlu"}), "");
}

TEST(Parallel, VisitsEachIndexOnceAndRethrows) {
  std::vector<int> seen(1000);
  parallel_for(1000, 4, [&](int64_t i) { ++seen[static_cast<size_t>(i)]; });
  EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0), 1000);
  EXPECT_EQ(*std::max_element(seen.begin(), seen.end()), 1);
  EXPECT_THROW(parallel_for(100, 4,
                            [](int64_t i) {
                              if (i == 7) throw UsageError("seven");
                            }),
               UsageError);
  EXPECT_GE(physical_cores(), 1);
}

}  // namespace
}  // namespace fare
