#include "fare/diagnosis/margin_spread.h"

#include <gtest/gtest.h>

namespace fare {
namespace {

// Pair i has the margin i + 1, null n the margin -10 (n + 1).
class Counted : public OutcomeSource {
 public:
  Counted() {
    study_.pairs.resize(5);
    study_.pair_splits.part = {SplitPart::kTrain, SplitPart::kTrain, SplitPart::kTrain, SplitPart::kValidation,
                               SplitPart::kTest};
    for (const auto& [of, kind] : {std::pair{int64_t{0}, PairKind::kNullNeutral},
                                   {4, PairKind::kNullNeutral},
                                   {1, PairKind::kNullNeutral},
                                   {2, PairKind::kNullParaphrase},
                                   {-1, PairKind::kNullParaphrase}}) {
      study_.nulls.emplace_back();
      study_.nulls.back().pair.kind = kind;
      study_.null_of.push_back(of);
    }
  }
  const Study& study() const override { return study_; }
  const RoutedModel& model() const override { return model_; }
  const Progress& progress() const override { return progress_; }
  std::vector<Outcomes> evaluate(const Items& items, std::span<const Intervention* const>) override {
    Outcomes one;
    for (const int64_t i : items.pairs) one.pairs.push_back({static_cast<double>(i + 1), 0, {}});
    for (const int64_t n : items.nulls) one.pairs.push_back({static_cast<double>(-10 * (n + 1)), 0, {}});
    return {one};
  }
  std::vector<Dose> doses(std::span<const Intervention* const>, int64_t) override { return {}; }

 private:
  Study study_;
  RoutedModel model_;
  Progress progress_;
};

TEST(MarginSpread, SetsNullsOfTrainBesideItsPairs) {
  Counted source;
  const auto spreads = measure_margin_spread(source);
  ASSERT_EQ(spreads.size(), 4u);
  EXPECT_EQ(spreads[0].margins, (std::vector<double>{1, 2, 3}));   // pairs of validation and test are not looked at
  EXPECT_EQ(spreads[1].margins, (std::vector<double>{-10, -30}));  // nor the null of one of them
  EXPECT_TRUE(spreads[2].margins.empty());
  EXPECT_EQ(spreads[3].margins, (std::vector<double>{-40}));

  const OrderedJson json = margin_spread_json(spreads);
  EXPECT_EQ(json[0]["mean_nats"], 2);
  EXPECT_EQ(json[0]["sd_nats"], 1);
  EXPECT_EQ(json[1]["mean_nats"], -20);
  EXPECT_EQ(json[1]["size_quantiles_nats"], (std::vector<double>{15, 20, 25, 29}));  // by hand: 10 + 20 q
  EXPECT_TRUE(json[2]["mean_nats"].is_null());
  EXPECT_EQ(json[2]["mean_nats_reason"], "no such pairs");
  EXPECT_EQ(json[3]["mean_nats"], -40);
  EXPECT_TRUE(json[3]["sd_nats"].is_null());  // of one pair
}

}  // namespace
}  // namespace fare
