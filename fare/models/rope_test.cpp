// Frequencies against published settings (V2-Lite and GPT-OSS configurations of YaRN, dynamic scaling), worked out with
// independent code; the goldens cover every variant inside a model.
#include "fare/models/rope.h"

#include <gtest/gtest.h>

#include "fare/models/rope_config.h"
#include "fare/models/test_models.h"

namespace fare {
namespace {

using namespace testing;

void expect_frequencies(const RopeSpec& spec, const std::map<int64_t, double>& expected) {
  const at::Tensor found = rope_frequencies(spec, 1).inverse_d2;
  for (const auto& [j, value] : expected) EXPECT_NEAR(found[j].item<double>() / value, 1, 2e-6) << "f_" << j;
}

RopeSpec read(const Json& config, int64_t dim = 16) {
  const Json copy = config;
  const ConfigReader reader(copy, "config.json");
  return read_rope(reader, dim, 10000, 128);
}

TEST(Rope, YarnOfDeepSeekV2Lite) {
  RopeSpec spec{.type = RopeSpec::Type::kYarn, .theta = 1e4, .dim = 64, .max_positions = 163840, .factor = 40};
  spec.original_max_positions = 4096;
  spec.mscale = spec.mscale_all_dim = 0.707;
  expect_frequencies(spec, {{0, 1},
                            {9, 0.07498942},
                            {10, 0.05623413},
                            {11, 0.03900693},
                            {16, 0.0055},
                            {22, 1.7782794e-4},
                            {23, 3.3338036e-5},
                            {31, 3.3338036e-6}});
  EXPECT_DOUBLE_EQ(rope_frequencies(spec, 1).attention_factor, 1);
  spec.mscale_all_dim = std::nullopt;  // both or neither: one alone counts for nothing
  EXPECT_NEAR(rope_frequencies(spec, 1).attention_factor, 1 + 0.1 * std::log(40.0), 1e-12);
}

TEST(Rope, YarnOfGptOss) {
  RopeSpec spec{.type = RopeSpec::Type::kYarn, .theta = 150000, .dim = 64, .max_positions = 131072, .factor = 32};
  spec.original_max_positions = 4096;
  spec.truncate = false;
  expect_frequencies(spec, {{8, 0.05081327},
                            {9, 0.03170570},
                            {12, 0.00679496},
                            {16, 4.5648392e-4},
                            {17, 1.2931870e-4},
                            {18, 3.8308812e-5},
                            {31, 3.0235114e-7}});
  EXPECT_NEAR(rope_frequencies(spec, 1).attention_factor, 1.3465736, 1e-7);
}

TEST(Rope, DynamicRaisesTheBaseBeyondTheTrainedLength) {
  const RopeSpec spec{.type = RopeSpec::Type::kDynamic, .theta = 1e4, .dim = 64, .max_positions = 4096, .factor = 2};
  const double base = 31082.2367;
  const at::Tensor longer = rope_frequencies(spec, 8192).inverse_d2;
  for (const int64_t j : {1, 5, 31}) EXPECT_NEAR(longer[j].item<double>() * std::pow(base, j / 32.0), 1, 1e-6);
  const RopeSpec plain{.theta = 1e4, .dim = 64, .max_positions = 4096};
  EXPECT_TRUE(at::equal(rope_frequencies(spec, 4096).inverse_d2, rope_frequencies(plain, 1).inverse_d2));
}

TEST(Rope, LongropeChangesItsListAfterTheOriginalLength) {
  RopeSpec spec{.type = RopeSpec::Type::kLongrope, .theta = 100, .dim = 4, .max_positions = 64, .factor = 4};
  spec.original_max_positions = 16;
  spec.short_factor = {1, 2};
  spec.long_factor = {4, 8};
  // g = (1, 10)
  for (const auto& [length, first, second] : {std::tuple{16, 1.0, 1 / 20.0}, {17, 0.25, 1 / 80.0}}) {
    const RopeFrequencies found = rope_frequencies(spec, length);
    EXPECT_NEAR(found.inverse_d2[0].item<double>(), first, 1e-7) << "length " << length;
    EXPECT_NEAR(found.inverse_d2[1].item<double>(), second, 1e-7) << "length " << length;
    EXPECT_NEAR(found.attention_factor, std::sqrt(1 + std::log(4.0) / std::log(16.0)), 1e-12);
  }
}

TEST(Rope, RotatesPairsInBothStyles) {
  // One pair turned by a right angle, the other not at all.
  Rotary rotary{at::tensor({0.0f, 1.0f}).view({1, 2}), at::tensor({1.0f, 0.0f}).view({1, 2}), false};
  const at::Tensor x = at::tensor({1.0f, 2.0f, 3.0f, 4.0f}).view({1, 1, 4});
  EXPECT_TRUE(at::equal(rotate(x, rotary).flatten(), at::tensor({-3.0f, 2.0f, 1.0f, 4.0f})));
  rotary.interleaved = true;
  EXPECT_TRUE(at::equal(rotate(x, rotary).flatten(), at::tensor({-2.0f, 1.0f, 3.0f, 4.0f})));
}

TEST(Rope, DifferentiableAndFusedRotationAgree) {
  at::manual_seed(1);
  const at::Tensor x = at::randn({5, 3, 8});
  for (const bool interleaved : {false, true}) {
    Rotary rotary = make_rotary({.theta = 100, .dim = 8, .max_positions = 64}, {0, 3, 1, 9, 40}, {});
    rotary.interleaved = interleaved;
    EXPECT_TRUE(near(rotate(x, rotary), rotate(x.clone().requires_grad_(true), rotary).detach(), 1e-7));
  }
}

TEST(Rope, BothSpellingsAreRead) {
  const Json old_style = {{"rope_theta", 500.0}, {"rope_scaling", {{"type", "linear"}, {"factor", 3}}}};
  const Json new_style = {{"rope_parameters", {{"rope_type", "linear"}, {"factor", 3.0}, {"rope_theta", 500.0}}},
                          {"rope_theta", 7.0},
                          {"rope_scaling", {{"type", "dynamic"}, {"factor", 9}}}};
  for (const Json& config : {old_style, new_style}) {
    const RopeSpec spec = read(config);
    EXPECT_EQ(spec.type, RopeSpec::Type::kLinear);
    EXPECT_EQ(spec.factor, 3);
    EXPECT_EQ(spec.theta, 500);
  }
  EXPECT_EQ(read({{"rope_scaling", nullptr}}).type, RopeSpec::Type::kDefault);
  EXPECT_EQ(read({{"rope_scaling", nullptr}}).theta, 10000);
  EXPECT_EQ(read({{"rope_scaling", {{"type", "yarn"}, {"factor", nullptr}, {"original_max_position_embeddings", 32}}}})
                .factor,
            4);
  EXPECT_EQ(
      read({{"rope_scaling", {{"type", "yarn"}, {"factor", 2}, {"beta_fast", 0}, {"beta_slow", nullptr}}}}).beta_fast,
      32);
  EXPECT_EQ(*read({{"original_max_position_embeddings", 64}, {"rope_scaling", {{"type", "yarn"}, {"factor", 2}}}})
                 .original_max_positions,
            64);
}

TEST(Rope, WhatWouldChangeTheNumbersSilentlyIsRefusedByItsKey) {
  const auto message = [](const Json& scaling, const Json& top = Json::object(), int64_t dim = 16) {
    Json config = top;
    config["rope_scaling"] = scaling;
    return message_of<FormatError>([&] { read(config, dim); });
  };
  EXPECT_HAS(message({{"rope_type", "mrope"}}), "mrope");
  EXPECT_HAS(message({{"rope_type", "mrope"}}), "longrope");  // what is accepted
  EXPECT_HAS(message({{"type", "linear"}}), "factor");
  EXPECT_HAS(message({{"type", "linear"}, {"factor", 0}}), "factor");
  EXPECT_HAS(message({{"type", "yarn"}}), "factor");
  EXPECT_HAS(message({{"type", "linear"}, {"factor", 2}, {"partial_rotary_factor", 0.5}}), "partial_rotary_factor");
  EXPECT_HAS(message({{"rope_type", "default"}}, {{"partial_rotary_factor", 0.5}}), "partial_rotary_factor");
  EXPECT_HAS(message({{"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 1}, {"high_freq_factor", 4}}),
             "original_max_position_embeddings");
  EXPECT_HAS(message({{"rope_type", "llama3"},
                      {"factor", 8},
                      {"low_freq_factor", 4},
                      {"high_freq_factor", 4},
                      {"original_max_position_embeddings", 64}}),
             "low_freq_factor");
  EXPECT_HAS(message({{"rope_type", "longrope"}, {"short_factor", {1, 2}}, {"long_factor", {1, 2}}}), "short_factor");
  const std::vector<double> ones(8, 1.0), zeros(8, 0.0);
  EXPECT_HAS(message({{"rope_type", "longrope"}, {"short_factor", ones}, {"long_factor", zeros}}), "long_factor");
  EXPECT_HAS(message({{"rope_type", "yarn"}, {"factor", 2}, {"original_max_position_embeddings", 32}},
                     {{"original_max_position_embeddings", 64}}),
             "contradicts");
  EXPECT_HAS(message({{"full_attention", {{"rope_type", "default"}}}}), "full_attention");
  EXPECT_HAS(message({{"rope_type", "default"}}, {{"rope_theta", -1.0}}), "rope_theta");
  EXPECT_HAS(message({{"rope_type", "default"}}, Json::object(), 15), "even");
}

}  // namespace
}  // namespace fare
