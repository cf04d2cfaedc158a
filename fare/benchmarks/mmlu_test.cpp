#include "fare/benchmarks/mmlu.h"

#include <map>
#include <set>

#include "fare/benchmarks/registry.h"
#include "fare/benchmarks/test_support.h"
#include "fare/core/error.h"
#include "fare/core/python_random.h"

namespace fare {
namespace {

TEST(Mmlu, QuestionTextAndRotation) {
  const std::vector<std::string> choices{"a", "b", "c", "d"};
  EXPECT_EQ(mmlu_question(" Q?\n", choices, 0), "Q?\nA. a\nB. b\nC. c\nD. d\nAnswer:");
  EXPECT_EQ(mmlu_question("Q?", choices, 1), "Q?\nA. d\nB. a\nC. b\nD. c\nAnswer:");
}

// Documents shuffled with CPython's generator of seed 42, every request scored -random() of a fresh one.
TEST(Mmlu, ModelFreeAccuraciesAreTheHarnessOnes) {
  FARE_NEED_DATA("mmlu");
  FARE_NEED_VECTORS(vectors, "golden_dummy_lm_multiple_choice");
  for (const auto& vector : *vectors) {
    if (vector["id"] != "mmlu test subjects") continue;
    int64_t total = 0, repeats = 0;
    std::set<std::string> seen;
    for (const MmluSubject& subject : mmlu_subjects()) {
      const Task task = mmlu(subject);
      LoadOptions options{testing::data_folder()};
      options.extra_requests = false;
      LoadedTask loaded = task.load(options);
      EXPECT_EQ(loaded.documents.size(), vector["input"]["documents"][subject.name]) << subject.name;
      total += static_cast<int64_t>(loaded.documents.size());
      for (const auto& document : loaded.documents)
        repeats += seen.insert(document.doc["question"].dump() + document.doc["choices"].dump()).second ? 0 : 1;
      PythonRandom(42).shuffle(loaded.documents);
      PythonRandom random(42);
      double sum = 0;
      for (const auto& document : loaded.documents) {
        std::vector<RequestResult> results(4);
        for (auto& result : results) result.logprob_nats = -random.random();
        sum += task.score(document, results)[0].value.value();
      }
      EXPECT_NEAR(sum / static_cast<double>(loaded.documents.size()), vector["expected"][subject.name], 1e-12)
          << subject.name;
    }
    EXPECT_EQ(total, 14042);
    EXPECT_EQ(repeats, 105);  // same question and options, over all subjects
  }
}

TEST(Mmlu, ExamplesAreTheFirstOfDevAndRotationsAreExtra) {
  FARE_NEED_DATA("mmlu");
  const Task& task = find_task("mmlu_anatomy");
  LoadOptions options{testing::data_folder()};
  const auto plain = task.load(options).documents[0];
  ASSERT_EQ(plain.requests.size(), 16u);
  EXPECT_FALSE(plain.requests[3].extra);
  EXPECT_TRUE(plain.requests[4].extra);
  options.num_fewshot = 2;
  options.extra_requests = false;
  const auto shot = task.load(options).documents[0];
  ASSERT_EQ(shot.requests.size(), 4u);
  const std::string& context = shot.requests[0].context;
  EXPECT_EQ(
      context.rfind(
          "The following are multiple choice questions (with answers) about anatomy.\n\nWhat is the embryological", 0),
      0u);
  size_t answers = 0;
  for (size_t at = context.find("\nAnswer:"); at != std::string::npos; at = context.find("\nAnswer:", at + 1))
    ++answers;
  EXPECT_EQ(answers, 3u);
  EXPECT_NE(context.find("\nAnswer: D\n\n"), std::string::npos);
}

TEST(Mmlu, RotationsAreAveragedAndFollowTheGoldOption) {
  Document document;
  document.gold = {3};
  document.flags = {{"duplicate_of", nullptr}};
  document.requests.resize(16);
  std::vector<RequestResult> results(16);
  for (size_t rotation = 0; rotation < 4; ++rotation) results[rotation * 4 + 3].logprob_nats = 1;  // always answers D
  const auto values = find_task("mmlu_anatomy").score(document, results);
  EXPECT_EQ(values[0].value, 1);
  EXPECT_EQ(values[1].value, 0.25);  // a letter without content is worth chance
}

}  // namespace
}  // namespace fare
