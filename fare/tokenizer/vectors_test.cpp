// Published test vectors: text and ids of real vocabularies (data folder, tokenizers/README).
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "fare/core/file.h"
#include "fare/core/source_folder.h"
#include "fare/tokenizer/tokenizer.h"

namespace fare {
namespace {

namespace fs = std::filesystem;

fs::path data_folder() {
  if (const char* folder = std::getenv("FARE_DATA")) return folder;
  return source_folder().parent_path() / "shared" / "data";
}

std::vector<std::string> texts_of(const fs::path& path) {
  const std::string separator = "\n__ggml_vocab_test__\n";
  const std::string all = read_file(path);
  std::vector<std::string> texts;
  size_t at = 0;
  for (size_t next = all.find(separator); next != std::string::npos; next = all.find(separator, at)) {
    texts.push_back(all.substr(at, next - at));
    at = next + separator.size();
  }
  return texts;  // what follows the last separator is no test
}

std::vector<std::vector<int32_t>> ids_of(const fs::path& path) {
  std::vector<std::vector<int32_t>> rows;
  for_each_line(read_file(path), [&](std::string_view line, size_t) {
    std::istringstream numbers{std::string(line)};
    std::vector<int32_t> row;
    for (int32_t id; numbers >> id;) row.push_back(id);
    rows.push_back(std::move(row));
  });
  return rows;
}

struct Pair {
  const char* vocabulary;
  const char* vectors;
};

class PublishedVectors : public testing::TestWithParam<Pair> {};

TEST_P(PublishedVectors, AllTextsGiveTheirIds) {
  const fs::path folder = data_folder() / "tokenizers";
  if (!fs::exists(folder))
    GTEST_SKIP() << "no tokenizers in the data folder; set FARE_DATA to the folder that holds tokenizers/";
  const auto tokenizer = Tokenizer::open(folder / GetParam().vocabulary);
  const fs::path vectors = folder / "llama.cpp" / (std::string("ggml-vocab-") + GetParam().vectors + ".gguf");
  const auto texts = texts_of(vectors.string() + ".inp");
  const auto ids = ids_of(vectors.string() + ".out");
  ASSERT_GE(texts.size(), 46u);
  ASSERT_GE(ids.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(tokenizer->ids(texts[i]), ids[i]) << texts[i];
    EXPECT_EQ(tokenizer->encode(texts[i]).ids, ids[i]) << texts[i];
    EXPECT_EQ(tokenizer->decode(ids[i]), texts[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(All, PublishedVectors,
                         testing::Values(Pair{"derived/gpt-2.tokenizer.json.gz", "gpt-2"},
                                         Pair{"derived/mpt.tokenizer.json.gz", "mpt"},
                                         Pair{"derived/deepseek-llm.tokenizer.json.gz", "deepseek-llm"},
                                         Pair{"derived/deepseek-coder.tokenizer.json.gz", "deepseek-coder"},
                                         Pair{"olmo/allenai_gpt-neox-olmo-dolma-v1_5.json.gz", "mpt"},
                                         Pair{"olmo/allenai_eleuther-ai-gpt-neox-20b-pii-special.json.gz", "mpt"}),
                         [](const auto& parameter) { return "pair_" + std::to_string(parameter.index); });

}  // namespace
}  // namespace fare
