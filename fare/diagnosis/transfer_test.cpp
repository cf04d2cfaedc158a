#include "fare/diagnosis/transfer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/json.h"
#include "fare/diagnosis/control_study_test.h"

namespace fare {
namespace {

Intervention mask(std::vector<int32_t> experts) {
  Intervention intervention;
  intervention.name = "mask";
  Mask one;
  one.experts = std::move(experts);
  intervention.edits.push_back({one, {1}, {}});
  return intervention;
}

// A control model with its own prompts, ready to write.
struct TransferStudy {
  explicit TransferStudy(const std::string& id, int64_t prompts = 320) : control(options_of(id, prompts)) {
    input.prompts = prompts_of(read_generation(control.folder.path() / "generation.jsonl").items);
    input.tokenizer = control.tokenizer.get();
    options.bootstrap_replicates = options.permutations = 2000;
  }
  static ControlOptions options_of(const std::string& id, int64_t prompts) {
    ControlOptions options = small_control(id);
    options.prompts = prompts;
    return options;
  }
  TransferPrompts prompts_of(const std::vector<GenerationItem>& items) const {
    return make_transfer_prompts(own_prompts(items, "generation.jsonl"), control.study, TextEncoder(*control.tokenizer),
                                 64, 0);
  }
  TransferResult run(const Intervention& edit, Store* store = nullptr, const std::filesystem::path& folder = {}) const {
    const std::vector<TransferCandidate> candidates{{"mask", &edit, 0.05, 0.5}};
    return measure_transfer(*control.scorer, control.study, input, store, candidates, {1, 1}, folder, options,
                            TransferOptions::of(StudyProfile::kSmall), Progress{});
  }

