// Tasks whose answers are written: BOLD, HONEST, XSTest, Do-Not-Answer; and the settings they ask for.
#include <map>
#include <set>

#include "fare/benchmarks/bold.h"
#include "fare/benchmarks/csv.h"
#include "fare/benchmarks/generation.h"
#include "fare/benchmarks/harness_layout.h"
#include "fare/benchmarks/honest.h"
#include "fare/benchmarks/hurtful_words.h"
#include "fare/benchmarks/refusal_tasks.h"
#include "fare/benchmarks/reply_rules.h"
#include "fare/benchmarks/test_support.h"
#include "fare/core/error.h"

namespace fare {
namespace {

std::map<std::string, std::optional<double>> scored(const Task& task, const Document& document,
                                                    const std::string& text) {
  std::vector<RequestResult> results(1);
  results[0].text = text;
  std::map<std::string, std::optional<double>> values;
  for (const auto& metric : task.score(document, results)) values[metric.name] = metric.value;
  return values;
}

TEST(GenerationSettings, AreReadAndChecked) {
  const auto settings = generation_settings(
      {{"until", {"a", "b"}}, {"max_gen_toks", 5}, {"do_sample", false}, {"temperature", 0.7}, {"top_p", 0.5}});
  EXPECT_EQ(settings.until, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(settings.max_new_tokens, 5);
  EXPECT_EQ(settings.temperature, 0);  // do_sample decides
  EXPECT_EQ(generation_settings({{"temperature", 0.7}}).temperature, 0.7);
  EXPECT_EQ(generation_settings({{"until", "x"}}).until.size(), 1u);
  EXPECT_NE(message_of<UsageError>([] {
              generation_settings({{"beams", 2}});
            }).find("'beams' is unknown"),
            std::string::npos);
  for (const auto& bad : {OrderedJson{{"until", {""}}},
                          {{"until", 1}},
                          {{"max_gen_toks", 0}},
                          {{"top_p", 0}},
                          {{"temperature", -1}},
                          {{"do_sample", 1}}})
    EXPECT_THROW(generation_settings(bad), UsageError) << bad.dump();
}

TEST(Bold, CountsAndHandlingOfThePrompts) {
  FARE_NEED_DATA("bold");
  FARE_NEED_DATA("lexicons");
  const Task task = fare_bold();
  const LoadedTask loaded = task.load({testing::data_folder()});
  int64_t total = 0;
  for (const auto& file : loaded.files)
    if (file.path.starts_with("bold")) total += file.num_records;
  EXPECT_EQ(total, 23679);
  EXPECT_NE(loaded.notes[0].find("5 empty prompts"), std::string::npos) << loaded.notes[0];
  std::map<std::string, std::set<std::string>> groups;
  for (const auto& document : loaded.documents) {
    groups[document.axis].insert(document.flags["group"].get<std::string>());
    EXPECT_FALSE(document.requests[0].context.ends_with(" "));
    EXPECT_EQ(document.flags["space_stripped"], true);
  }
  EXPECT_EQ(groups["gender"].size(), 2u);
  EXPECT_EQ(groups["race"].size(), 4u);
  EXPECT_EQ(groups["profession"].size(), 18u);
  EXPECT_EQ(groups["religious_ideology"].size(), 7u);
  EXPECT_EQ(groups["political_ideology"].size(), 12u);
  EXPECT_GT(scored(task, loaded.documents[0], "She is a great and lovely person!")["fare_sentiment"].value(), 0.5);
  const auto broken = scored(task, loaded.documents[0], "");
  EXPECT_FALSE(broken.at("fare_sentiment"));
  EXPECT_EQ(broken.at("fare_broken"), 1);
}

TEST(Bold, GapsBetweenGroupsStandBesideTheirNull) {
  FARE_NEED_DATA("bold");
  FARE_NEED_DATA("lexicons");
  const Task task = fare_bold();
  task.load({testing::data_folder()});
  std::vector<Document> documents;
  std::vector<std::vector<RequestResult>> results;
  for (int i = 0; i < 20; ++i) {
    Document document;
    document.axis = "gender";
    document.flags = {{"group", i % 2 == 0 ? "A" : "B"}};
    document.cluster = std::to_string(i);
    document.requests.resize(1);
    documents.push_back(document);
    results.emplace_back(1);
    results.back()[0].text = i % 2 == 0 ? "a good day" : "a bad day";
  }
  // A third of the groups' texts come from one unit: units weigh alike, then groups.
  for (int i = 0; i < 8; ++i) documents.push_back(documents[0]), results.push_back(results[1]);
  const OrderedJson tables = task.summarise(documents, results);
  const OrderedJson table = tables["fare_sentiment"]["gender"];
  ASSERT_EQ(table["groups"].size(), 2u);
  const double good = results[0][0].text == "a good day" ? 0.4404 : 0, bad = -0.5423;  // VADER's of both texts
  EXPECT_NEAR(table["groups"][0]["mean"].get<double>(), (9 * good + (good + 8 * bad) / 9) / 10, 1e-9);
  EXPECT_NEAR(table["groups"][1]["mean"].get<double>(), bad, 1e-9);
  EXPECT_NEAR(table["mean_of_groups"].get<double>(),
              (table["groups"][0]["mean"].get<double>() + table["groups"][1]["mean"].get<double>()) / 2, 1e-12);
  EXPECT_NEAR(table["difference"]["value"].get<double>(), table["range"].get<double>(), 1e-12);
  for (const char* gap : {"range", "max_abs_deviation", "between_group_sd"}) {
    const double value = table[gap].get<double>(), null = table[std::string(gap) + "_when_shuffled"].get<double>();
    EXPECT_GT(value, 0.4);
    EXPECT_LT(null, 0.5 * value) << gap;
    EXPECT_NEAR(table[std::string(gap) + "_beyond_noise"].get<double>(), value - null, 1e-12);
  }
  EXPECT_EQ(tables["fare_negative"]["gender"]["groups"][1]["mean"], 1.0);
  EXPECT_TRUE(tables["fare_sentiment"]["race"]["range"].is_null());
  EXPECT_TRUE(tables["fare_sentiment"]["race"]["difference"]["value"].is_null());
}

TEST(HonestTask, CountsCompletionsAndGroups) {
  FARE_NEED_DATA("honest");
  FARE_NEED_DATA("lexicons/hurtlex");
  const Task task = fare_honest();
  const LoadedTask loaded = task.load({testing::data_folder()});
  EXPECT_EQ(loaded.documents.size(), 810u + 705u);
  int duplicates = 0;
  for (const auto& document : loaded.documents) {
    EXPECT_EQ(document.requests[0].context.find("[M]"), std::string::npos);
    if (document.flags["set"] == "binary") duplicates += document.flags["duplicate_of"].is_string() ? 1 : 0;
  }
  EXPECT_EQ(duplicates, 42);  // whole rows; 40 templates occur more than once
  EXPECT_EQ(first_word("  \"nurse\", and"), "nurse");
  EXPECT_EQ(first_word(" ... "), "");
  const auto lexicon = load_hurtlex(testing::data_folder());
  const std::string hurtful = *lexicon.find("idiot");
  EXPECT_EQ(scored(task, loaded.documents[0], " " + hurtful + ".")["honest"], 1);
  EXPECT_EQ(scored(task, loaded.documents[0], "nurse or Idiot")["honest"], 0);
  EXPECT_EQ(scored(task, loaded.documents[0], "nurse or Idiot")["fare_honest"], 1);
  EXPECT_FALSE(scored(task, loaded.documents[0], " ")["fare_honest"]);
}

TEST(XsTest, TypesLabelsAndRefusals) {
  FARE_NEED_DATA("xstest");
  const Task task = fare_xstest();
  const LoadedTask loaded = task.load({testing::data_folder()});
  ASSERT_EQ(loaded.documents.size(), 450u);
  std::map<std::string, int> types;
  int safe = 0;
  for (const auto& document : loaded.documents) ++types[document.axis], safe += document.flags["safe"] ? 1 : 0;
  EXPECT_EQ(types.size(), 18u);
  for (const auto& [type, n] : types) EXPECT_EQ(n, 25) << type;
  EXPECT_EQ(safe, 250);
  const auto values = scored(task, loaded.documents[0], "I’m sorry, I can’t.");
  EXPECT_EQ(values.at("refusal_safe"), 0);  // the published rule does not know typographic apostrophes
  EXPECT_EQ(values.at("fare_refusal_safe"), 1);
  EXPECT_FALSE(values.at("refusal_unsafe"));
  std::vector<std::vector<RequestResult>> results(450, std::vector<RequestResult>(1));
  const OrderedJson table = task.summarise(loaded.documents, results);
  EXPECT_EQ(table["types"].size(), 20u);
  EXPECT_EQ(table["types"][0]["broken"], 250);  // nothing was written
  for (size_t d = 0; d < 450; ++d)              // unsafe prompts are refused, and one safe one about the word "kill"
    results[d][0].text =
        !loaded.documents[d].flags["safe"] || d == 0 ? "I cannot help with that." : "Of course, gladly.";
  const OrderedJson focus = task.summarise(loaded.documents, results)["focus"];
  EXPECT_EQ(focus["words"], 142);  // of 147
  EXPECT_EQ(focus["refusal_unsafe"], 1);
  double kill = 0;
  for (const auto& document : loaded.documents) kill += document.flags["safe"] && document.flags["focus"] == "kill";
  EXPECT_NEAR(focus["refusal_safe"].get<double>(), 1 / kill / focus["words"].get<double>(), 1e-12);
  EXPECT_EQ(loaded.documents[0].cluster, "homonyms");
}

TEST(XsTest, LabelsMustGoWithTypes) {
  const auto folder = testing::scratch("xstest");
  std::filesystem::create_directories(folder / "xstest");
  write_file(folder / "xstest" / "xstest_prompts.csv", "id,prompt,type,label\n1,How?,contrast_homonyms,safe\n");
  EXPECT_NE(message_of<FormatError>([&] { fare_xstest().load({folder, true}); }).find("line 2"), std::string::npos);
  write_file(folder / "xstest" / "xstest_prompts.csv",
             "id_v1,id_v2,type,prompt,focus,note\nv1-1,v2-1,contrast_homonyms,How?,kill,\n");
  const LoadedTask older = fare_xstest().load({folder, true});
  EXPECT_EQ(older.documents[0].item, "v2-1");
  EXPECT_EQ(older.documents[0].flags["safe"], false);
}

TEST(DoNotAnswer, CountsAndTheRepeat) {
  FARE_NEED_DATA("do-not-answer");
  const Task task = fare_do_not_answer();
  const LoadedTask loaded = task.load({testing::data_folder()});
  EXPECT_EQ(loaded.documents.size(), 1000u);
  int repeats = 0;
  for (const auto& document : loaded.documents) repeats += document.flags["duplicate_of"].is_string() ? 1 : 0;
  EXPECT_EQ(repeats, 1);
  EXPECT_EQ(scored(task, loaded.documents[0], "Sorry, no.")["refusal"], 1);
}

TEST(GenerationSamples, HaveOneLinePerFilter) {
  Task task;
  task.filters = {{"a", [](const std::string& text) { return text + "!"; }},
                  {"b", [](const std::string&) { return std::string("[invalid]"); }}};
  task.info.metrics = {{"m", Profile::kCompat, true, "", "a"}, {"m", Profile::kCompat, true, "", "b"}};
  Document document;
  document.target = "t";
  document.requests = {{"prompt", "", RequestKind::kGenerate, false, {{"until", {"\n"}}}}};
  const std::vector<Document> documents{document};
  std::vector<std::vector<RequestResult>> results(1, std::vector<RequestResult>(1));
  results[0][0].text = "out";
  const std::vector<SampleMetrics> samples{{{"m", 1.0, "", "a"}, {"m", 0.0, "", "b"}}};
  std::string hash;
  const std::string lines = sample_lines(task, documents, results, samples, hash);
  const auto end = lines.find('\n');
  const OrderedJson first = OrderedJson::parse(lines.substr(0, end)),
                    second = OrderedJson::parse(lines.substr(end + 1));
  EXPECT_EQ(first["filter"], "a");
  EXPECT_EQ(first["resps"], OrderedJson::parse(R"([["out"]])"));
  EXPECT_EQ(first["filtered_resps"], OrderedJson::parse(R"(["out!"])"));
  EXPECT_EQ(first["arguments"]["gen_args_0"]["arg_1"]["until"][0], "\n");
  EXPECT_EQ(second["filtered_resps"], OrderedJson::parse(R"(["[invalid]"])"));
  EXPECT_EQ(second["m"], 0);
  EXPECT_EQ(aggregate_metrics(task.info, samples)[1].value, 0);
}

}  // namespace
}  // namespace fare
