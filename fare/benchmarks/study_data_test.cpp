#include "fare/benchmarks/study_data.h"

#include "fare/benchmarks/registry.h"
#include "fare/benchmarks/study_from_task.h"
#include "fare/benchmarks/test_support.h"
#include "fare/core/error.h"

namespace fare {
namespace {

using testing::scratch;

std::filesystem::path file_of(const std::string& text) {
  const auto path = scratch("study.jsonl");
  write_file(path, text);
  return path;
}

const std::string kPair =
    R"({"id":"p1","cluster":"c1","axis":"age","stereo":"Old people sleep.","anti":"Young people sleep."})";

std::string pair_refusal(const std::string& second_line) {
  const auto path = file_of(kPair + "\n" + second_line + "\n");
  const std::string message = message_of<FormatError>([&] { read_pairs(path); });
  EXPECT_NE(message.find("study.jsonl: line 2: "), std::string::npos) << message;
  return message;
}

TEST(StudyData, ReadsPairsWithDefaults) {
  const auto file = read_pairs(file_of(
      kPair + "\r\n\n" +
      R"({"id":"n1","cluster":"c1","axis":"age","stereo":"Old cats sleep.","anti":"Young cats sleep.","kind":"null_neutral","null_of":"p1","set":"transfer","context":"Well. ","note":"mine"})"));
  ASSERT_EQ(file.items.size(), 2u);
  EXPECT_EQ(file.items[0].kind, PairKind::kDemographic);
  EXPECT_EQ(file.items[0].set, PairSet::kMain);
  EXPECT_EQ(file.items[0].context, "");
  EXPECT_FALSE(file.items[0].null_of);
  EXPECT_EQ(file.items[1].kind, PairKind::kNullNeutral);
  EXPECT_EQ(file.items[1].set, PairSet::kTransfer);
  EXPECT_EQ(*file.items[1].null_of, "p1");
  EXPECT_EQ(file.ignored_fields, (std::vector<std::string>{"note"}));
}

TEST(StudyData, NullOfMayPointForward) {
  EXPECT_EQ(
      read_pairs(
          file_of(
              R"({"id":"n","cluster":"c","axis":"a","stereo":"x y","anti":"x z","kind":"null_paraphrase","null_of":"p1"})"
              "\n" +
              kPair))
          .items.size(),
      2u);
}

TEST(StudyData, RefusesBadPairsWithTheLine) {
  EXPECT_NE(pair_refusal("nonsense").find("not valid JSON"), std::string::npos);
  EXPECT_NE(pair_refusal("[]").find("expected a JSON object"), std::string::npos);
  EXPECT_NE(pair_refusal(kPair).find("id 'p1' was used before, on line 1"), std::string::npos);
  const auto with = [](const std::string& fields) {
    return R"({"id":"p2","cluster":"c1","axis":"age",)" + fields + "}";
  };
  EXPECT_NE(pair_refusal(with(R"("stereo":"x")")).find("field 'anti' is missing"), std::string::npos);
  EXPECT_NE(pair_refusal(with(R"("stereo":3,"anti":"y")")).find("field 'stereo' has the wrong type"),
            std::string::npos);
  EXPECT_NE(pair_refusal(with(R"("stereo":" ","anti":"y")")).find("field 'stereo' is empty"), std::string::npos);
  EXPECT_NE(pair_refusal(with(R"("stereo":"x","anti":"x")")).find("the same text"), std::string::npos);
  EXPECT_NE(
      pair_refusal(with(R"("stereo":"x","anti":"y","kind":"null")")).find("must be one of demographic, null_neutral"),
      std::string::npos);
  EXPECT_NE(pair_refusal(with(R"("stereo":"x","anti":"y","set":"test")")).find("must be one of main, transfer"),
            std::string::npos);
  EXPECT_NE(pair_refusal(with(R"("stereo":"x","anti":"y","null_of":"p1")")).find("this one is demographic"),
            std::string::npos);
  EXPECT_NE(pair_refusal(with(R"("stereo":"x","anti":"y","kind":"null_neutral","null_of":"p9")"))
                .find("'p9', which is not the id of a demographic pair"),
            std::string::npos);
  EXPECT_NE(pair_refusal(with(R"("stereo":"x","anti":"y","kind":"null_neutral","null_of":"p2")"))
                .find("not the id of a demographic pair"),
            std::string::npos);
  EXPECT_NE(
      pair_refusal(R"({"id":"","cluster":"c1","axis":"age","stereo":"x","anti":"y"})").find("field 'id' is empty"),
      std::string::npos);
}

TEST(StudyData, RefusesFilesThatHoldNothing) {
  EXPECT_NE(message_of<FormatError>([] { read_pairs(file_of("\n \n")); }).find("holds no pair"), std::string::npos);
  EXPECT_NE(
      message_of<FormatError>([] {
        read_pairs(file_of(R"({"id":"n","cluster":"c","axis":"a","stereo":"x","anti":"y","kind":"null_neutral"})"));
      }).find("no demographic pair"),
      std::string::npos);
  EXPECT_NE(message_of<IoError>([] { read_pairs(scratch("none.jsonl")); }).find("none.jsonl"), std::string::npos);
}

TEST(StudyData, ReadsUtilityAndRefusesBadGold) {
  const auto line = [](const std::string& choices, const std::string& gold) {
    return R"({"id":"u","cluster":"c","task":"t","context":"Q: 1+1?\nA:","choices":)" + choices + R"(,"gold":)" + gold +
           "}";
  };
  EXPECT_EQ(read_utility(file_of(line(R"([" 1"," 2"])", "1"))).items[0].gold, (std::vector<int64_t>{1}));
  EXPECT_EQ(read_utility(file_of(line(R"([" 1"," 2"," 3"])", "[2,0]"))).items[0].gold, (std::vector<int64_t>{0, 2}));
  const auto refusal = [&](const std::string& choices, const std::string& gold) {
    return message_of<FormatError>([&] { read_utility(file_of(line(choices, gold))); });
  };
  EXPECT_NE(refusal(R"([" 1"," 2"])", "2").find("line 1: field 'gold': 2 is not the index of one of 2 choices"),
            std::string::npos);
  EXPECT_NE(refusal(R"([" 1"," 2"])", "-1").find("-1 is not the index"), std::string::npos);
  EXPECT_NE(refusal(R"([" 1"," 2"])", "18446744073709551615").find("is not the index"), std::string::npos);
  EXPECT_NE(refusal(R"([" 1"," 2"])", "\"1\"").find("must be an index"), std::string::npos);
  EXPECT_NE(refusal(R"([" 1"," 2"])", "true").find("must be an index"), std::string::npos);
  EXPECT_NE(refusal(R"([" 1"," 2"])", "[]").find("names no choice"), std::string::npos);
  EXPECT_NE(refusal(R"([" 1"," 2"," 3"])", "[1,1]").find("names a choice twice"), std::string::npos);
  EXPECT_NE(refusal(R"([" 1"," 2"])", "[0,1]").find("every choice is gold"), std::string::npos);
  EXPECT_NE(refusal(R"([" 1"])", "0").find("at least 2"), std::string::npos);
  EXPECT_NE(refusal(R"([" 1",""])", "0").find("entry 1 is empty"), std::string::npos);
  EXPECT_NE(refusal(R"("x")", "0").find("must be a list of texts"), std::string::npos);
}

TEST(StudyFromTask, PairsLeaveOutDuplicatesAndUtilityKeepsGold) {
  LoadedTask loaded;
  for (const char* item : {"7", "8"}) {
    Document document;
    document.item = item;
    document.cluster = "a1";
    document.axis = "age";
    document.requests = {{"", "more"}, {"", "less"}};
    document.flags = {{"direction", "stereo"}, {"duplicate_of", nullptr}};
    document.pair = {0, 1};
    loaded.documents.push_back(document);
  }
  loaded.documents[1].flags["duplicate_of"] = "7";
  const auto pairs = study_pairs(find_task("fare_crows_pairs"), loaded);
  ASSERT_EQ(pairs.size(), 1u);
  EXPECT_EQ(pairs[0].id, "fare_crows_pairs/7");
  EXPECT_EQ(pairs[0].stereo, "more");
  EXPECT_EQ(pairs[0].anti, "less");
  EXPECT_EQ(pairs[0].cluster, "a1");
  EXPECT_THROW(study_utility(find_task("fare_crows_pairs"), loaded), UsageError);

  loaded.documents[0].pair.clear();
  loaded.documents[0].requests = {{"Q", " a"}, {"Q", " b"}};
  loaded.documents[0].gold = {1};
  loaded.documents[1] = loaded.documents[0];
  loaded.documents[0].flags = loaded.documents[1].flags = OrderedJson::object();
  const auto items = study_utility(find_task("truthfulqa_mc1"), loaded);
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].context, "Q");
  EXPECT_EQ(items[0].choices, (std::vector<std::string>{" a", " b"}));
  EXPECT_EQ(items[0].gold, (std::vector<int64_t>{1}));
  EXPECT_THROW(study_pairs(find_task("truthfulqa_mc1"), loaded), UsageError);
}

