// Forward passes against transformers: tests/golden/models/README.md says how the expected values were made.
#include <gtest/gtest.h>

#include <map>

#include "fare/models/test_models.h"

namespace fare {
namespace {

using namespace testing;

constexpr double kTolerance = 1e-4;  // of the largest magnitude
constexpr double kNearTie = 1e-5;    // of selection scores

struct Seen {
  at::Tensor logits;
  std::map<int64_t, at::Tensor> hidden;  // after layer l
  std::map<int64_t, at::Tensor> router_logits;
  std::map<int64_t, Route> routes;
};

Seen run(const Model& model, const Pack& pack) {
  Seen seen;
  ForwardOptions options;
  options.tap = [&](Site site, int64_t layer, const at::Tensor& value) {
    if (site == Site::kLayerInput && layer > 0) seen.hidden[layer - 1] = value.clone();
  };
  options.on_decision = [&](int64_t layer, const at::Tensor& logits, const Decision& decision) {
    seen.router_logits[layer] = logits.clone();
    seen.routes[layer] = decision.after;
  };
  const at::Tensor h = forward(model, pack, options);
  seen.hidden[model.spec().num_layers - 1] = h;
  seen.logits = model.head(h);
  return seen;
}

// Rows whose choice is decided by less than kNearTie are skipped; returns their number.
int64_t expect_same_choice(const Route& route, int64_t first_row, const at::Tensor& ids, const at::Tensor& weights,
                           const at::Tensor& gap_T) {
  const int64_t num_rows = ids.size(0), k = ids.size(1);
  int64_t near_ties = 0;
  for (int64_t t = 0; t < num_rows; ++t) {
    if (gap_T[t].item<float>() < kNearTie) {
      ++near_ties;
      continue;
    }
    std::map<int32_t, float> expected, found;
    for (int64_t slot = 0; slot < k; ++slot) {
      expected[ids[t][slot].item<int32_t>()] = weights[t][slot].item<float>();
      found[route.ids_TK[first_row + t][slot].item<int32_t>()] = route.weights_TK[first_row + t][slot].item<float>();
    }
    for (const auto& [expert, weight] : expected) {
      EXPECT_TRUE(found.contains(expert)) << "row " << t << " lacks expert " << expert;
      EXPECT_NEAR(found[expert], weight, kTolerance) << "row " << t << " expert " << expert;
    }
  }
  return near_ties;
}

// Distance of the k-th from the (k+1)-th selection value: stored where a family does not choose by its scores.
at::Tensor gap_of(const SafetensorsFile& expected, const std::string& sequence, const std::string& layer, int64_t k) {
  if (expected.has(sequence + ".gap." + layer)) return tensor_of(expected, sequence + ".gap." + layer);
  const at::Tensor logits = tensor_of(expected, sequence + ".router_logits." + layer);
  if (k == logits.size(1)) return at::ones({logits.size(0)});
  const at::Tensor scores = std::get<0>(logits.softmax(-1).sort(-1, true));
  return scores.select(1, k - 1) - scores.select(1, k);
}

class Golden : public ::testing::TestWithParam<std::string> {};

TEST_P(Golden, AgreesWithTheReferenceAndWouldSeeEachMistake) {
  const Json one = golden_case(GetParam());
  const CaseFolder folder(one);
  const auto model = Model::open(folder.path(), {});
  const SafetensorsFile expected(golden_folder() / "expected" / (GetParam() + ".safetensors"));

  std::vector<std::vector<int32_t>> sequences;
  for (size_t s = 0; s < one.at("lengths").size(); ++s)
    sequences.push_back(copy_values<int32_t>(expected.tensor(std::to_string(s) + ".input_ids")));
  const Seen seen = run(*model, pack_of(sequences));

  int64_t first = 0;
  double worst = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    SCOPED_TRACE("sequence " + std::to_string(s));
    const int64_t n = static_cast<int64_t>(sequences[s].size());
    const auto want = [&](const std::string& name) { return tensor_of(expected, std::to_string(s) + "." + name); };
    for (int64_t l = 0; l < model->spec().num_layers; ++l) {
      SCOPED_TRACE("layer " + std::to_string(l));
      const std::string layer = std::to_string(l);
      ASSERT_EQ(model->spec().is_moe[static_cast<size_t>(l)], expected.has(std::to_string(s) + ".ids." + layer));
      if (model->spec().is_moe[static_cast<size_t>(l)]) {
        EXPECT_TRUE(near(seen.router_logits.at(l).narrow(0, first, n), want("router_logits." + layer), kTolerance));
        const at::Tensor ids = want("ids." + layer);
        EXPECT_EQ(expect_same_choice(seen.routes.at(l), first, ids, want("weights." + layer),
                                     gap_of(expected, std::to_string(s), layer, ids.size(1))),
                  0)
            << "near-ties in a golden: choose another seed";
      }
      EXPECT_TRUE(near(seen.hidden.at(l).narrow(0, first, n), want("hidden." + layer), kTolerance));
    }
    const at::Tensor logits = seen.logits.narrow(0, first, n);
    EXPECT_TRUE(near(logits, want("logits"), kTolerance));
    worst = std::max(worst, distance(logits, want("logits")));
    first += n;
  }
  RecordProperty("largest_relative_error", std::to_string(worst));
  for (const auto& [label, how_far] : one.at("mistakes").items()) {
    EXPECT_GT(how_far.get<double>(), 100 * kTolerance) << "the mistake '" << label << "' would hardly be seen";
    EXPECT_GT(how_far.get<double>(), 100 * worst) << label;
  }
}

std::vector<std::string> names() {
  std::vector<std::string> result;
  for (const Json& one : golden_cases()) result.push_back(one.at("name"));
  return result;
}

INSTANTIATE_TEST_SUITE_P(Models, Golden, ::testing::ValuesIn(names()),
                         [](const auto& one) { return std::string(one.param); });

TEST(Goldens, EverySequenceAloneGivesWhatItGivesInAPack) {
  std::vector<std::string> cases = first_cases();
  cases.insert(cases.end(), {"mixtral_dynamic", "mixtral_longrope"});
  for (const std::string& name : cases) {
    const Json one = golden_case(name);
    const CaseFolder folder(one);
    const auto model = Model::open(folder.path(), {});
    const SafetensorsFile expected(golden_folder() / "expected" / (name + ".safetensors"));
    std::vector<std::vector<int32_t>> sequences;
    for (size_t s = 0; s < one.at("lengths").size(); ++s)
      sequences.push_back(copy_values<int32_t>(expected.tensor(std::to_string(s) + ".input_ids")));
    const at::Tensor together = run(*model, pack_of(sequences)).logits;
    int64_t first = 0;
    for (const auto& ids : sequences) {
      const at::Tensor alone = run(*model, pack_of({ids})).logits;
      EXPECT_TRUE(near(alone, together.narrow(0, first, alone.size(0)), 1e-5)) << name << ", length " << ids.size();
      first += alone.size(0);
    }
  }
}

}  // namespace
}  // namespace fare
