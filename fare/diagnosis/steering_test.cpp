#include "fare/diagnosis/steering.h"

#include <gtest/gtest.h>

#include "fare/diagnosis/control_study_test.h"
#include "fare/diagnosis/replay.h"

namespace fare {
namespace {

Items all_pairs(const Study& study) {
  Items items;
  items.part = "steering";
  for (size_t i = 0; i < study.pairs.size(); ++i) items.pairs.push_back(static_cast<int64_t>(i));
  return items;
}

// Layer 0 sees the embeddings: the difference there is that of the embeddings of the words that differ.
TEST(Steering, TheDifferenceBeforeTheFirstLayerIsThatOfEmbeddings) {
  const ControlStudy control(small_control("X1"));
  const std::vector<int64_t> pairs = {0, 1, 2}, layers = {0, 1};
  const auto found = mean_differences(*control.measurer, pairs, layers);
  ASSERT_EQ(found.size(), 2u);
  at::Tensor expected = at::zeros_like(found[0]);
  for (const int64_t i : pairs) {
    const EncodedPair& pair = control.study.pairs[static_cast<size_t>(i)];
    const auto mean_of = [&](const Request& request, const std::vector<int32_t>& positions) {
      std::vector<int32_t> all = request.context, ids;
      all.insert(all.end(), request.continuation.begin(), request.continuation.end());
      for (const int32_t p : positions) ids.push_back(all[static_cast<size_t>(p)]);
      return control.model->embed(ids).mean(0);
    };
    expected +=
        (mean_of(pair.stereo, pair.alignment.differs_stereo) - mean_of(pair.anti, pair.alignment.differs_anti)) / 3.0;
  }
  EXPECT_GT(expected.abs().max().item<float>(), 0);
  EXPECT_TRUE(at::allclose(found[0], expected, 1e-5, 1e-6));
  EXPECT_FALSE(at::allclose(found[1], expected, 1e-2, 1e-3));
}

TEST(Steering, NothingAddedIsTheBaseRunAndMoreIsNot) {
  const ControlStudy control(small_control("X1"));
  const Items items = all_pairs(control.study);
  const Outcomes base = control.measurer->base(items);
  const at::Tensor vector_D = mean_differences(*control.measurer, items.pairs, std::vector<int64_t>{1}).front();
  PassOptions idle, steered;
  idle.added_D[1] = at::zeros_like(vector_D);
  steered.added_D[1] = vector_D;
  const Outcomes same = pass_outcomes(*control.measurer, items, idle),
                 other = pass_outcomes(*control.measurer, items, steered);
  double largest = 0;
  for (size_t i = 0; i < base.pairs.size(); ++i) {
    EXPECT_NEAR(same.pairs[i].sum, base.pairs[i].sum, 1e-4);
    largest = std::max(largest, std::abs(other.pairs[i].sum - base.pairs[i].sum));
  }
  EXPECT_GT(largest, 1e-2);
}

TEST(Steering, TheBaselineHasTheDoseOfTheCandidateAndIsReadBackFromTheStore) {
  const ControlStudy control(small_control("X1"));
  DiagnosisOptions options;
  options.bootstrap_replicates = options.permutations = 300;
  options.neutral_tokens = 400;
  TestOutcomes test;
  test.base = control.measurer->base(all_pairs(control.study));
  test.pairs = control.study.pairs_in(SplitPart::kTest);
  const std::vector<int> signs(control.study.axes.size(), 1);
  SearchCandidate candidate;
  candidate.name = "asked";
  candidate.dose = Dose{0.004, 0};
  Store store(control.folder.path() / "rows.sqlite");
  Measurer first(*control.scorer, control.study, &store, control.progress),
      second(*control.scorer, control.study, &store, control.progress);
  const Baseline found = steering_baseline(first, candidate, test, signs, options);
  ASSERT_TRUE(found.shift) << found.reason;
  EXPECT_EQ(found.tried, 4) << "two layers, two signs";
  EXPECT_TRUE(*found.dose_matched);
  EXPECT_NEAR(*found.dose_nats, 0.004, 0.0002);
  Measurer again(*control.scorer, control.study, &store, control.progress);
  const Baseline read = steering_baseline(again, candidate, test, signs, options);
  EXPECT_EQ(read.detail, found.detail);
  EXPECT_EQ(read.shift->value_pp, found.shift->value_pp);
  candidate.dose = Dose{0, 0};
  const Baseline none = steering_baseline(second, candidate, test, signs, options);
  EXPECT_FALSE(none.shift);
  EXPECT_NE(none.reason.find("dose"), std::string::npos);
}

}  // namespace
}  // namespace fare
