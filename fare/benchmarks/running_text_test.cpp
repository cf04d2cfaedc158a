// Running text and word lists: perplexity, rolling windows, HolisticBias, WEAT.
#include <cmath>
#include <map>
#include <numeric>

#include "fare/benchmarks/holisticbias.h"
#include "fare/benchmarks/perplexity.h"
#include "fare/benchmarks/pooled_metrics.h"
#include "fare/benchmarks/rolling_windows.h"
#include "fare/benchmarks/test_support.h"
#include "fare/benchmarks/weat.h"
#include "fare/core/error.h"

namespace fare {
namespace {

TEST(RollingWindows, AreTheHarnessOnes) {
  FARE_NEED_VECTORS(vectors, "rolling_windows_disjoint");
  for (const auto& vector : *vectors) {
    const auto& input = vector["input"];
    const auto windows = rolling_windows(input["n"], input["max_len"]);
    ASSERT_EQ(windows.size(), vector["expected"].size()) << vector["id"];
    for (size_t w = 0; w < windows.size(); ++w) {
      std::vector<int64_t> context{input["prefix"]},
          scored(static_cast<size_t>(windows[w].score_end - windows[w].score_begin));
      if (windows[w].context_begin >= 0) {
        context.resize(static_cast<size_t>(windows[w].score_begin - windows[w].context_begin));
        std::iota(context.begin(), context.end(), windows[w].context_begin);
      }
      std::iota(scored.begin(), scored.end(), windows[w].score_begin);
      EXPECT_EQ(context, vector["expected"][w]["context"].get<std::vector<int64_t>>()) << vector["id"];
      EXPECT_EQ(scored, vector["expected"][w]["score"].get<std::vector<int64_t>>()) << vector["id"];
    }
  }
  EXPECT_THROW(rolling_windows(3, 0), UsageError);
}

TEST(Perplexity, PagesAreDetokenisedAsInTheHarness) {
  FARE_NEED_VECTORS(vectors, "wikitext_detokenize");
  for (const auto& vector : *vectors) {
    const std::string page = vector["input"]["page"];
    EXPECT_EQ(wikitext_detokenized(page), vector["expected"]["text"]) << vector["id"];
    EXPECT_EQ(count_wikitext_words(page), vector["expected"]["words"]) << vector["id"];
    EXPECT_EQ(page.size(), vector["expected"]["bytes"]) << vector["id"];
  }
}

TEST(Perplexity, RatiosOfSums) {
  FARE_NEED_VECTORS(vectors, "weighted_perplexity");
  const Task task = fare_wikitext103();
  for (const auto& vector : *vectors) {
    const auto& input = vector["input"];
    std::vector<Document> documents;
    std::vector<std::vector<RequestResult>> results;
    for (size_t d = 0; d < input["words"].size(); ++d) {
      Document document;
      document.cluster = std::to_string(d);
      document.flags = {{"num_words", input["words"][d]}, {"num_bytes", input["bytes"][d]}};
      document.requests.resize(1);
      documents.push_back(document);
      results.emplace_back(1);
      results.back()[0].logprob_nats = input["loglikelihoods"][d];
    }
    std::map<std::string, double> got;
    for (const auto& metric : pooled_values(task, documents, results)) got[metric.name] = metric.value.value();
    for (const char* name : {"word_perplexity", "byte_perplexity", "bits_per_byte"}) {
      EXPECT_NEAR(got[name], vector["expected"][name], 1e-10);
      EXPECT_NEAR(got[std::string("fare_") + name], vector["expected"][name], 1e-10);
    }
  }
  EXPECT_FALSE(perplexities(-1, 0, 5));
}

TEST(Perplexity, CountsOfTheTexts) {
  FARE_NEED_DATA("lm-text");
  const LoadedTask wiki = fare_wikitext103().load({testing::data_folder()});
  EXPECT_EQ(wiki.documents.size(), 56u);
  EXPECT_EQ(wiki.documents[0].requests[0].kind, RequestKind::kRolling);
  EXPECT_EQ(wiki.documents[0].requests[0].continuation.find(" @-@ "), std::string::npos);
  EXPECT_EQ(fare_c4().load({testing::data_folder()}).documents.size(), (7520u + 63) / 64);
}

TEST(HolisticBias, SentencesFromDescriptorsAndPhrases) {
  FARE_NEED_DATA("holisticbias");
  const LoadedTask loaded = fare_holisticbias().load({testing::data_folder()});
  std::map<std::string, int> axes;
  for (const auto& document : loaded.documents) {
    ++axes[document.axis];
    const std::string text = document.requests[0].continuation;
    EXPECT_EQ(text.find('{'), std::string::npos) << text;
  }
  EXPECT_EQ(axes.size(), 13u);
  EXPECT_EQ(loaded.documents[0].requests[0].continuation, "I'm a Deaf person.");
  EXPECT_EQ(indefinite_article("elderly"), "an");
  // A descriptor has all 26 templates; a phrase without plural has those without one.
  EXPECT_GT(loaded.documents.size(), 583u * 26u);
  std::vector<std::vector<RequestResult>> results(loaded.documents.size(), std::vector<RequestResult>(1));
  for (size_t d = 0; d < results.size(); ++d)
    results[d][0].token_ids = {1, 2}, results[d][0].logprob_nats = loaded.documents[d].axis == "age" ? -4 : -2;
  const OrderedJson table = fare_holisticbias().summarise(loaded.documents, results);
  EXPECT_EQ(table["axes"].size(), 13u);
}

TEST(HolisticBias, EveryDescriptorStandsWithEveryNoun) {
  FARE_NEED_DATA("holisticbias");
  const Task task = fare_holisticbias_nouns();
  const LoadedTask loaded = task.load({testing::data_folder()});
  std::map<std::string, int> nouns, genders;
  std::map<std::string, std::string> texts;
  for (const auto& document : loaded.documents) {
    ++nouns[document.doc["noun"]], ++genders[document.doc["gender"]];
    EXPECT_TRUE(texts.emplace(document.item, document.requests[0].continuation).second) << document.item;
    EXPECT_EQ(document.requests[0].continuation.find('{'), std::string::npos);
  }
  ASSERT_EQ(nouns.size(), 32u);
  for (const auto& [noun, count] : nouns) EXPECT_EQ(count, nouns["person"]) << noun;
  EXPECT_GE(nouns["person"], 583);
  EXPECT_EQ(genders["female"], 12 * nouns["person"]);
  EXPECT_EQ(genders["male"], 11 * nouns["person"]);
  EXPECT_EQ(texts.at("ability/auditory/Deaf/grandmother"), "I'm a Deaf grandmother.");
  EXPECT_EQ(texts.at("ability//a person who uses a wheelchair/individual"), "I'm an individual who uses a wheelchair.");
  EXPECT_FALSE(texts.contains("ability//a wheelchair user/man"));
  // A noun's own cost is taken off: female nouns cost one nat per token more with descriptors of age only.
  std::vector<std::vector<RequestResult>> results(loaded.documents.size(), std::vector<RequestResult>(1));
  for (size_t d = 0; d < results.size(); ++d) {
    const auto& doc = loaded.documents[d].doc;
    const double nats = (doc["noun"] == "sista" ? 5 : 2) + (doc["gender"] == "female" && doc["axis"] == "age" ? 1 : 0);
    results[d][0].token_ids = {1, 2}, results[d][0].logprob_nats = -2 * nats;
  }
  const OrderedJson table = task.summarise(loaded.documents, results);
  EXPECT_EQ(table["nouns"].size(), 32u);
  std::map<std::string, double> mean;
  for (const auto& row : table["axes_by_gender"])
    mean[row["axis"].get<std::string>() + "/" + row["gender_of_noun"].get<std::string>()] = row["mean"];
  EXPECT_NEAR(mean.at("age/female") - mean.at("religion/female"), 1, 1e-9);
  EXPECT_NEAR(mean.at("age/male"), 0, 1e-9);
}

TEST(Weat, ListsAndEffectSize) {
  // Two targets point at their own attribute: s = 1 and -1, so d = 2 / sqrt(2).
  EXPECT_NEAR(*weat_effect_size({{1, 0}}, {{0, 1}}, {{2, 0}}, {{0, 3}}), 2 / std::sqrt(2.0), 1e-15);
  EXPECT_FALSE(weat_effect_size({{1, 0}}, {{1, 0}}, {{1, 0}}, {{0, 1}}));
  EXPECT_THROW(weat_effect_size({}, {{1}}, {{1}}, {{1}}), UsageError);
  EXPECT_THROW(weat_effect_size({{0}}, {{1}}, {{1}}, {{1}}), UsageError);
  FARE_NEED_DATA("seat");
  const WeatTest flowers = read_weat(testing::data_folder() / "seat/weat1.jsonl");
  EXPECT_EQ(flowers.targ1.category, "Flowers");
  EXPECT_EQ(flowers.targ1.examples.size(), 25u);
  EXPECT_EQ(flowers.attr2.examples.size(), 25u);
  EXPECT_EQ(read_weat(testing::data_folder() / "seat/sent-weat1.jsonl").targ1.examples.size(), 350u);
  const auto broken = testing::scratch("weat.json");
  write_file(broken, R"({"targ1": {"category": "a", "examples": []}})");
  EXPECT_NE(message_of<FormatError>([&] { read_weat(broken); }).find("targ1"), std::string::npos);
}

}  // namespace
}  // namespace fare
