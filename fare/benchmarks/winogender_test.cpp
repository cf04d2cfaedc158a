#include "fare/benchmarks/winogender.h"

#include <cmath>
#include <map>
#include <set>

#include "fare/benchmarks/registry.h"
#include "fare/benchmarks/test_support.h"
#include "fare/core/error.h"

namespace fare {
namespace {

TEST(Winogender, CountsOfAllTasks) {
  FARE_NEED_DATA("winogender");
  std::map<std::string, size_t> counts;
  for (const Task& task : winogender_tasks())
    counts[task.info.name] = task.load({testing::data_folder()}).documents.size();
  EXPECT_EQ(counts, (std::map<std::string, size_t>{{"winogender_all", 720},
                                                   {"winogender_female", 240},
                                                   {"winogender_male", 240},
                                                   {"winogender_neutral", 240},
                                                   {"winogender_gotcha", 120},
                                                   {"winogender_gotcha_female", 58},
                                                   {"winogender_gotcha_male", 62}}));
  std::set<std::string> occupations, female;
  for (const auto& document : winogender(false, "").load({testing::data_folder()}).documents) {
    occupations.insert(document.cluster);
    if (document.flags["pct_female"] > 50) female.insert(document.cluster);
    // The pronoun stands in the sentence as a word.
    const std::string sentence = document.doc["sentence"];
    const auto at = sentence.find(document.doc["pronoun"].get<std::string>());
    EXPECT_NE(at, std::string::npos) << sentence;
  }
  EXPECT_EQ(occupations.size(), 60u);
  EXPECT_EQ(female.size(), 31u);
}

TEST(Winogender, PromptHasTypographicQuotes) { EXPECT_EQ(winogender_prompt("S.", "hER"), "S. ‘Her’ refers to the"); }

TEST(Winogender, AccuraciesAndGaps) {
  FARE_NEED_VECTORS(vectors, "winogender");
  const Task task = winogender(false, "");
  for (const auto& vector : *vectors) {
    std::vector<Document> documents;
    std::vector<std::vector<RequestResult>> results;
    for (const auto& item : vector["input"]["items"]) {
      Document document;
      document.cluster = item["occupation"];
      document.axis = item["gender"];
      document.doc = {{"occupation", item["occupation"]}, {"participant", "patient"}};
      document.gold = {item["answer"] == "0" ? 0 : 1};
      const bool majority_female = vector["input"]["majority_gender"][document.cluster] == "female";
      document.flags = {{"gotcha", item["answer"] == "0" && document.axis != "neutral" &&
                                       (document.axis == "female") != majority_female},
                        {"pct_female", majority_female ? 90.0 : 10.0},
                        {"template", item["answer"]}};
      document.requests.resize(2);
      documents.push_back(document);
      std::vector<RequestResult> one(2);
      one[document.gold[0]].logprob_nats = item["correct"] == 1 ? 1 : -1;
      results.push_back(one);
    }
    const OrderedJson table = task.summarise(documents, results);
    std::map<std::string, double> got;
    for (const auto& row : table["groups"]) got[row["group"]] = row["fare_acc"];
    for (const char* group : {"male", "female", "neutral", "gotcha"})
      EXPECT_NEAR(got[group], vector["expected"][group], 1e-12) << group;
    EXPECT_NEAR(table["female_minus_male"]["difference"].get<double>(), vector["expected"]["female_minus_male"], 1e-12);
    EXPECT_TRUE(table["correlation_with_pct_female"]["pearson"].is_null());  // one occupation only
    double sum = 0;
    for (size_t d = 0; d < documents.size(); ++d) sum += task.score(documents[d], results[d])[0].value.value();
    EXPECT_NEAR(sum / static_cast<double>(documents.size()), vector["expected"]["all"], 1e-12);
  }
}

// Three invented occupations, each `copies` times, and the hand calculation of every gap.
TEST(Winogender, GapsAndCorrelationHaveIntervalsOverOccupations) {
  struct Side {
    double occupation, participant;  // log-likelihoods after the sentence, whose pronoun is the occupation's
  };
  struct Occupation {
    double percent;
    Side female, male;
  };
  // Right: all but the first's female sentence. she - he: -1, 0, 3.
  const Occupation occupations[] = {{10, {-2, -1}, {-1, -5}}, {50, {-1, -5}, {-1, -5}}, {90, {-1, -5}, {-4, -5}}};
  const Task task = winogender(false, "");
  for (const int copies : {1, 4}) {
    std::vector<Document> documents;
    std::vector<std::vector<RequestResult>> results;
    for (int copy = 0; copy < copies; ++copy)
      for (const auto& [percent, female, male] : occupations)
        for (const bool is_female : {true, false}) {
          Document document;
          document.cluster = std::to_string(percent) + "/" + std::to_string(copy);
          document.axis = is_female ? "female" : "male";
          document.doc = {{"occupation", "occupation"}, {"participant", "someone"}};
          document.gold = {0};
          document.flags = {{"gotcha", is_female != (percent > 50)}, {"pct_female", percent}, {"template", "t"}};
          document.requests.resize(2);
          documents.push_back(document);
          std::vector<RequestResult> one(2);
          one[0].logprob_nats = (is_female ? female : male).occupation;
          one[1].logprob_nats = (is_female ? female : male).participant;
          results.push_back(one);
        }
    const OrderedJson table = task.summarise(documents, results);
    const OrderedJson &gap = table["female_minus_male"], &correlation = table["correlation_with_pct_female"];
    EXPECT_EQ(gap["pairs"], 3 * copies);
    EXPECT_NEAR(gap["difference"].get<double>(), -1.0 / 3, 1e-12);
    EXPECT_NEAR(table["gotcha_minus_not"].get<double>(), 2.0 / 3 - 1, 1e-12);  // wrong in one of three gotcha sentences
    EXPECT_EQ(correlation["occupations"], 3 * copies);
    EXPECT_NEAR(correlation["pearson"].get<double>(), std::sqrt(12.0 / 13), 1e-12);  // 160 / sqrt(26/3 * 3200)
    // Gaps -1, 0, 0 per occupation: their variance 2/9 over the number drawn.
    for (const OrderedJson& interval : {gap["interval"], table["gotcha_minus_not_interval"]}) {
      EXPECT_EQ(interval["clusters"], 3 * copies);
      EXPECT_NEAR(interval["sd"].get<double>(), std::sqrt(2.0 / 9 / (3 * copies)), 0.015);
      EXPECT_LT(interval["low"].get<double>(), -1.0 / 3);
      EXPECT_GT(interval["high"].get<double>(), -1.0 / 3);
    }
    if (copies == 1) {  // one in nine draws has one occupation only: no correlation there
      EXPECT_TRUE(correlation["interval"]["low"].is_null());
      EXPECT_FALSE(correlation["interval"]["reason"].get<std::string>().empty());
    } else {
      EXPECT_LT(correlation["interval"]["low"].get<double>(), std::sqrt(12.0 / 13));
      EXPECT_GT(correlation["interval"]["high"].get<double>(), std::sqrt(12.0 / 13));
      EXPECT_LE(correlation["interval"]["high"].get<double>(), 1 + 1e-12);
    }
    // Only one gender: no gap, and every null has its reason.
    std::erase_if(documents, [](const Document& document) { return document.axis == "male"; });
    results.resize(documents.size());
    const OrderedJson half = task.summarise(documents, results);
    EXPECT_TRUE(half["female_minus_male"]["difference"].is_null());
    EXPECT_FALSE(half["female_minus_male"]["reason"].get<std::string>().empty());
    EXPECT_FALSE(half["female_minus_male"]["interval"]["reason"].get<std::string>().empty());
    EXPECT_TRUE(half["correlation_with_pct_female"]["pearson"].is_null());
    EXPECT_FALSE(half["correlation_with_pct_female"]["reason"].get<std::string>().empty());
  }
}

TEST(Winogender, ATieGoesToTheOccupationOnlyInTheCompatProfile) {
  Document document;
  document.doc = {{"occupation", "nurse"}, {"participant", "patient"}};
  document.gold = {0};
  document.requests.resize(2);
  const auto values = winogender(false, "").score(document, std::vector<RequestResult>(2));
  EXPECT_EQ(values[0].value, 1);
  EXPECT_EQ(values[1].value, 0.5);
}

}  // namespace
}  // namespace fare
