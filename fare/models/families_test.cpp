// What holds for every family, on one small checkpoint of each.
#include <gtest/gtest.h>

#include "fare/models/test_models.h"

namespace fare {
namespace {

using namespace testing;

class Families : public ::testing::TestWithParam<std::string> {};

// Names of the weights of a case that lie in one file.
std::vector<std::string> stored_names(const std::string& name) {
  const CaseFolder folder(golden_case(name));
  const SafetensorsFile file(folder.path() / "model.safetensors");
  std::vector<std::string> names;
  for (const TensorInfo& info : file.tensors()) names.push_back(info.name);
  return names;
}

// What opening the case says once its tensors were changed.
std::string refusal_after(const std::string& name, const std::function<void(std::vector<TensorData>&)>& change) {
  const CaseFolder folder(golden_case(name));
  rewrite_tensors(folder.path(), change);
  return message_of<ModelMismatch>([&] { Model::open(folder.path(), {}); });
}

// Absent, these count as zeros.
bool is_optional(const std::string& name) { return name.ends_with("e_score_correction_bias"); }

TEST_P(Families, EveryTensorIsNeededByItsName) {
  for (const std::string& name : stored_names(GetParam())) {
    if (is_optional(name)) continue;
    const std::string text = refusal_after(GetParam(), [&](auto& tensors) {
      std::erase_if(tensors, [&](const TensorData& one) { return one.name == name; });
    });
    // A layer that lacks its fused tensor is read as one with a tensor per expert.
    EXPECT_HAS(text, name.substr(0, name.find(".experts.")));
  }
}

TEST_P(Families, ATensorOfAnotherShapeIsRefusedByItsName) {
  for (const std::string& name : stored_names(GetParam())) {
    const std::string text = refusal_after(GetParam(), [&](auto& tensors) {
      for (TensorData& one : tensors)
        if (one.name == name) one.shape.push_back(1);
    });
    EXPECT_HAS(text, "'" + name + "'");
  }
}

TEST_P(Families, ATensorThatNobodyKnowsIsRefused) {
  const std::vector<float> values(2);
  const std::string text = refusal_after(GetParam(), [&](auto& tensors) {
    tensors.push_back({"model.layers.0.mlp.surprise.weight", Dtype::kF32, {2}, std::as_bytes(std::span(values))});
  });
  EXPECT_HAS(text, "'model.layers.0.mlp.surprise.weight'");
}

// Shared experts: the engine may scale their output; without it the rest of the block is what it was.
TEST_P(Families, TheSharedExpertsOutputIsScaledAlone) {
  const CaseFolder folder(golden_case(GetParam()));
  const auto model = Model::open(folder.path(), {});
  const Pack pack = pack_of({{3, 1, 41, 5, 9, 26}}, false);
  const int64_t layer = model->spec().moe_layers().back();
  const auto seen = [&](std::optional<double> factor) {
    std::map<Site, at::Tensor> sites;
    ForwardOptions options;
    options.tap = [&](Site site, int64_t l, const at::Tensor& value) {
      if (l == layer) sites[site] = value.to(at::kFloat).clone();
    };
    const Edit edit{SharedScale{factor.value_or(1)}, {layer}, {}};
    const LayerEdits edits = {{layer, {ScopedEdit{&edit, std::vector<uint8_t>(6, 1), {}}}}};
    if (factor) options.edits = &edits;
    forward(*model, pack, options);
    return sites;
  };
  const auto plain = seen({}), halved = seen(0.5);
  EXPECT_EQ(plain.contains(Site::kSharedOutput), model->spec().router.has_shared_expert);
  if (!model->spec().router.has_shared_expert) return;
  EXPECT_GT(plain.at(Site::kSharedOutput).abs().max().item<float>(), 1e-3f);
  EXPECT_TRUE(near(halved.at(Site::kSharedOutput), plain.at(Site::kSharedOutput) * 0.5, 1e-6));
  EXPECT_TRUE(at::equal(halved.at(Site::kRoutedOutput), plain.at(Site::kRoutedOutput)));
}

INSTANTIATE_TEST_SUITE_P(Models, Families, ::testing::ValuesIn(first_cases()),
                         [](const auto& one) { return one.param; });

}  // namespace
}  // namespace fare
