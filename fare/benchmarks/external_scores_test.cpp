#include "fare/benchmarks/external_scores.h"

#include <gtest/gtest.h>

#include <fstream>

#include "fare/core/error.h"

namespace fare {
namespace {

class ScoreFile {
 public:
  explicit ScoreFile(const std::string& name)
      : path(std::filesystem::path(::testing::TempDir()) / ("external_scores_" + name + ".jsonl")) {
    std::filesystem::remove(path);
  }
  ~ScoreFile() { std::filesystem::remove(path); }

  // A line as the format asks for it, with the fields of `other` in the place of the usual ones.
  ScoreFile& add(const std::string& id, int64_t sample, const std::string& group, std::optional<double> score,
                 const Json& other = {}) {
    Json line{{"id", id},
              {"sample", sample},
              {"group", group},
              {"label", "hate"},
              {"text_sha256", id + std::to_string(sample)},
              {"score", score ? Json(*score) : Json()},
              {"scorer", "a classifier"},
              {"scorer_sha256", "abc"}};
    if (!other.is_null()) line.update(other);
    std::ofstream(path, std::ios::app) << line.dump() << "\n";
    return *this;
  }
  ExternalScores read() const { return read_external_scores(path); }

  std::filesystem::path path;
};

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ExternalScores, GiveMeansByEntityThenGroupAndTheLargestOfEveryPrompt) {
  ScoreFile file("means");
  // Entity one of group a has two prompts (means 0.2 and 0.4), entity two one (0.9): a = mean(0.3, 0.9) = 0.6.
  file.add("p1", 0, "a", 0.1, {{"cluster", "one"}}).add("p1", 1, "a", 0.3, {{"cluster", "one"}});
  file.add("p2", 0, "a", 0.4, {{"cluster", "one"}}).add("p2", 1, "a", 0.4, {{"cluster", "one"}});
  file.add("p3", 0, "a", 0.9, {{"cluster", "two"}}).add("p3", 1, "a", 0.9, {{"cluster", "two"}});
  file.add("p4", 0, "b", 0.5).add("p4", 1, "b", 0.0);
  const OrderedJson json = summarise_external_scores(file.read(), nullptr, {});
  EXPECT_EQ(json["format"], "fare-gaps/1");
  EXPECT_EQ(json["scorer"], "a classifier");
  ASSERT_EQ(json["labels"].size(), 1u);
  const OrderedJson& hate = json["labels"][0];
  EXPECT_EQ(hate["texts"], 8);
  EXPECT_EQ(hate["missing"], 0);
  EXPECT_NEAR(hate["gaps"]["difference"]["value"].get<double>(), 0.6 - 0.25, 1e-12);
  EXPECT_EQ(hate["gaps"]["difference"]["of"], "a");
  EXPECT_NEAR(hate["gaps"]["range"].get<double>(), 0.35, 1e-12);
  EXPECT_EQ(hate["samples_per_prompt"], 2);
  EXPECT_NEAR(hate["expected_max"].get<double>(), (0.3 + 0.4 + 0.9 + 0.5) / 4, 1e-12);
  EXPECT_NEAR(hate["probability"].get<double>(), 0.5, 1e-12);
  EXPECT_NEAR(hate["ratio"].get<double>(), 3.0 / 8, 1e-12);
  EXPECT_TRUE(hate["changes"].is_null());
}

TEST(ExternalScores, CountMissingOnesAndGiveNoFigureAboveOnePercent) {
  ScoreFile file("missing");
  for (int64_t i = 0; i < 199; ++i) file.add(std::to_string(i), 0, i % 2 == 0 ? "a" : "b", 0.25);
  file.add("lost", 0, "a", std::nullopt);
  OrderedJson hate = summarise_external_scores(file.read(), nullptr, {})["labels"][0];
  EXPECT_EQ(hate["missing"], 1);
  EXPECT_EQ(hate["prompts"], 199);
  EXPECT_EQ(hate["prompts_left_out"], 1);
  EXPECT_NEAR(hate["expected_max"].get<double>(), 0.25, 1e-12);  // a lost score is no 0
  file.add("lost too", 0, "a", std::nullopt).add("and this", 0, "b", std::nullopt);
  hate = summarise_external_scores(file.read(), nullptr, {})["labels"][0];
  EXPECT_FALSE(hate.contains("expected_max"));
  EXPECT_EQ(hate["reason"], "3 of 202 scores are missing, more than 1%");
}

TEST(ExternalScores, AreComparedTextByText) {
  ScoreFile base("base"), edited("edited");
  for (int64_t i = 0; i < 40; ++i) {
    std::string id = std::to_string(i);
    base.add(id, 0, i % 2 == 0 ? "a" : "b", 0.5);
    edited.add(id, 0, i % 2 == 0 ? "a" : "b", i % 2 == 0 ? 0.3 : 0.5 + 0.001 * static_cast<double>(i % 3 - 1),
               {{"text_sha256", id + " edited"}});
  }
  base.add("only here", 0, "a", 0.9);
  const ExternalScores before = base.read();
  const OrderedJson hate = summarise_external_scores(edited.read(), &before, {.replicates = 999})["labels"][0];
  ASSERT_EQ(hate["changes"].size(), 3u);
  EXPECT_TRUE(hate["changes"][0]["group"].is_null());
  EXPECT_EQ(hate["changes"][0]["texts"], 40);
  EXPECT_EQ(hate["changes"][1]["group"], "a");
  EXPECT_NEAR(hate["changes"][1]["mean_change"].get<double>(), -0.2, 1e-12);
  EXPECT_LT(hate["changes"][1]["p_bh"].get<double>(), 0.01);
  EXPECT_GT(hate["changes"][2]["p"].get<double>(), 0.05);
  EXPECT_TRUE(hate["changes"][0]["p_bh"].is_null());
}

TEST(ExternalScores, OfTwoScorersAreRefused) {
  ScoreFile one("one"), two("two"), mixed("mixed"), again("again");
  one.add("p", 0, "a", 0.5);
  two.add("p", 0, "a", 0.5, {{"scorer_sha256", "other"}});
  mixed.add("p", 0, "a", 0.5).add("q", 0, "a", 0.5, {{"scorer", "another"}});
  again.add("p", 0, "a", 0.7);
  const ExternalScores base = one.read();
  EXPECT_NE(error_of([&] {
              summarise_external_scores(two.read(), &base, {});
            }).find("scores of two scorers are not compared"),
            std::string::npos);
  EXPECT_NE(error_of([&] { mixed.read(); }).find("line 2: a second scorer"), std::string::npos);
  EXPECT_NE(error_of([&] { summarise_external_scores(again.read(), &base, {}); }).find("score both files together"),
            std::string::npos);
}

TEST(ExternalScores, OfABadFileAreNamedByLine) {
  const auto error = [](const std::function<void(ScoreFile&)>& fill) {
    ScoreFile file("bad");
    fill(file);
    return error_of([&] { file.read(); });
  };
  EXPECT_NE(error([](ScoreFile& f) { f.add("p", 0, "a", 0.5).add("p", 0, "a", 0.6); }).find("line 2"),
            std::string::npos);
  EXPECT_NE(error([](ScoreFile& f) {
              f.add("p", 0, "a", 0.5).add("p", 0, "a", 0.6, {{"label", "x"}, {"text_sha256", "y"}});
            }).find("is another text than before"),
            std::string::npos);
  EXPECT_NE(error([](ScoreFile& f) { f.add("p", 0, "a", 1.5); }).find("score 1.5 is outside"), std::string::npos);
  EXPECT_NE(error([](ScoreFile& f) {
              f.add("p", 0, "a", 0.5, {{"group", 3}});
            }).find("field 'group' has the wrong type"),
            std::string::npos);
  EXPECT_NE(error([](ScoreFile& f) { std::ofstream(f.path) << "\n"; }).find("holds no scores"), std::string::npos);
}

}  // namespace
}  // namespace fare
