#include "fare/scoring/scorer.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "fare/checkpoint/test_safetensors.h"
#include "fare/core/error.h"
#include "fare/models/test_device.h"
#include "fare/models/test_models.h"
#include "fare/scoring/generate.h"
#include "fare/scoring/head.h"
#include "fare/scoring/trace_recorder.h"

namespace fare {
namespace {

std::vector<Request> some_requests(int count, int vocab_size) {
  std::mt19937 draw(4);
  const auto ids = [&](size_t n) {
    std::vector<int32_t> list(n);
    for (int32_t& id : list) id = static_cast<int32_t>(draw() % static_cast<unsigned>(vocab_size));
    return list;
  };
  std::vector<Request> requests;
  std::vector<int32_t> context;
  for (int i = 0; i < count; ++i) {
    if (i % 3 == 0) context = ids(1 + draw() % 12);
    Request request;
    request.id = std::to_string(i);
    request.context = context;
    request.continuation = ids(1 + draw() % 6);
    requests.push_back(request);
  }
  return requests;
}

double largest_gap(const std::vector<Score>& a, const std::vector<Score>& b) {
  double gap = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    for (size_t j = 0; j < a[i].token_logprobs_nats.size(); ++j)
      gap = std::max(gap, std::abs(a[i].token_logprobs_nats[j] - b[i].token_logprobs_nats[j]));
  return gap;
}

void expect_equal(const Receipt& a, const Receipt& b) {
  EXPECT_EQ(a.tokens, b.tokens);
  ASSERT_EQ(a.layers.size(), b.layers.size());
  for (const auto& [layer, ours] : a.layers) {
    const LayerReceipt& theirs = b.layers.at(layer);
    EXPECT_EQ(ours.edits_applied, theirs.edits_applied);
    EXPECT_EQ(ours.tokens_in_scope, theirs.tokens_in_scope);
    EXPECT_EQ(ours.topk_changed, theirs.topk_changed);
    EXPECT_NEAR(ours.gate_mass_moved_sum, theirs.gate_mass_moved_sum, 1e-4);
  }
}

class ScorerTest : public ::testing::TestWithParam<std::string> {
 protected:
  ScorerTest() {
    at::set_num_threads(2);  // the models are tiny
    testing::RandomShape shape;
    shape.family = GetParam();
    shape.layers = 3;
    testing::write_random_model(folder_.path(), shape, 1);
    model_ = Model::open(folder_.path(), {at::kFloat, MatmulBackend::kOneDnn});
    requests_ = some_requests(30, 64);
  }
  Intervention edit(const std::string& json) {
    Json whole = {{"format", "fare-intervention/1"}, {"edits", Json::array()}};
    if (!json.empty()) whole["edits"].push_back(Json::parse(json));
    return Intervention::parse(whole, "edit.json");
  }
  ScorerResult run(const ScorerOptions& options, const std::vector<const Intervention*>& interventions = {},
                   const UnitObserver& observer = {}) {
    return Scorer(*model_, options).run(requests_, interventions, observer);
  }
  TestFolder folder_;
  std::unique_ptr<Model> model_;
  std::vector<Request> requests_;
};

TEST_P(ScorerTest, ScoresEqualOneForwardPassPerRequest) {
  const ScorerResult result = run({});
  for (size_t i = 0; i < requests_.size(); ++i) {
    const FedRequest fed = fed_part(requests_[i], 256, 64);
    const at::Tensor h_TD = forward(*model_, testing::pack_of({fed.ids}, false));
    const at::Tensor log_p = model_->head(h_TD).to(at::kDouble).log_softmax(-1);
    double sum = 0;
    bool greedy = true;
    for (size_t j = 0; j < requests_[i].continuation.size(); ++j) {
      const int64_t row = fed.num_context - 1 + static_cast<int64_t>(j);
      const double expected = log_p[row][requests_[i].continuation[j]].item<double>();
      EXPECT_NEAR(result.base.scores[i].token_logprobs_nats[j], expected, 1e-5);
      greedy = greedy && log_p[row].argmax().item<int64_t>() == requests_[i].continuation[j];
      sum += expected;
    }
    EXPECT_NEAR(result.base.scores[i].logprob_nats, sum, 1e-4);
    EXPECT_EQ(result.base.scores[i].is_greedy, greedy);
  }
}

TEST_P(ScorerTest, PackingResumingAndUnitsDoNotShow) {
  const Intervention
      late = edit(R"({"op": "add_logit", "layers": [2], "experts": [1], "values": [2]})"),
      middle =
          edit(R"({"op": "mask", "layers": [1], "experts": [0], "mode": "refill", "where": {"phase": "generated"}})"),
      none = edit("");
  const std::vector<const Intervention*> all = {&late, &middle, &none};
  const ScorerResult usual = run({}, all);
  EXPECT_EQ(largest_gap(usual.base.scores, usual.edited[2].scores), 0);
  EXPECT_GT(largest_gap(usual.base.scores, usual.edited[0].scores), 1e-3);
  EXPECT_LT(usual.rows_computed, usual.rows_fed);
  ScorerOptions apart, small, fresh, no_base, no_room;
  apart.share_prefixes = false;
  small.unit_rows = 7;
  fresh.resume = false;
  no_base.base_run = false;
  no_room.cache_mb = 0;
  for (const ScorerOptions& options : {apart, small, fresh, no_base, no_room}) {
    const ScorerResult other = run(options, all);
    for (size_t i = 0; i < all.size(); ++i) {
      EXPECT_LE(largest_gap(usual.edited[i].scores, other.edited[i].scores), 1e-5);
      expect_equal(usual.edited[i].receipt, other.edited[i].receipt);
    }
  }
  EXPECT_EQ(largest_gap(usual.edited[0].scores, run({}, all).edited[0].scores), 0);
  EXPECT_GT(run(fresh, all).rows_computed, usual.rows_computed);
  EXPECT_GT(run(no_room, all).rows_computed, usual.rows_computed);
  EXPECT_EQ(usual.cache_mb_needed, 1);
  EXPECT_EQ(usual.cache_mb_least, 1);
}

TEST_P(ScorerTest, InterventionsComputedTogetherEqualThoseComputedAlone) {
  std::vector<Intervention> edits;
  for (const int layer : {2, 0, 1})
    for (int expert = 0; expert < 4; ++expert) {
      const std::string where =
          R"("layers": [)" + std::to_string(layer) + R"(], "experts": [)" + std::to_string(expert) + "]";
      edits.push_back(edit(R"({"op": "mask", "mode": "refill", )" + where + "}"));
      edits.push_back(
          edit(R"({"op": "add_logit", "values": [1.5], )" + where + R"(, "where": {"phase": "generated"}})"));
    }
  edits.push_back(edit(R"({"op": "set_top_k", "k": 3, "layers": [1]})"));
  edits.push_back(edit(""));
  std::vector<const Intervention*> all, part;
  for (const Intervention& one : edits) all.push_back(&one);
  for (size_t i = 0; i < all.size(); i += 3) part.push_back(all[i]);
  for (const int64_t unit_rows : {4096, 64}) {
    ScorerOptions together, alone;
    together.unit_rows = alone.unit_rows = unit_rows;
    together.batch_edits = true;
    const ScorerResult usual = run(together, all), again = run(together, all), single = run(alone, all),
                       fewer = run(alone, part);
    EXPECT_EQ(usual.rows_computed, single.rows_computed);
    for (size_t i = 0; i < all.size(); ++i) {
      EXPECT_LE(largest_gap(usual.edited[i].scores, single.edited[i].scores), 1e-5) << i;
      EXPECT_EQ(largest_gap(usual.edited[i].scores, again.edited[i].scores), 0) << i;
      expect_equal(usual.edited[i].receipt, single.edited[i].receipt);
    }
    // One by one, no bit depends on which others run: a run that is continued gives the same.
    for (size_t i = 0; i < part.size(); ++i)
      EXPECT_EQ(largest_gap(fewer.edited[i].scores, single.edited[3 * i].scores), 0) << i;
  }
}

TEST_P(ScorerTest, ARecordInAScratchFileGivesTheSameBytes) {
  const Intervention low = edit(R"({"op": "add_logit", "layers": [0], "experts": [1], "values": [2]})"),
                     late = edit(R"({"op": "mask", "layers": [2], "experts": [0], "mode": "refill"})");
  const std::vector<const Intervention*> all = {&low, &late};
  const ScorerResult usual = run({}, all);
  const TestFolder folder;
  ScorerOptions scratch, none, broken;
  scratch.cache_mb = none.cache_mb = broken.cache_mb = 0;
  scratch.scratch = folder.path();
  broken.scratch = folder.path() / "missing";
  broken.unit_rows = 7;  // many units: the problem is met once
  const ScorerResult kept = run(scratch, all), whole = run(none, all), fallen_back = run(broken, all);
  EXPECT_EQ(kept.rows_computed, usual.rows_computed);
  EXPECT_GT(whole.rows_computed, usual.rows_computed);
  EXPECT_EQ(kept.scratch_problem, "");
  EXPECT_NE(fallen_back.scratch_problem.find("missing"), std::string::npos);
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(largest_gap(kept.edited[i].scores, usual.edited[i].scores), 0);
    EXPECT_LE(largest_gap(whole.edited[i].scores, usual.edited[i].scores), 1e-5);
    EXPECT_LE(largest_gap(fallen_back.edited[i].scores, usual.edited[i].scores), 1e-5);
    expect_equal(kept.edited[i].receipt, usual.edited[i].receipt);
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

// Whatever does not fit a device is computed in parts: the same numbers, said once.
TEST_P(ScorerTest, ADeviceWithLittleMemoryGivesTheSameScores) {
  const Intervention early = edit(R"({"op": "mask", "layers": [0], "experts": [1]})");
  const Intervention late = edit(R"({"op": "add_logit", "layers": [2], "experts": [1], "values": [2]})");
  const Intervention own =
      edit(R"({"op": "add_logit", "layers": [1], "experts": [1], "values": [2], "where": {"phase": "generated"}})");
  const std::vector<const Intervention*> all = {&early, &late, &own};
  const auto scored_on = [&](const Devices& devices, size_t limit, const UnitObserver& observer, size_t* peak) {
    Execution execution{at::kFloat, MatmulBackend::kOneDnn};
    execution.devices = devices;
    model_ = Model::open(folder_.path(), execution);
    ScorerOptions options;
    options.batch_edits = true;
    testing::limit_stand_in(1, 0);
    if (limit > 0) run(options, all);  // weights are there now
    const size_t weights = testing::stand_in_bytes(1);
    testing::limit_stand_in(1, limit > 0 ? weights + limit : 0);
    const ScorerResult result = run(options, all, observer);
    if (peak != nullptr) *peak = testing::stand_in_peak_bytes(1) - weights;
    testing::limit_stand_in(1, 0);
    return result;
  };
  const Devices two = {testing::stand_in(0), testing::stand_in(1)};
  size_t needed = 0;
  const ScorerResult on_cpu = scored_on({at::kCPU}, 0, {}, nullptr),
                     roomy = scored_on(two, size_t{1} << 30, {}, &needed);
  EXPECT_EQ(roomy.memory_problem, "");
  for (const size_t limit : {needed / 2, needed / 6}) {
    std::vector<int64_t> rows_seen(all.size() + 1), done(all.size() + 1);
    UnitObserver observer;
    int64_t now = 0;
    const int64_t first_layer = model_->spec().moe_layers().front();
    int64_t begun = 0, ended = 0;
    observer.begin = [&](const UnitRun& run) { now = run.intervention + 1, ++begun; };
    observer.on_decision = [&](int64_t layer, const at::Tensor& logits, const Decision&) {
      if (layer == first_layer) rows_seen[static_cast<size_t>(now)] += logits.size(0);
    };
    observer.done = [&](const UnitRun& run) {
      done[static_cast<size_t>(run.intervention + 1)] += static_cast<int64_t>(run.requests.size());
      ++ended;
    };
    for (const bool watched : {false, true}) {
      const ScorerResult little = scored_on(two, limit, watched ? observer : UnitObserver{}, nullptr);
      EXPECT_HAS(little.memory_problem, "has no memory for a unit of");
      EXPECT_LE(largest_gap(little.base.scores, on_cpu.base.scores), 1e-5);
      for (size_t i = 0; i < all.size(); ++i) {
        EXPECT_LE(largest_gap(little.edited[i].scores, on_cpu.edited[i].scores), 1e-5);
        expect_equal(little.edited[i].receipt, on_cpu.edited[i].receipt);
      }
    }
    // Every request is shown once, a pass that was broken off not at all.
    EXPECT_EQ(begun, ended);
    EXPECT_EQ(done, std::vector<int64_t>(all.size() + 1, static_cast<int64_t>(requests_.size())));
    for (const int64_t rows : rows_seen) EXPECT_GT(rows, 0);
  }
  EXPECT_HAS(message_of<Error>([&] { scored_on(two, 64, {}, nullptr); }), "beside the weights");
  testing::limit_stand_in(1, 0);
}

TEST_P(ScorerTest, ADeviceWithLittleMemoryGeneratesTheSameTexts) {
  std::vector<Prompt> prompts;
  for (int32_t i = 0; i < 12; ++i) prompts.push_back({std::to_string(i), {1 + i, 2, 3 + i}});
  GenerateOptions options;
  options.max_new_tokens = 8;
  options.sampling = {1.0, 0.9};
  const GenerateResult on_cpu = generate(*model_, nullptr, prompts, options);
  Execution execution{at::kFloat, MatmulBackend::kOneDnn};
  execution.devices = {testing::stand_in(0), testing::stand_in(1)};
  model_ = Model::open(folder_.path(), execution);
  testing::limit_stand_in(1, 0);
  const GenerateResult roomy = generate(*model_, nullptr, prompts, options);
  const size_t weights = testing::stand_in_bytes(1);
  testing::limit_stand_in(1, 0);
  generate(*model_, nullptr, prompts, options);
  const size_t needed = testing::stand_in_peak_bytes(1) - weights;
  testing::limit_stand_in(1, weights + needed / 3);
  const GenerateResult little = generate(*model_, nullptr, prompts, options);
  testing::limit_stand_in(1, weights + 64);
  const std::string refused = message_of<Error>([&] { generate(*model_, nullptr, prompts, options); });
  testing::limit_stand_in(1, 0);
  EXPECT_EQ(roomy.memory_problem, "");
  EXPECT_HAS(little.memory_problem, "has no memory for a cache of 4096 rows");
  EXPECT_HAS(refused, "beside the weights");
  for (const GenerateResult& other : {roomy, little}) {
    EXPECT_EQ(other.receipt.tokens, on_cpu.receipt.tokens);
    for (size_t i = 0; i < on_cpu.texts.size(); ++i)
      EXPECT_EQ(other.texts[i].token_ids, on_cpu.texts[i].token_ids) << i;
  }
}

TEST_P(ScorerTest, UnitsHoldEveryRequestOnceAndKeepTheirSize) {
  ScorerOptions options;
  options.unit_rows = 40;
  const Scorer scorer(*model_, options);
  std::vector<int> seen(requests_.size(), 0);
  for (const auto& unit : scorer.units(requests_)) {
    for (const int64_t i : unit) ++seen[static_cast<size_t>(i)];
    std::vector<Request> part;
    for (const int64_t i : unit) part.push_back(requests_[static_cast<size_t>(i)]);
    EXPECT_EQ(scorer.units(part).size(), 1u);
  }
  EXPECT_EQ(seen, std::vector<int>(requests_.size(), 1));
  EXPECT_GT(scorer.units(requests_).size(), 2u);
}

TEST_P(ScorerTest, RoutesKeptInMemoryReplay) {
  const Intervention push = edit(R"({"op": "add_logit", "layers": "all", "experts": [1], "values": [3]})");
  auto table = std::make_shared<RouteTable>(trace_rows(requests_, 256, 64));
  TraceRecorder recorder(*table, 0, keep_in_memory(*table, {0, 1, 2}, 2));
  const ScorerResult edited = run({}, {&push}, recorder.observer());
  Intervention replay;
  replay.edits.emplace_back();
  ForceRoutes force;
  force.table = table;
  replay.edits[0].op = force;
  const ScorerResult replayed = run({}, {&replay});
  EXPECT_LE(largest_gap(edited.edited[0].scores, replayed.edited[0].scores), 1e-5);
  EXPECT_GT(largest_gap(edited.base.scores, replayed.edited[0].scores), 1e-3);
}

TEST_P(ScorerTest, WhatAnObserverSkipsIsNotComputedForIt) {
  const Intervention late = edit(R"({"op": "add_logit", "layers": [2], "experts": [1], "values": [2]})");
  UnitObserver observer;
  int done = 0;
  observer.skip = [](const UnitRun& unit) { return unit.intervention == -1; };
  observer.done = [&](const UnitRun& unit) {
    EXPECT_EQ(unit.intervention, 0);
    EXPECT_EQ(unit.scores.size(), unit.requests.size());
    ++done;
  };
  const ScorerResult result = run({}, {&late}, observer);
  EXPECT_EQ(done, 1);
  EXPECT_TRUE(result.base.scores[0].token_logprobs_nats.empty());
  EXPECT_EQ(largest_gap(result.edited[0].scores, run({}, {&late}).edited[0].scores), 0);
}

TEST_P(ScorerTest, StopsBetweenUnits) {
  ScorerOptions options;
  options.unit_rows = 10;
  int calls = 0;
  Progress progress;
  progress.cancelled = [&] { return ++calls > 2; };
  EXPECT_THROW(Scorer(*model_, options).run(requests_, {}, {}, progress), Interrupted);
}

TEST_P(ScorerTest, TargetsAreReadInTheirOrder) {
  const at::Tensor h_TD = forward(*model_, testing::pack_of({{1, 2, 3}, {4, 5}}, false));
  const std::vector<Target> targets = {{4, 9}, {0, 3}, {4, 1}, {2, 63}, {0, 3}};
  const auto results = read_targets(*model_, h_TD, targets);
  const at::Tensor log_p = log_probabilities(*model_, h_TD, std::vector<int32_t>{0, 2, 4});
  const int64_t row_of[] = {0, -1, 1, -1, 2};
  for (size_t i = 0; i < targets.size(); ++i)
    EXPECT_NEAR(results[i].logprob_nats, log_p[row_of[targets[i].row]][targets[i].token].item<double>(), 1e-5) << i;
}

TEST(Head, AVocabularyOfManyBlocksGivesTheSoftmaxOfAllOfIt) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    testing::RandomShape shape;
    shape.vocab = 5001;  // two blocks and a part
    const TestFolder folder;
    testing::write_random_model(folder.path(), shape, 1);
    const auto model = Model::open(folder.path(), {type, MatmulBackend::kOneDnn});
    at::manual_seed(3);
    const at::Tensor h_TD = at::randn({40, model->spec().hidden_size}) * 3;
    const at::Tensor log_p = model->head(h_TD).to(at::kDouble).log_softmax(-1);
    std::vector<Target> targets;
    for (int32_t row = 0; row < 40; ++row) {
      for (const int32_t token : {0, 2047, 2048, 4095, 4096, 5000}) targets.push_back({row, token});
      targets.push_back({row, static_cast<int32_t>(log_p[row].argmax().item<int64_t>())});
    }
    const auto results = read_targets(*model, h_TD, targets);
    int blocks[3] = {0, 0, 0};  // where the most likely tokens lie
    for (size_t i = 0; i < targets.size(); ++i) {
      const auto [row, token] = targets[i];
      EXPECT_NEAR(results[i].logprob_nats, log_p[row][token].item<double>(), 1e-5) << row << " " << token;
      const int64_t best = log_p[row].argmax().item<int64_t>();
      EXPECT_EQ(results[i].is_argmax, token == best) << row << " " << token;
      ++blocks[best / 2048];
    }
    for (const int count : blocks) EXPECT_GT(count, 0);
  }
}

TEST(Head, TheChosenOneOfTwoIsRead) {
  testing::RandomShape shape;
  shape.changes = {{"tie_word_embeddings", true}};
  const TestFolder folder;
  testing::write_random_model(folder.path(), shape, 1);
  const std::vector<int32_t> rows = {0, 1, 2};
  double first[2];
  for (const auto head : {Execution::Head::kStored, Execution::Head::kTied}) {
    Execution execution;
    execution.head = head;
    const auto model = Model::open(folder.path(), execution);
    const at::Tensor h_TD = forward(*model, testing::pack_of({{1, 2, 3}}, false)),
                     log_p = log_probabilities(*model, h_TD, rows);
    const std::vector<Target> targets = {{0, 5}, {1, 6}, {2, 7}};
    const auto results = read_targets(*model, h_TD, targets);
    for (size_t i = 0; i < targets.size(); ++i)
      EXPECT_NEAR(results[i].logprob_nats, log_p[static_cast<int64_t>(i)][targets[i].token].item<double>(), 1e-5);
    first[head == Execution::Head::kTied ? 1 : 0] = results[0].logprob_nats;
  }
  EXPECT_NE(first[0], first[1]);
}

TEST_P(ScorerTest, GeneratedTokensScoreAsTheyWereDrawn) {
  std::vector<Prompt> prompts = {{"a", {1, 2, 3}}, {"b", {1, 2, 3, 4, 5}}, {"c", {1, 2, 3}}, {"d", {9}}};
  GenerateOptions options;
  options.max_new_tokens = 9;
  options.samples = 2;
  options.sampling = {1.0, 0.9};
  const Intervention push =
      edit(R"({"op": "add_logit", "layers": [1], "experts": [1], "values": [3], "where": {"phase": "generated"}})");
  for (const Intervention* intervention : {static_cast<const Intervention*>(nullptr), &push}) {
    const GenerateResult result = generate(*model_, nullptr, prompts, options, intervention);
    requests_.clear();
    for (const GeneratedText& text : result.texts) {
      ASSERT_EQ(text.token_ids.size(), 9u);
      Request request;
      request.id = std::to_string(requests_.size());
      request.context = prompts[static_cast<size_t>(text.prompt)].ids;
      request.continuation = text.token_ids;
      requests_.push_back(request);
    }
    std::vector<const Intervention*> list;
    if (intervention != nullptr) list.push_back(intervention);
    const ScorerResult scored = run({}, list);
    const RunResult& scores = intervention == nullptr ? scored.base : scored.edited[0];
    for (size_t i = 0; i < requests_.size(); ++i)
      for (size_t j = 0; j < 9; ++j)
        EXPECT_NEAR(result.texts[i].token_logprobs_nats[j], scores.scores[i].token_logprobs_nats[j], 1e-5)
            << i << " " << j;
    EXPECT_EQ(result.receipt.tokens, scores.receipt.tokens);
  }
}

TEST_P(ScorerTest, GenerationRefusesWhatItCannotDo) {
  const std::vector<Prompt> prompts = {{"a", {1}}};
  const auto with = [&](auto&& change) {
    GenerateOptions options;
    options.max_new_tokens = 4;
    change(options);
    generate(*model_, nullptr, prompts, options);
  };
  EXPECT_NO_THROW(with([](GenerateOptions&) {}));
  EXPECT_THROW(with([](GenerateOptions& o) { o.max_new_tokens = 0; }), UsageError);
  EXPECT_THROW(with([](GenerateOptions& o) { o.samples = 0; }), UsageError);
  EXPECT_THROW(with([](GenerateOptions& o) { o.sampling.temperature = NAN; }), UsageError);
  EXPECT_THROW(with([](GenerateOptions& o) { o.sampling.top_p = 0; }), UsageError);
  EXPECT_THROW(with([](GenerateOptions& o) { o.stop = {"x"}; }), UsageError);
  EXPECT_THROW(with([](GenerateOptions& o) { o.max_length = 4; }), ModelMismatch);
  const std::vector<Prompt> outside = {{"a", {64}}};
  EXPECT_THROW(generate(*model_, nullptr, outside, {}), ModelMismatch);
  Intervention replay;
  replay.edits.emplace_back();
  ForceRoutes force;
  auto table = std::make_shared<RouteTable>(trace_rows(requests_, 256, 64));
  keep_in_memory(*table, {0, 1, 2}, 2);
  force.table = table;
  replay.edits[0].op = force;
  EXPECT_THROW(generate(*model_, nullptr, prompts, {}, &replay), ModelMismatch);
}

INSTANTIATE_TEST_SUITE_P(Families, ScorerTest, ::testing::Values("olmoe", "mixtral"));

}  // namespace
}  // namespace fare
