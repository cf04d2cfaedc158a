#include "fare/diagnosis/self_checks.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>

#include "fare/diagnosis/control_study_test.h"

namespace fare {
namespace {

std::string text_of(const std::vector<SelfCheck>& checks) { return self_checks_json(checks).dump(1); }

const SelfCheck& named(const std::vector<SelfCheck>& checks, const std::string& name) {
  for (const SelfCheck& check : checks)
    if (check.name == name) return check;
  throw std::runtime_error("no check " + name);
}

TEST(SelfChecks, HoldOnControlModelsInBothWeightModes) {
  for (const std::string weights : {"renormalised", "raw"}) {
    const ControlStudy control(small_control("X1", weights));
    const auto begin = std::chrono::steady_clock::now();
    const auto checks = run_self_checks(*control.measurer, {});
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    std::vector<std::string> names;
    for (const SelfCheck& check : checks) {
      names.push_back(check.name);
      EXPECT_TRUE(check.passed || !check.required) << weights << "\n" << text_of(checks);
    }
    EXPECT_EQ(names, (std::vector<std::string>{"replay identity", "null patch", "cached suffix", "batch invariance",
                                               "near-ties", "bit-equal repeat", "sum of softmax", "statistics"}));
    EXPECT_TRUE(all_required_passed(checks));
    EXPECT_EQ(named(checks, "null patch").value, 0);
    EXPECT_EQ(named(checks, "bit-equal repeat").value, 0);
    EXPECT_FALSE(named(checks, "near-ties").required);
    EXPECT_LT(named(checks, "batch invariance").value, 1e-5);
    // By the token, so that rounding in a deep model's long text is no fault.
    EXPECT_GE(named(checks, "batch invariance").limit, 1e-4);
    EXPECT_LE(named(checks, "batch invariance").limit, 1e-3);
    RecordProperty("seconds", std::to_string(seconds));
  }
}

TEST(SelfChecks, InBf16BatchingIsMeasuredWithoutALimit) {
  const ControlStudy control(small_control("X2"), at::kBFloat16);
  const auto checks = run_self_checks(*control.measurer, {});
  EXPECT_EQ(named(checks, "replay identity").limit, 2e-2);
  EXPECT_TRUE(named(checks, "batch invariance").passed);
  const OrderedJson json = self_checks_json(checks);
  EXPECT_TRUE(json[3].at("limit").is_null());
  EXPECT_NE(json[3].at("limit_reason"), "");
  EXPECT_TRUE(all_required_passed(checks)) << text_of(checks);

  // The same texts through the same weights in f32.
  const SelfCheck &routes = named(checks, "f32 top-k"), &scores = named(checks, "f32 scores");
  EXPECT_FALSE(routes.required || scores.required);
  EXPECT_GE(routes.value, 0);
  EXPECT_LT(routes.value, 0.2);
  EXPECT_GT(scores.value, 1e-5);
  EXPECT_LT(scores.value, 2);  // logits of this model reach a hundred, where bf16 rounds to halves
}

TEST(SelfChecks, AFailedRequiredCheckCountsAndAnAdvisoryOneDoesNot) {
  std::vector<SelfCheck> checks = {{"near-ties", false, 0.5, 0.01, "share of requests", false, "too many"}};
  EXPECT_TRUE(all_required_passed(checks));
  checks.push_back(
      {"replay identity", false, std::numeric_limits<double>::quiet_NaN(), 1e-4, "nats", true, "not finite"});
  EXPECT_FALSE(all_required_passed(checks));
  const OrderedJson json = self_checks_json(checks);
  EXPECT_EQ(json[0].at("value"), 0.5);
  EXPECT_TRUE(json[1].at("value").is_null());
  EXPECT_EQ(json[1].at("value_reason"), "not finite");
}

}  // namespace
}  // namespace fare
