#include "fare/benchmarks/toml_task.h"

#include "fare/benchmarks/study_from_task.h"
#include "fare/benchmarks/test_support.h"
#include "fare/core/error.h"

namespace fare {
namespace {

constexpr char kChoices[] = R"(name = "my_quiz"
type = "multiple_choice"
title = "A quiz"
licence = "CC0"
[data]
file = "quiz.jsonl"
examples_file = "examples.csv"
cluster = "topic"
[prompt]
description = "Answer.\n\n"
text = "Q: {question} {{sic}}\nA:"
choices = ["{a}", "{b.0}"]
answer = "right"
)";

std::filesystem::path folder_with(const std::string& name, const std::string& toml, const std::string& data) {
  const auto folder = testing::scratch(name);
  std::filesystem::create_directories(folder);
  write_file(folder / "task.toml", toml);
  write_file(folder / "quiz.jsonl", data);
  write_file(folder / "examples.csv", "question,a,b,b.0,right\nOne?,yes,no,no,A\n");
  return folder / "task.toml";
}

constexpr char kData[] =
    "{\"question\": \"Sky?\", \"a\": \"blue\", \"b\": [\"green\"], \"right\": 0, \"topic\": \"t\"}\n"
    "{\"question\": \"Grass?\", \"a\": \"blue\", \"b\": [\"green\"], \"right\": \"green\", \"topic\": \"t\"}\n";

TEST(TomlTask, MultipleChoice) {
  const Task task = toml_task(folder_with("toml-a", kChoices, kData));
  EXPECT_EQ(task.info.name, "my_quiz");
  EXPECT_EQ(task.info.config["description"], "Answer.\n\n");
  const LoadedTask loaded = task.load({});
  ASSERT_EQ(loaded.documents.size(), 2u);
  EXPECT_EQ(loaded.documents[0].requests[1].context, "Answer.\n\nQ: Sky? {sic}\nA:");
  EXPECT_EQ(loaded.documents[0].requests[1].continuation, " green");
  EXPECT_EQ(loaded.documents[1].gold, (std::vector<int64_t>{1}));
  EXPECT_EQ(loaded.documents[1].cluster, "t");
  std::vector<RequestResult> results(2);
  results[0].logprob_nats = 1;
  EXPECT_EQ(task.score(loaded.documents[0], results)[0].value, 1);
  EXPECT_EQ(task.score(loaded.documents[1], results)[0].value, 0);
  EXPECT_EQ(study_utility(task, loaded).size(), 2u);
  EXPECT_EQ(loaded.files.size(), 2u);  // the data and the description itself
}

TEST(TomlTask, ExamplesComeFirst) {
  std::string toml = kChoices;
  toml.replace(toml.find("\"{b.0}\""), 7, "\"no\"");
  const Task task =
      toml_task(folder_with("toml-b", toml, R"({"question": "Sky?", "a": "yes", "right": 1, "topic": "t"})"));
  LoadOptions options;
  options.num_fewshot = 1;
  EXPECT_EQ(task.load(options).documents[0].requests[0].context,
            "Answer.\n\nQ: One? {sic}\nA: yes\n\nQ: Sky? {sic}\nA:");
  options.num_fewshot = 2;
  EXPECT_THROW(task.load(options), UsageError);
}

TEST(TomlTask, PairsAreStudyPairsAndScoredAsCrowsPairs) {
  const auto path = folder_with("toml-c", R"(name = "my_pairs"
type = "pair"
[data]
file = "quiz.jsonl"
axis = "axis"
[prompt]
stereo = "The {job} said he was late."
anti = "The {job} said she was late."
)",
                                R"({"job": "engineer", "axis": "gender"})");
  const Task task = toml_task(path);
  const LoadedTask loaded = task.load({});
  const auto pairs = study_pairs(task, loaded);
  ASSERT_EQ(pairs.size(), 1u);
  EXPECT_EQ(pairs[0].stereo, "The engineer said he was late.");
  EXPECT_EQ(pairs[0].axis, "gender");
  EXPECT_EQ(task.score(loaded.documents[0], std::vector<RequestResult>(2))[0].name, "likelihood_diff");
}

TEST(TomlTask, WrittenAnswers) {
  const auto path = folder_with("toml-d", R"(name = "my_words"
type = "generate"
[data]
file = "quiz.jsonl"
[prompt]
text = "Say {word}:"
answer = "word"
[generation]
max_gen_toks = 5
until = ["."]
ignore_case = true
)",
                                R"({"word": "Hello"})");
  const Task task = toml_task(path);
  const LoadedTask loaded = task.load({});
  EXPECT_EQ(loaded.documents[0].requests[0].generation["max_gen_toks"], 5);
  std::vector<RequestResult> results(1);
  results[0].text = " hello ";
  EXPECT_EQ(task.score(loaded.documents[0], results)[0].value, 1);
}

TEST(TomlTask, MistakesAreNamedWithTheirLine) {
  const auto description = [](const std::string& from, const std::string& to) {
    std::string toml = kChoices;
    toml.replace(toml.find(from), from.size(), to);
    return message_of<FormatError>([&] { toml_task(folder_with("toml-e", toml, kData)); });
  };
  EXPECT_NE(description("title", "titel").find("key 'titel' is unknown"), std::string::npos);
  EXPECT_NE(description("title", "titel").find("line 3"), std::string::npos);
  EXPECT_NE(description("multiple_choice", "quiz").find("not multiple_choice, pair or generate"), std::string::npos);
  EXPECT_NE(description("my_quiz", "bbq").find("a task that FARE has"), std::string::npos);
  EXPECT_NE(description("my_quiz", "my quiz").find("letters, digits"), std::string::npos);
  EXPECT_NE(description("[prompt]", "[promt]").find("prompt"), std::string::npos);
  EXPECT_NE(description("answer = \"right\"", "").find("'prompt.answer' is missing"), std::string::npos);
  EXPECT_NE(description("cluster = \"topic\"", "cluster = 3").find("wrong type"), std::string::npos);
  EXPECT_NE(description("name = \"my_quiz\"", "name = ").find("line 1"), std::string::npos);
  EXPECT_NE(description("cluster = \"topic\"", "sha256 = \"12\"").find("64 hexadecimal"), std::string::npos);
  const auto data = [](const std::string& line) {
    return message_of<FormatError>([&] { toml_task(folder_with("toml-f", kChoices, line)).load({}); });
  };
  EXPECT_NE(data(R"({"question": "x"})").find("no field 'a'"), std::string::npos);
  EXPECT_NE(data(R"({"question": "x", "a": "1", "b": ["2"], "right": 7, "topic": "t"})").find("no number from 0 to 1"),
            std::string::npos);
  EXPECT_NE(data(R"({"question": ["x"]})").find("is no text"), std::string::npos);
  EXPECT_NE(data("").find("no record"), std::string::npos);
}

}  // namespace
}  // namespace fare
