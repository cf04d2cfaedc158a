#include "fare/benchmarks/gsm8k.h"

#include <map>

#include "fare/benchmarks/fewshot.h"
#include "fare/benchmarks/registry.h"
#include "fare/benchmarks/test_support.h"
#include "fare/core/error.h"

namespace fare {
namespace {

TEST(Gsm8k, ExtractionIsTheHarnessOne) {
  FARE_NEED_VECTORS(vectors, "gsm8k_extract");
  Document document;
  document.requests.resize(1);
  for (const auto& vector : *vectors) {
    SCOPED_TRACE(vector["id"].get<std::string>());
    const std::string text = vector["input"]["generation"];
    const auto& expected = vector["expected"];
    EXPECT_EQ(gsm8k_strict(text), expected["strict"]);
    EXPECT_EQ(gsm8k_flexible(text), expected["flexible"]);
    EXPECT_EQ(gsm8k_normalised(vector["input"]["answer"]), expected["reference_normalised"]);
    document.target = vector["input"]["answer"];
    std::vector<RequestResult> results(1);
    results[0].text = text;
    std::map<std::string, double> got;
    for (const auto& metric : gsm8k().score(document, results))
      got[metric.name + "," + metric.filter] = metric.value.value();
    EXPECT_EQ(got["exact_match,strict-match"], expected["strict_match"]);
    EXPECT_EQ(got["exact_match,flexible-extract"], expected["flexible_match"]);
    if (vector["id"] == "decimal") {
      EXPECT_EQ(got["fare_number_match,strict-match"], 1);
    }
    EXPECT_EQ(got["fare_invalid,strict-match"], expected["strict"] == "[invalid]" ? 1 : 0);
  }
}

// The flexible filter counts as many right example solutions as their authors do, item by item.
TEST(Gsm8k, ExampleSolutionsAreJudgedAsByTheirAuthors) {
  FARE_NEED_DATA("gsm8k/example_model_solutions.jsonl.gz");
  std::map<std::string, int> right, strict;
  std::map<std::string, std::string> gold_of;
  for_each_json_line(testing::data_folder() / "gsm8k/test.jsonl",
                     [&](const Json& line, size_t) { gold_of[line["question"]] = line["answer"]; });
  int64_t lines = 0;
  for_each_json_line(testing::data_folder() / "gsm8k/example_model_solutions.jsonl.gz", [&](const Json& line, size_t) {
    ++lines;
    const std::string gold = gsm8k_normalised(gold_of.at(line["question"]));
    for (const auto& [model, value] : line.items()) {
      if (!value.is_object() || !value.contains("is_correct")) continue;
      const std::string text = value["solution"];
      const bool correct = gsm8k_normalised(gsm8k_flexible(text)) == gold;
      EXPECT_EQ(correct, value["is_correct"].get<bool>()) << model << " line " << lines;
      right[model] += correct ? 1 : 0;
      strict[model] += gsm8k_strict(text) == "[invalid]" ? 0 : 1;
    }
  });
  EXPECT_EQ(lines, 1319);
  EXPECT_EQ(
      right,
      (std::map<std::string, int>{
          {"6b_finetuning", 286}, {"6b_verification", 515}, {"175b_finetuning", 458}, {"175b_verification", 742}}));
  for (const auto& [model, count] : strict) EXPECT_EQ(count, 0) << model;
}

TEST(Gsm8k, ExamplesAreDrawnAsByTheHarness) {
  FARE_NEED_VECTORS(vectors, "fewshot_sampling");
  for (const auto& vector : *vectors) {
    const auto& input = vector["input"];
    FewshotSampler sampler(input["population"], input["seed"]);
    for (const auto& expected : vector["expected"]) {
      auto drawn = sampler.draw(input["k"]);
      if (input.contains("keep")) drawn.resize(input["keep"]);
      EXPECT_EQ(drawn, expected.get<std::vector<size_t>>()) << vector["id"];
    }
  }
}

TEST(Gsm8k, PromptsAndShots) {
  FARE_NEED_DATA("gsm8k");
  LoadOptions options{testing::data_folder()};
  const LoadedTask five = gsm8k().load(options);
  EXPECT_EQ(five.documents.size(), 1319u);
  const auto count = [](const std::string& text) {
    size_t n = 0;
    for (size_t at = text.find("Question: "); at != std::string::npos; at = text.find("Question: ", at + 1)) ++n;
    return n;
  };
  EXPECT_EQ(count(five.documents[0].requests[0].context), 6u);
  options.num_fewshot = 0;
  const LoadedTask none = gsm8k().load(options);
  EXPECT_EQ(none.documents[0].requests[0].context.rfind("Question: Janet", 0), 0u);
  EXPECT_EQ(none.files.size(), 1u);
}

}  // namespace
}  // namespace fare