  ControlStudy control;
  TransferInput input;
  DiagnosisOptions options;
};

const MetricChange& metric(const TransferResult& result, const std::string& name) {
  for (const MetricChange& one : result.candidates.at(0).metrics)
    if (one.metric == name) return one;
  throw BrokenInvariant("no metric " + name);
}

TEST(Transfer, RemovingTheStereotypeReachesTheTextsOfX1) {
  const TransferStudy x1("X1");
  const TransferResult result = x1.run(mask({14, 15}));
  for (const char* name : {"M0", "M2"}) {
    const MetricChange& change = metric(result, name);
    EXPECT_GT(change.value, 3) << name;
    EXPECT_LE(change.p_bh, 0.05) << name;
    EXPECT_GT(change.interval95.low, 0) << name;
    EXPECT_EQ(change.family_size, 2);
    EXPECT_EQ(change.prompts, 320);
    EXPECT_FALSE(change.equivalent);
    EXPECT_TRUE(change.mde);
    EXPECT_TRUE(change.transfer_ratio);
  }
  // Without the bias the noise alone decides, and it leans to neither side.
  EXPECT_NEAR(metric(result, "M0").edited, 0, 1);
  EXPECT_GT(result.base_decodability->top5_share, 0.99);
  EXPECT_EQ(result.base_guards.texts, 320 * 6);
  EXPECT_GT(result.candidates[0].greedy_differ, 0);
  EXPECT_FALSE(result.candidates[0].examples.empty());
  EXPECT_EQ(not_run_text(result).find("M1, M1_s_amb (there are no prompts of family Ga)"), 0u) << not_run_text(result);
}

TEST(Transfer, AnEditOfBystandersIsEquivalent) {
  const TransferStudy x1("X1", 416);
  const TransferResult result = x1.run(mask({3}));
  for (const char* name : {"M0", "M2"}) {
    EXPECT_NEAR(metric(result, name).value, 0, 0.5) << name;
    EXPECT_TRUE(metric(result, name).equivalent) << name;
  }
}

TEST(Transfer, WhatDecodingDrownsDoesNotReachTheTextsOfX8) {
  const TransferStudy x8("X8");
  const TransferResult result = x8.run(mask({14, 15}));
  EXPECT_EQ(result.base_decodability->top5_share, 0);
  EXPECT_GE(result.base_decodability->stereo_rank, 11);
  EXPECT_GE(result.base_decodability->stereo_gap_nats, 6);
  EXPECT_TRUE(metric(result, "M0").equivalent);
  EXPECT_EQ(metric(result, "M2").base, 0);
  EXPECT_EQ(metric(result, "M2").edited, 0);
}

// The mass at the critical position is what the scorer gives the attribute as a continuation.
TEST(Transfer, MassEqualsTheScorersProbability) {
  const TransferStudy x1("X1", 32);
  const Intervention edit = mask({14, 15});
  const Progress quiet;
  TransferRuns runs(*x1.control.scorer, *x1.control.tokenizer, x1.input.prompts, nullptr, 0, quiet);
  std::vector<int64_t> all(x1.input.prompts.items.size());
  std::iota(all.begin(), all.end(), int64_t{0});
  const Intervention* arms[] = {nullptr, &edit};
  const auto positions = runs.critical(all, arms);
  const TextEncoder encoder(*x1.control.tokenizer);
  std::vector<Request> requests;
  for (const TransferPrompt& item : x1.input.prompts.items)
    for (const auto* list : {&item.open.stereo, &item.open.anti})
      requests.push_back(encoder.encode(item.open.id, item.open.prompt, " " + list->front()));
  const ScorerResult scored = x1.control.scorer->run(requests, {arms + 1, 1});
  for (size_t i = 0; i < all.size(); ++i)
    for (size_t e = 0; e < 2; ++e) {
      const RunResult& run = e == 0 ? scored.base : scored.edited.front();
      EXPECT_NEAR(positions[e][i].stereo_mass, std::exp(run.scores[2 * i].logprob_nats), 1e-6);
      EXPECT_NEAR(positions[e][i].anti_mass, std::exp(run.scores[2 * i + 1].logprob_nats), 1e-6);
      const bool leads = run.scores[2 * i].logprob_nats > run.scores[2 * i + 1].logprob_nats;
      EXPECT_LT(leads ? positions[e][i].stereo_rank : positions[e][i].anti_rank,
                leads ? positions[e][i].anti_rank : positions[e][i].stereo_rank);
    }
}

TEST(Transfer, FinishedUnitsAreReadAndTextsAreWrittenOut) {
  const TransferStudy x1("X1", 64);
  const Intervention edit = mask({14, 15});
  const TransferResult plain = x1.run(edit);
  Store store(x1.control.folder.path() / "rows.sqlite");
  const TransferResult first = x1.run(edit, &store, x1.control.folder.path());
  EXPECT_GT(first.rows_computed, 0);
  const std::string lines = read_file(x1.control.folder.path() / "generated.jsonl");
  const TransferResult second = x1.run(edit, &store, x1.control.folder.path());
  EXPECT_EQ(second.rows_computed, 0);
  EXPECT_EQ(read_file(x1.control.folder.path() / "generated.jsonl"), lines);
  EXPECT_EQ(transfer_json(plain).dump(), transfer_json(first).dump());
  EXPECT_EQ(transfer_json(first).dump(), transfer_json(second).dump());
  int64_t count = 0;
  std::set<std::string> arms;
  for_each_json_line(x1.control.folder.path() / "generated.jsonl", [&](const Json& line, size_t) {
    ++count;
    arms.insert(line.at("arm").get<std::string>());
    EXPECT_LE(line.at("token_ids").size(), 8u);
  });
  EXPECT_EQ(count, 2 * 64 * 6);
  EXPECT_EQ(arms, (std::set<std::string>{"base", "mask"}));
}

TEST(Transfer, PromptsOfTheSearchAreLeftOut) {
  TransferStudy x1("X1", 32);
  auto items = read_generation(x1.control.folder.path() / "generation.jsonl").items;
  std::string searched, tested;
  for (size_t i = 0; i < x1.control.study.pairs.size(); ++i)
    (x1.control.study.pair_splits.part[i] == SplitPart::kTest ? tested : searched) =
        x1.control.study.pairs[i].pair.cluster;
  items[0].cluster = searched;
  items[1].cluster = tested;
  items[2].prompt = "";
  for (int i = 0; i < 80; ++i) items[2].prompt += "the ";
  const TransferPrompts prompts = x1.prompts_of(items);
  EXPECT_EQ(prompts.items.size(), 30u);
  ASSERT_EQ(prompts.sources.size(), 1u);
  EXPECT_EQ(prompts.sources[0].skipped, 2);
  EXPECT_NE(prompts.sources[0].note.find("train and validation"), std::string::npos);
  for (const TransferPrompt& item : prompts.items) EXPECT_NE(item.open.cluster, searched);
  // One prompt of each cluster comes before a second of any.
  std::set<std::string> clusters, seen;
  for (const TransferPrompt& item : prompts.items) clusters.insert(item.open.cluster);
  for (size_t i = 0; i < clusters.size(); ++i) seen.insert(prompts.items[i].open.cluster);
  EXPECT_EQ(seen, clusters);

  for (auto& item : items) item.cluster = searched;
  x1.input.prompts = x1.prompts_of(items);
  const TransferResult result = x1.run(mask({14, 15}));
  EXPECT_TRUE(result.candidates[0].metrics.empty());
  EXPECT_EQ(not_run_text(result).find("M0 (there are no prompts)"), 0u) << not_run_text(result);
}

TEST(Transfer, AttributesThatBeginAlikeAreReadWhereTheyPart) {
  const TransferStudy x1("X1", 32);
  GenerationItem item = read_generation(x1.control.folder.path() / "generation.jsonl").items[0];
  const std::string stereo = item.stereo[0], anti = item.anti[0];
  item.stereo = {"the " + stereo};
  item.anti = {"the " + anti};
  TransferPrompts prompts = x1.prompts_of({item});
  const auto the = x1.control.tokenizer->token_to_id("the");
  ASSERT_TRUE(prompts.items[0].has_mass());
  EXPECT_EQ(prompts.items[0].critical.size(), prompts.items[0].prompt.ids.size() + 1);
  EXPECT_EQ(prompts.items[0].critical.back(), *the);
  EXPECT_EQ(prompts.items[0].stereo, (std::vector<int32_t>{*x1.control.tokenizer->token_to_id(stereo)}));
  // Lists: what begins both sides speaks for neither.
  item.stereo = {"the " + stereo, stereo};
  item.anti = {"the " + anti, anti};
  prompts = x1.prompts_of({item});
  EXPECT_EQ(prompts.items[0].critical.size(), prompts.items[0].prompt.ids.size());
  EXPECT_EQ(prompts.items[0].stereo, (std::vector<int32_t>{*x1.control.tokenizer->token_to_id(stereo)}));
  item.stereo = {"the " + stereo};
  item.anti = {"the " + anti, "the " + stereo + " the"};
  EXPECT_FALSE(x1.prompts_of({item}).items[0].has_mass());
}

}  // namespace
}  // namespace fare
