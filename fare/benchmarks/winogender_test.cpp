#include "fare/benchmarks/winogender.h"

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
