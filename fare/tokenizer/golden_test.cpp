// Every case of tests/golden/tokenizer: a small tokenizer.json and what the reference library makes of texts.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "fare/core/json.h"
#include "fare/core/source_folder.h"
#include "fare/tokenizer/tokenizer.h"

namespace fare {
namespace {

namespace fs = std::filesystem;
using Offsets = std::vector<std::pair<size_t, size_t>>;

std::vector<fs::path> golden_files() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(source_folder() / "tests/golden/tokenizer"))
    if (entry.path().filename().string().starts_with("case_")) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

class TokenizerGolden : public testing::TestWithParam<fs::path> {};

TEST_P(TokenizerGolden, GivesTheIdsOffsetsAndTextOfTheReference) {
  const Json golden = read_json_file(GetParam());
  const auto tokenizer = Tokenizer::from_json(golden["tokenizer"].dump(), GetParam().filename().string());
  ASSERT_GE(golden["texts"].size(), 40u);
  for (const auto& row : golden["texts"]) {
    const auto text = row["text"].get<std::string>();
    SCOPED_TRACE(row["text"].dump());
    const auto ids = row["ids"].get<std::vector<int32_t>>();
    const Encoding encoding = tokenizer->encode(text);
    EXPECT_EQ(encoding.ids, ids);
    EXPECT_EQ(encoding.offsets, row["offsets"].get<Offsets>());
    EXPECT_EQ(tokenizer->ids(text), ids);
    EXPECT_EQ(tokenizer->ids(text, false), row["ids_without_special_tokens"].get<std::vector<int32_t>>());
    if (!row["decoded"].is_null()) {
      EXPECT_EQ(tokenizer->decode(ids), row["decoded"].get<std::string>());
    }
  }
  for (const auto& row : golden["decode"]) {
    if (row["text"].is_null()) continue;
    SCOPED_TRACE(row.dump());
    EXPECT_EQ(tokenizer->decode(row["ids"].get<std::vector<int32_t>>(), row["skip_special_tokens"].get<bool>()),
              row["text"].get<std::string>());
  }
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerGolden, testing::ValuesIn(golden_files()),
                         [](const auto& parameter) { return parameter.param.stem().string().substr(5); });

TEST(TokenizerGolden, ThereAreEnoughCases) { EXPECT_GE(golden_files().size(), 150u); }

}  // namespace
}  // namespace fare
