#include "fare/benchmarks/winobias.h"

#include <map>
#include <set>

#include "fare/benchmarks/registry.h"
#include "fare/benchmarks/test_support.h"
#include "fare/core/error.h"

namespace fare {
namespace {

TEST(WinoBias, ALineComesApart) {
  const auto line = parse_winobias_line("12 [The developer] argued with the designer because [she] lost [her] keys.");
  ASSERT_TRUE(line);
  EXPECT_EQ(line->number, 12);
  EXPECT_EQ(line->sentence, "The developer argued with the designer because she lost her keys.");
  EXPECT_EQ(line->entity, "developer");
  EXPECT_EQ(line->pronouns, (std::vector<std::string>{"she", "her"}));
  for (const char* broken :
       {"no number [a] [he]", "1 [The cook] ran.", "1 [he] ran.", "1 [The cook ran [he].", "1 The cook] [he]", "1", ""})
    EXPECT_FALSE(parse_winobias_line(broken)) << broken;
}

TEST(WinoBias, OccupationsInOrderAndNotInsideWords) {
  EXPECT_EQ(occupations_in("The manager told the cook about cookies", {"cook", "manager"}),
            (std::vector<std::string>{"manager", "cook"}));
  EXPECT_TRUE(occupations_in("Cooking is managerial", {"cook", "manager"}).empty());
  EXPECT_EQ(tidy_winobias("the salesperson 's  car"), "the salesperson's car");
}

// Line numbers by part, as the statistics page names them.
TEST(WinoBias, CountsAndFlawsOfThePublishedFiles) {
  FARE_NEED_DATA("winobias");
  const LoadedTask loaded = fare_winobias().load({testing::data_folder()});
  ASSERT_EQ(loaded.documents.size(), 4u * 396u);
  EXPECT_TRUE(loaded.missing.empty());
  std::map<std::string, std::set<int>> words, partners, three, excluded;
  std::map<std::string, int> line;  // of the part, from 1
  int possessives = 0, doubled = 0;
  for (const auto& document : loaded.documents) {
    const std::string part = document.axis + " " + document.flags["split"].get<std::string>();
    const int number = document.doc["number"];
    EXPECT_EQ(number, ++line[part]) << part;
    if (!document.flags["excluded"].is_null()) excluded[part].insert(number);
    if (!document.flags["same_words"]) words[part].insert(number);
    if (!document.flags["partners"]) partners[part].insert(number);
    if (document.flags["num_occupations"] > 2) three[part].insert(number);
    for (const char* side : {"pro", "anti"}) {
      const std::string text = document.doc[side];
      for (size_t at = text.find(" 's"); at != std::string::npos; at = text.find(" 's", at + 1)) ++possessives;
      doubled += text.find("  ") != std::string::npos ? 1 : 0;
    }
    EXPECT_EQ(document.requests.size(), 12u);
    EXPECT_EQ(document.pair, (std::vector<size_t>{6, 7}));  // the tidied sentences
    EXPECT_TRUE(document.requests[document.pair[0]].extra);
  }
  EXPECT_EQ(partners, (std::map<std::string, std::set<int>>{{"type2 test", {382, 384}}}));
  EXPECT_EQ(three, (std::map<std::string, std::set<int>>{{"type2 dev", {72}}}));
  EXPECT_EQ(words["type1 dev"], (std::set<int>{92, 212}));
  EXPECT_EQ(words["type1 test"], (std::set<int>{157, 255, 279, 289, 296}));  // two have a pronoun too many
  EXPECT_EQ(words["type2 dev"], (std::set<int>{90, 102, 119, 176, 207, 208, 209}));
  EXPECT_EQ(words["type2 test"], (std::set<int>{92, 103, 307, 382, 384}));
  // These and no others: a line whose brackets alone differ from its partner's (type 2 dev 190, 215) is a minimal pair.
  EXPECT_EQ(excluded, words);
  EXPECT_EQ(possessives, 140);
  EXPECT_EQ(doubled, 1);
}

// Type 2 test 382 and 384: the lines of one number speak of different persons, so each is asked for its own.
TEST(WinoBias, LinesThatAreNoPartnersAreScoredOnTheirOwnPersons) {
  FARE_NEED_DATA("winobias");
  const Task task = fare_winobias();
  LoadOptions options{testing::data_folder()};
  options.extra_requests = false;
  const LoadedTask loaded = task.load(options);
  std::map<std::string, const Document*> of_item;
  for (const auto& document : loaded.documents) of_item[document.item] = &document;
  for (const auto& [item, pro_person, anti_person] :
       {std::tuple{"type2_test_382", " physician", " tailor"}, std::tuple{"type2_test_384", " lawyer", " attendant"}}) {
    const Document& document = *of_item.at(item);
    ASSERT_EQ(document.requests.size(), 6u);
    EXPECT_EQ(document.pair, (std::vector<size_t>{0, 1}));  // tidied sentences are not asked here
    std::vector<RequestResult> results(6);
    for (size_t k = 2; k < 6; ++k)
      results[k].logprob_nats = document.requests[k].continuation == (k < 4 ? pro_person : anti_person) ? -1 : -2;
    for (const auto& metric : task.score(document, results))
      if (metric.name == "acc_pro" || metric.name == "acc_anti") {
        EXPECT_EQ(metric.value, 1) << item << " " << metric.name;
      }
  }
}

TEST(WinoBias, CompatTakesTheFileAsItIsAndFairIsTidied) {
  FARE_NEED_DATA("winobias");
  const LoadedTask loaded = fare_winobias().load({testing::data_folder()});
  for (const auto& document : loaded.documents) {
    if (document.doc["pro"].get<std::string>().find(" 's") == std::string::npos) continue;
    EXPECT_EQ(document.requests[0].continuation, document.doc["pro"]);
    EXPECT_FALSE(document.requests[0].extra);
    EXPECT_EQ(document.requests[6].continuation, tidy_winobias(document.doc["pro"]));
    EXPECT_TRUE(document.requests[6].extra);
    EXPECT_NE(document.requests[2].context.find("refers to the"), std::string::npos);
    return;
  }
  ADD_FAILURE() << "no line with a spaced possessive";
}

TEST(WinoBias, ScoresAndExclusions) {
  Document document;
  document.doc = {{"occupations", {"cook", "manager"}}, {"anti_occupations", {"cook", "manager"}}};
  document.axis = "type1";
  document.flags = {{"gold", 1}, {"anti_gold", 1}, {"split", "dev"}, {"excluded", nullptr}};
  document.requests.resize(12);
  std::vector<RequestResult> results(12);
  results[0].logprob_nats = -1, results[1].logprob_nats = -3;  // pro is likelier as the file has it
  results[2].logprob_nats = -2, results[3].logprob_nats = -1;  // the manager: right
  results[4].logprob_nats = -1, results[5].logprob_nats = -2;  // the cook: wrong
  const Task task = fare_winobias();
  const auto values_of = [&] {
    std::map<std::string, std::optional<double>> values;
    for (const auto& metric : task.score(document, results)) values[metric.name] = metric.value;
    return values;
  };
  auto values = values_of();
  EXPECT_EQ(values["association_diff"], 2);
  EXPECT_EQ(values["acc_pro"], 1);
  EXPECT_EQ(values["acc_gap"], 1);
  EXPECT_EQ(values["fare_pct_pro"], 0.5);  // tidied sentences tie
  EXPECT_EQ(values["fare_acc_gap"], 0);
  document.flags["anti_gold"] = 0;  // another person is meant there: the cook is right
  EXPECT_EQ(values_of()["acc_anti"], 1);
  document.flags["excluded"] = "the two lines differ in more than pronouns";
  values = values_of();
  EXPECT_FALSE(values["fare_pct_pro"]);
  EXPECT_TRUE(values["fare_acc_pro"]);
  document.requests.resize(6), results.resize(6);
  EXPECT_FALSE(values_of().contains("fare_acc_pro"));
}

}  // namespace
}  // namespace fare
