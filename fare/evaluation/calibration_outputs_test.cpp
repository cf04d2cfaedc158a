#include "fare/evaluation/calibration_outputs.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "fare/core/error.h"
#include "fare/models/experts.h"
#include "fare/models/test_models.h"
#include "fare/scoring/scope.h"
#include "fare/scoring/scorer.h"

namespace fare {
namespace {

using testing::write_text;

// Tokens a to f 0 to 5, <s> 6.
std::unique_ptr<Tokenizer> letters() {
  return Tokenizer::from_json(R"({"version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 6, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
    "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
              "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
              "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "f": 5, "<s>": 6}, "merges": []}})",
                              "letters");
}

constexpr const char* kTexts = "{\"text\": \"abcdefabcdef\"}\n{\"text\": \"fedcbaab\"}\n{\"text\": \"ccdbea\"}\n";
const std::vector<std::vector<int32_t>> kFed = {
    {6, 0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4}, {6, 5, 4, 3, 2, 1, 0, 0}, {6, 2, 2, 3, 1, 4}};

class CalibrationOutputs : public ::testing::Test {
 protected:
  CalibrationOutputs() {
    testing::RandomShape shape;
    shape.layers = 3;
    shape.experts = 6;
    testing::write_random_model(folder_.path(), shape, 5);
    model_ = Model::open(folder_.path(), {});
    write_text(folder_.path() / "neutral.jsonl", kTexts);
  }

  Intervention mask(const std::string& mode, int64_t layer, const std::string& experts) const {
    const auto file = folder_.path() / (mode + ".json");
    write_text(
        file,
        fmt::format(
            R"({{"format": "fare-intervention/1", "name": "m", "edits": [{{"op": "mask", "layers": [{}], "experts": {},
        "mode": "{}", "calibration": "neutral.jsonl"}}]}})",
            layer, experts, mode));
    return Intervention::read(file);
  }
  void take(Intervention& intervention) const {
    Intervention* one = &intervention;
    take_calibration_outputs({&one, 1}, *model_, *tokenizer_, 0, 6);
  }
  static const Mask& mask_of(const Intervention& intervention) { return std::get<Mask>(intervention.edits[0].op); }

  TestFolder folder_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Tokenizer> tokenizer_ = letters();
};

// Inputs and route of one layer, text by text.
struct Seen {
  at::Tensor x_TD, h_TD;
  Route route;
};
Seen see(const Model& model, const std::vector<int32_t>& ids, int64_t layer) {
  Seen seen;
  ForwardOptions options;
  options.tap = [&](Site site, int64_t l, const at::Tensor& value) {
    if (site == Site::kRouterInput && l == layer) seen.x_TD = value;
  };
  options.on_decision = [&](int64_t l, const at::Tensor&, const Decision& decision) {
    if (l == layer) seen.route = decision.before;
  };
  const Sequence sequence{ids, {}, 0};
  seen.h_TD = forward(model, pack_sequences({&sequence, 1}).pack, options);
  return seen;
}
at::Tensor output(const Model& model, int64_t layer, int32_t expert, const at::Tensor& x_TD) {
  return expert_output(x_TD, model.family().expert(layer, expert), model.execution().backend).to(at::kFloat);
}

TEST_F(CalibrationOutputs, AreThoseOnEveryToken) {
  Intervention mean = mask("mean", 1, "[2, 4]"), resample = mask("resample", 1, "[2, 4]");
  take(mean);
  take(resample);
  for (const int32_t expert : {2, 4}) {
    std::vector<at::Tensor> all;
    for (const auto& ids : kFed) {
      const Seen seen = see(*model_, ids, 1);
      all.push_back(output(*model_, 1, expert, seen.x_TD));
    }
    const at::Tensor expected_ND = at::cat(all);
    EXPECT_TRUE(at::allclose(mask_of(resample).stand_ins->outputs_ND.at(1).at(expert), expected_ND, 1e-5, 1e-6));
    EXPECT_TRUE(
        at::allclose(mask_of(mean).stand_ins->outputs_ND.at(1).at(expert), expected_ND.mean(0, true), 1e-5, 1e-6));
  }
}