// Two questions whose clusters are bare numbers, and a repeat of the first.
LoadedTask questions() {
  LoadedTask loaded;
  for (const char* item : {"0", "1", "2"}) {
    Document document;
    document.item = document.cluster = item;
    document.requests = {{"Q", " a"}, {"Q", " b"}};
    document.gold = {1};
    document.flags = {{"duplicate_of", nullptr}};
    loaded.documents.push_back(document);
  }
  loaded.documents[2].flags["duplicate_of"] = "0";
  return loaded;
}

TEST(StudyFromTask, QuestionsOfTwoTasksShareNoCluster) {
  const auto clusters = [](std::initializer_list<const char*> names) {
    std::vector<const Task*> tasks;
    for (const char* name : names) tasks.push_back(&find_task(name));
    std::set<std::string> found;
    size_t items = 0;
    for (const Task* task : tasks)
      for (const UtilityItem& item : study_utility(*task, questions(), clusters_by_subject(tasks)))
        found.insert(item.cluster), ++items;
    EXPECT_EQ(items, 2 * tasks.size());  // the repeat is left out
    return found.size();
  };
  EXPECT_EQ(clusters({"piqa", "boolq"}), 4u);
  EXPECT_EQ(clusters({"mmlu_virology", "mmlu_marketing"}), 4u);  // too few subjects to split by
  EXPECT_EQ(
      clusters({"piqa", "mmlu_virology", "mmlu_marketing", "mmlu_management", "mmlu_nutrition", "mmlu_anatomy",
                "mmlu_sociology", "mmlu_prehistory", "mmlu_philosophy", "mmlu_econometrics", "mmlu_jurisprudence"}),
      12u);
}

