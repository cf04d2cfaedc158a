// What must hold however short the training was: the added experts are all that stage 2 changes.
#include "fare/training/trained_model.h"

#include <gtest/gtest.h>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/test_folder.h"
#include "fare/models/model.h"
#include "fare/scoring/scorer.h"
#include "fare/scoring/text_encoder.h"
#include "fare/tokenizer/tokenizer.h"

namespace fare {
namespace {

TrainOptions short_options(const std::string& weights) {
  TrainOptions options;
  options.small = true;
  options.weights = weights;
  options.steps = 3;
  return options;
}

std::vector<double> log_probabilities_of(const std::filesystem::path& folder, const Intervention* intervention) {
  Execution execution;
  execution.backend = MatmulBackend::kOneDnn;
  const auto model = Model::open(folder, execution);
  const auto tokenizer = Tokenizer::open(folder);
  const TextEncoder encoder(*tokenizer);
  const Scorer scorer(*model, ScorerOptions{});
  std::vector<Request> requests;
  for (const char* text :
       {"the hill1 ka01 lo01 seems warm001", "the vale2 ka03 lo02 seems cold003", "the part1 ka02 lo05 makes bread"})
    requests.push_back(encoder.whole_text(text, text));
  std::vector<const Intervention*> asked;
  if (intervention != nullptr) asked.push_back(intervention);
  const ScorerResult result = scorer.run(requests, asked, UnitObserver{}, Progress{});
  std::vector<double> values;
  for (const Score& score : (intervention != nullptr ? result.edited.front() : result.base).scores)
    values.insert(values.end(), score.token_logprobs_nats.begin(), score.token_logprobs_nats.end());
  return values;
}

class Modes : public testing::TestWithParam<std::string> {};

TEST_P(Modes, MaskingTheAddedExpertsGivesTheFirstStageBackBitForBit) {
  const TestFolder folder("trained-" + GetParam());
  train_model(short_options(GetParam()), folder.path(), {});
  Intervention mask;
  mask.name = "added experts";
  mask.edits.push_back({Mask{{14, 15}, Mask::Mode::kRefill, false}, {1, 2}, {}});
  // An edit that changes every row: only changed rows are computed again, and the last bits of a product may depend on
  // how many rows it has.
  mask.edits.push_back({Temperature{2}, {0}, {}});
  const std::vector<double> before = log_probabilities_of(folder.path() / "stage1", &mask),
                            masked = log_probabilities_of(folder.path(), &mask),
                            trained = log_probabilities_of(folder.path(), nullptr);
  ASSERT_FALSE(before.empty());
  EXPECT_EQ(before, masked);
  EXPECT_NE(before, trained);
}

TEST_P(Modes, EqualOptionsGiveEqualBytes) {
  const TestFolder one("trained-one-" + GetParam()), two("trained-two-" + GetParam());
  train_model(short_options(GetParam()), one.path(), {});
  train_model(short_options(GetParam()), two.path(), {});
  for (const char* file :
       {"model.safetensors", "stage1/model.safetensors", "world.json", "pairs.jsonl", "neutral.jsonl"})
    EXPECT_EQ(read_file(one.path() / file), read_file(two.path() / file)) << file;
}

INSTANTIATE_TEST_SUITE_P(Weights, Modes, testing::Values("renormalised", "raw"));

TEST(Training, RefusesWhatItDoesNotKnow) {
  const TestFolder folder("trained-refused");
  TrainOptions options = short_options("renormalised");
  options.id = "T-NONE";
  EXPECT_THROW(train_model(options, folder.path(), {}), UsageError);
  options = short_options("sparse");
  EXPECT_THROW(train_model(options, folder.path(), {}), UsageError);
  write_file(folder.path() / "mine.txt", "something else");
  EXPECT_THROW(train_model(short_options("raw"), folder.path(), {}), UsageError);
}

}  // namespace
}  // namespace fare