// In the last layer, by hand: h - w E(x) + w stand-in.
TEST_F(CalibrationOutputs, TakeThePlaceOfTheExpertsOwn) {
  for (const std::string mode : {"mean", "resample"}) {
    Intervention intervention = mask(mode, 2, "[1, 3]");
    take(intervention);
    const std::vector<int32_t> ids = {6, 4, 0, 3, 3, 1, 5, 2, 0, 0};
    const Seen base = see(*model_, ids, 2);
    at::Tensor expected = base.h_TD.clone();
    int64_t replaced = 0;
    for (const int32_t expert : {1, 3}) {
      const at::Tensor own = output(*model_, 2, expert, base.x_TD);
      for (int64_t t = 0; t < own.size(0); ++t)
        for (int64_t k = 0; k < 2; ++k) {
          if (base.route.ids_TK[t][k].item<int32_t>() != expert) continue;
          ++replaced;
          const float* drawn = mask_of(intervention).stand_ins->drawn(2, expert, t);
          const at::Tensor stand_in = at::tensor(at::ArrayRef<float>(drawn, static_cast<size_t>(own.size(1))));
          expected[t] += base.route.weights_TK[t][k].item<float>() * (stand_in - own[t]);
        }
    }
    ASSERT_GT(replaced, 0);
    const Sequence sequence{ids, {}, 0};
    const Pack pack = pack_sequences({&sequence, 1}).pack;
    const LayerEdits edits = {{2, {ScopedEdit{&intervention.edits[0], {}, {}, {}}}}};
    Receipt receipt;
    ForwardOptions options;
    options.edits = &edits;
    options.receipt = &receipt;
    EXPECT_TRUE(testing::near(forward(*model_, pack, options), expected, 1e-5)) << mode;
    EXPECT_TRUE(receipt.layers.at(2).changed);
    EXPECT_EQ(receipt.layers.at(2).experts_removed, (std::set<int32_t>{1, 3}));
    EXPECT_EQ(receipt.layers.at(2).tokens_without_experts, 0);
  }
}

TEST_F(CalibrationOutputs, AreTheSameHoweverTheRunIsLaidOut) {
  Intervention mean = mask("mean", 0, "[0, 1, 5]"), resample = mask("resample", 1, "[0, 1, 2]");
  take(mean);
  take(resample);
  const std::vector<const Intervention*> both = {&mean, &resample};
  std::vector<Request> requests;
  for (int32_t i = 0; i < 12; ++i)
    requests.push_back({fmt::format("r{}", i), {6, i % 2, (i / 2) % 3, 4}, {i % 5, (i + 2) % 6, 1}});
  const auto run = [&](ScorerOptions options) { return Scorer(*model_, options).run(requests, both); };
  ScorerOptions plain;
  plain.resume = plain.share_prefixes = false;
  const ScorerResult expected = run(plain);
  for (const bool share : {false, true})
    for (const bool resume : {false, true})
      for (const bool batch : {false, true})
        for (const int64_t rows : {8, 4096}) {
          ScorerOptions options;
          options.share_prefixes = share, options.resume = resume, options.batch_edits = batch,
          options.unit_rows = rows;
          const ScorerResult found = run(options);
          for (size_t i = 0; i < both.size(); ++i)
            for (size_t r = 0; r < requests.size(); ++r)
              ASSERT_NEAR(found.edited[i].scores[r].logprob_nats, expected.edited[i].scores[r].logprob_nats, 1e-5)
                  << share << resume << batch << rows << ", intervention " << i << ", request " << r;
          for (size_t i = 0; i < both.size(); ++i)
            for (const auto& [layer, counted] : expected.edited[i].receipt.layers)
              EXPECT_EQ(found.edited[i].receipt.layers.at(layer).topk_changed, counted.topk_changed);
        }
  for (size_t i = 0; i < both.size(); ++i)
    EXPECT_GT(std::abs(expected.edited[i].scores[0].logprob_nats - expected.base.scores[0].logprob_nats), 1e-4);
}

TEST_F(CalibrationOutputs, TheTextBelongsToTheIntervention) {
  const std::string before = mask("mean", 1, "[2]").sha256;
  EXPECT_EQ(mask("mean", 1, "[2]").sha256, before);
  write_text(folder_.path() / "neutral.jsonl", "{\"text\": \"a\"}\n");
  EXPECT_NE(mask("mean", 1, "[2]").sha256, before);
  Intervention other = mask("resample", 1, "[0]");
  write_text(folder_.path() / "neutral.jsonl", "{\"text\": \"a\"}\n{\"text\": 3}\n");
  EXPECT_NE(message_of<FormatError>([&] { take(other); }).find("neutral.jsonl: line 2"), std::string::npos);
  write_text(folder_.path() / "neutral.jsonl", "");
  EXPECT_NE(message_of<FormatError>([&] { take(other); }).find("neutral.jsonl"), std::string::npos);
  std::filesystem::remove(folder_.path() / "neutral.jsonl");
  EXPECT_NE(message_of<IoError>([&] { mask("mean", 1, "[2]"); }).find("neutral.jsonl"), std::string::npos);
}

}  // namespace
}  // namespace fare
