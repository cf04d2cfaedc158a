// What is GPT-OSS's own beside its goldens: settings, and experts packed as MXFP4.
#include <gtest/gtest.h>

#include "fare/models/test_models.h"

namespace fare {
namespace {

using namespace testing;

std::string config_refusal(const std::string& name, const Json& changes, const std::vector<std::string>& remove = {}) {
  const CaseFolder folder(golden_case(name), changes, remove);
  return message_of<FormatError>([&] { Model::open(folder.path(), {}); });
}

at::Tensor logits_of(const std::filesystem::path& folder, Execution execution = {}) {
  const auto model = Model::open(folder, execution);
  return model->head(forward(*model, pack_of({{3, 1, 41, 5, 9, 26, 7}}, false)));
}

TEST(GptOss, SettingsThatWouldChangeTheNumbersAreRefusedByTheirKey) {
  const std::string plain = "gpt_oss_gqa";
  EXPECT_HAS(config_refusal(plain, {{"layer_types", {"full_attention"}}}), "layer_types: has 1 entries for 2 layers");
  EXPECT_HAS(config_refusal(plain, {{"layer_types", {"full_attention", "chunked_attention"}}}),
             "'chunked_attention' is not supported; accepted: sliding_attention");
  EXPECT_HAS(config_refusal(plain, Json::object(), {"head_dim"}), "head_dim");
  EXPECT_HAS(config_refusal(plain, {{"swiglu_limit", 0.0}}), "swiglu_limit");
  EXPECT_HAS(config_refusal(plain, {{"sliding_window", 0}}), "sliding_window");
  EXPECT_HAS(config_refusal(plain, {{"hidden_act", "gelu"}}), "'gelu' is not supported; accepted: silu");
  for (const char* method : {"fp8", "gptq", "awq", "bitsandbytes"}) {
    const Json quantised = {{"quantization_config", {{"quant_method", method}}}};
    const std::string text = config_refusal(plain, quantised);
    EXPECT_HAS(text, "quant_method '" + std::string(method) + "' is not supported");
    EXPECT_HAS(text, "accepted: mxfp4");
    EXPECT_HAS(config_refusal("mixtral_gqa", quantised), "quant_method '" + std::string(method) + "' is not supported");
  }
  EXPECT_HAS(config_refusal("mixtral_gqa", {{"quantization_config", {{"quant_method", "mxfp4"}}}}),
             "quant_method 'mxfp4'");
  EXPECT_HAS(config_refusal(plain, {{"quantization_config", {{"bits", 4}}}}), "quantization_config");
}

TEST(GptOss, NoWindowIsAWindowLongerThanTheText) {
  const Json one = golden_case("gpt_oss_gqa");
  const at::Tensor none = logits_of(CaseFolder(one, {{"sliding_window", nullptr}}).path());
  EXPECT_TRUE(at::equal(none, logits_of(CaseFolder(one, {{"sliding_window", 100}}).path())));
  EXPECT_FALSE(near(none, logits_of(CaseFolder(one).path()), 1e-2));
}

TEST(GptOss, PackedAndUnpackedExpertsGiveTheSameBits) {
  const CaseFolder packed(golden_case("gpt_oss_mxfp4")), plain(golden_case("gpt_oss_mxfp4_unpacked"));
  const auto a = Model::open(packed.path(), {}), b = Model::open(plain.path(), {});
  for (const int64_t e : {0, 1, 3}) {
    const ExpertWeights first = a->family().expert(1, e), second = b->family().expert(1, e);
    EXPECT_TRUE(at::equal(first.clamped->weight_JD, second.clamped->weight_JD)) << e;
    EXPECT_TRUE(at::equal(first.down_DI, second.down_DI)) << e;
  }
  // The unquantised layout is read where it lies.
  const at::Tensor matrix = b->family().expert(0, 1).clamped->weight_JD;
  EXPECT_EQ(matrix.strides(), (std::vector<int64_t>{1, 64}));
}

TEST(GptOss, Bfloat16DecodesToBfloat16AndStaysNear) {
  const CaseFolder folder(golden_case("gpt_oss_mxfp4"));
  Execution execution;
  execution.dtype = at::kBFloat16;
  const auto model = Model::open(folder.path(), execution);
  EXPECT_EQ(model->family().expert(0, 0).clamped->weight_JD.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(near(logits_of(folder.path(), execution), logits_of(folder.path()), 0.3));
}

TEST(GptOss, AScaleOf255IsRefusedWithTensorAndIndexWhenItIsUsed) {
  const CaseFolder folder(golden_case("gpt_oss_mxfp4"));
  std::vector<std::byte> scales;
  rewrite_tensors(folder.path(), [&](std::vector<TensorData>& tensors) {
    for (TensorData& one : tensors)
      if (one.name == "model.layers.1.mlp.experts.down_proj_scales") {  // [4, 64, 1]
        scales.assign(one.bytes.begin(), one.bytes.end());
        for (int e = 0; e < 4; ++e) scales[static_cast<size_t>(e * 64 + 7)] = std::byte{255};
        one.bytes = scales;
      }
  });
  const std::string text = message_of<NumericError>([&] { logits_of(folder.path()); });
  EXPECT_HAS(text, "model.layers.1.mlp.experts.down_proj_scales");
  EXPECT_HAS(text, ", 7, 0]");
}

TEST(GptOss, TensorsOfTheOtherLayoutAreNamed) {
  // Announced as packed, stored otherwise: what lies in the file is read, so nothing is wrong.
  const Json quantised = {{"quantization_config", {{"quant_method", "mxfp4"}}}};
  EXPECT_TRUE(at::equal(logits_of(CaseFolder(golden_case("gpt_oss_gqa"), quantised).path()),
                        logits_of(CaseFolder(golden_case("gpt_oss_gqa")).path())));
  // Scales left out, and blocks of another type.
  const CaseFolder folder(golden_case("gpt_oss_mxfp4"));
  rewrite_tensors(folder.path(), [](std::vector<TensorData>& tensors) {
    std::erase_if(tensors,
                  [](const TensorData& one) { return one.name == "model.layers.0.mlp.experts.down_proj_scales"; });
    for (TensorData& one : tensors)
      if (one.name == "model.layers.0.mlp.experts.gate_up_proj_blocks") one.dtype = Dtype::kI8;
  });
  const std::string text = message_of<ModelMismatch>([&] { Model::open(folder.path(), {}); });
  EXPECT_HAS(text, "missing tensor 'model.layers.0.mlp.experts.down_proj_scales' [4, 64, 1]");
  EXPECT_HAS(text, "'model.layers.0.mlp.experts.gate_up_proj_blocks' is stored as I8, expected U8");
  const CaseFolder odd(golden_case("gpt_oss_mxfp4"), {{"intermediate_size", 40}});
  EXPECT_HAS(message_of<ModelMismatch>([&] { Model::open(odd.path(), {}); }), "multiple of 32");
}

}  // namespace
}  // namespace fare