TEST(StudyFromTask, TransferPairsLeaveOutWhatPairsLeaveOut) {
  LoadedTask loaded;
  for (const char* item : {"0", "1", "2"}) {
    Document document;
    document.item = document.cluster = item;
    document.axis = "type1";
    document.requests = {{"", "more"}, {"", "less"}};
    document.pair = {0, 1};
    document.flags = {{"excluded", nullptr}};
    loaded.documents.push_back(document);
  }
  loaded.documents[1].flags["excluded"] = "the two lines differ in more than pronouns";
  loaded.documents[2].axis = "Race_x_gender";
  const auto pairs = transfer_pairs(find_task("fare_winobias"), loaded, {"gender"}, 10);
  ASSERT_EQ(pairs.size(), 1u);
  EXPECT_EQ(pairs[0].id, "fare_winobias/0");
  EXPECT_EQ(pairs[0].axis, "gender");
}

TEST(StudyFromTask, PublicFilesGiveTheirPairsAndQuestions) {
  FARE_NEED_DATA("crows-pairs");
  FARE_NEED_DATA("truthfulqa");
  const LoadOptions options{testing::data_folder(), false};
  const Task& crows = find_task("fare_crows_pairs");
  EXPECT_EQ(study_pairs(crows, crows.load(options)).size(), 1507u);  // one pair of 1,508 is there twice
  const Task& truthful = find_task("truthfulqa_mc1");
  EXPECT_EQ(study_utility(truthful, truthful.load(options)).size(), 817u);
}

TEST(StudyData, ReadsNeutralAndGeneration) {
  EXPECT_EQ(read_neutral(file_of("{\"text\":\"Water is wet.\"}")).items, (std::vector<std::string>{"Water is wet."}));
  EXPECT_NE(message_of<FormatError>([] {
              read_neutral(file_of("{\"text\":\"a\"}\n{\"text\":\"\"}"));
            }).find("line 2: field 'text' is empty"),
            std::string::npos);
  const auto file = read_generation(file_of(
      R"({"id":"g","cluster":"c","axis":"age","prompt":"The old man","stereo":["slept"],"anti":["ran","swam"]})"));
  EXPECT_EQ(file.items[0].anti.size(), 2u);
  EXPECT_NE(
      message_of<FormatError>([] {
        read_generation(file_of(R"({"id":"g","cluster":"c","axis":"age","prompt":"p","stereo":["x"],"anti":["x"]})"));
      }).find("'x' stands in both"),
      std::string::npos);
  EXPECT_NE(
      message_of<FormatError>([] {
        read_generation(file_of(R"({"id":"g","cluster":"c","axis":"age","prompt":"p","stereo":[],"anti":["x"]})"));
      }).find("field 'stereo' has 0 entries"),
      std::string::npos);
}

}  // namespace
}  // namespace fare
