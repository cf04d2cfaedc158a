// Models on devices, by stand-ins (test_device.h).
#include "fare/models/device.h"

#include <gtest/gtest.h>

#include "fare/models/run_record.h"
#include "fare/models/test_device.h"
#include "fare/models/test_models.h"

namespace fare {
namespace {

using namespace testing;

TEST(Devices, AreReadFromTheFlag) {
  EXPECT_EQ(parse_devices("cpu", 0), Devices{at::kCPU});
  EXPECT_EQ(parse_devices("cuda", 2), (Devices{at::Device(at::kCUDA, 0)}));
  EXPECT_EQ(parse_devices("cuda:1", 2), (Devices{at::Device(at::kCUDA, 1)}));
  EXPECT_EQ(parse_devices("cuda:1,0", 2), (Devices{at::Device(at::kCUDA, 1), at::Device(at::kCUDA, 0)}));
  for (const char* text : {"cpu", "cuda:0", "cuda:2,0,1"}) EXPECT_EQ(devices_text(parse_devices(text, 3)), text);
  EXPECT_EQ(devices_text(parse_devices("cuda", 1)), "cuda:0");
}

TEST(Devices, WhatIsNoDeviceIsRefusedByItsName) {
  for (const char* text : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:0,", "cuda:0,,1", "cuda:0 1", "cuda0", "CUDA",
                           "cpu:0", "cpu,cpu"})
    EXPECT_HAS(message_of<UsageError>([&] { parse_devices(text, 4); }),
               std::string("--device ") + text + ": unknown; accepted: cpu, cuda");
  EXPECT_HAS(message_of<UsageError>([&] { parse_devices("cuda:1,1", 4); }), "GPU 1 is named twice");
  EXPECT_HAS(message_of<UsageError>([&] { parse_devices("cuda:4", 4); }),
             "--device cuda:4: there are 4 GPUs, the last is cuda:3");
  EXPECT_HAS(message_of<UsageError>([&] { parse_devices("cuda:1", 1); }), "there is one GPU, cuda:0");
  EXPECT_HAS(message_of<UsageError>([&] { parse_devices("cuda:1000", 4); }), "no machine has so many GPUs");
  EXPECT_HAS(message_of<UsageError>([&] { parse_devices("cuda:0", 0); }),
             "--device cuda:0: this LibTorch sees no CUDA device");
}

TEST(Devices, LayersAreDividedInOrderAndEvenParts) {
  const auto indices = [](int64_t layers, int8_t devices) {
    Devices all;
    for (int8_t d = 0; d < devices; ++d) all.push_back(stand_in(d));
    std::string text;
    for (int64_t l = 0; l < layers; ++l) text += std::to_string(device_of_layer(all, l, layers).index());
    return text;
  };
  EXPECT_EQ(indices(4, 1), "0000");
  EXPECT_EQ(indices(4, 2), "0011");
  EXPECT_EQ(indices(5, 2), "00011");
  EXPECT_EQ(indices(5, 3), "00112");
  EXPECT_EQ(indices(1, 2), "0");
}

class OnDevices : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    for (int8_t i = 0; i < 2; ++i) limit_stand_in(i, 0);
  }
  std::unique_ptr<Model> open(Devices devices) const {
    Execution execution;
    execution.backend = MatmulBackend::kOneDnn;
    execution.devices = std::move(devices);
    return Model::open(folder_.path(), execution);
  }
  const Devices two_{stand_in(0), stand_in(1)};
  const Pack pack_ = pack_of({{3, 1, 41, 5, 9, 26}, {5, 35, 8}, {3, 1, 41, 5, 9, 7, 12, 2}});
  CaseFolder folder_{golden_case(GetParam())};
};

// Logits of the head, and everything that taps and decisions show on the way.
std::vector<at::Tensor> all_of(const Model& model, const Pack& pack) {
  std::vector<at::Tensor> seen;
  ForwardOptions options;
  options.tap = [&](Site, int64_t, const at::Tensor& value) { seen.push_back(value.to(at::kFloat).clone()); };
  options.on_decision = [&](int64_t, const at::Tensor& logits, const Decision& decision) {
    seen.push_back(logits.clone());
    seen.push_back(decision.after.weights_TK.clone());
  };
  const at::Tensor h = forward(model, pack, options);
  seen.push_back(h);
  seen.push_back(model.head(h).log_softmax(-1));
  return seen;
}

// The stand-ins compute by LibTorch's own operations, the CPU by oneDNN and loops of ours.
TEST_P(OnDevices, TwoGiveWhatTheCpuGives) {
  const auto on_cpu = all_of(*open({at::kCPU}), pack_);
  const auto model = open(two_);
  const auto on_two = all_of(*model, pack_);
  ASSERT_EQ(on_two.size(), on_cpu.size());
  for (size_t i = 0; i < on_cpu.size(); ++i) {
    EXPECT_TRUE(on_two[i].is_cpu());
    EXPECT_TRUE(near(on_two[i], on_cpu[i], 1e-5)) << "value " << i;
  }
  EXPECT_LT((on_two.back() - on_cpu.back()).abs().max().item<double>(), 1e-5);  // nats
  EXPECT_GT(stand_in_bytes(0), 0u);
  EXPECT_GT(stand_in_bytes(1), 0u);
}

TEST_P(OnDevices, WeightsAreCopiedOnce) {
  const auto model = open(two_);
  all_of(*model, pack_);
  const size_t first = stand_in_bytes(0), second = stand_in_bytes(1);
  all_of(*model, pack_);
  EXPECT_EQ(stand_in_bytes(0), first);
  EXPECT_EQ(stand_in_bytes(1), second);
}

TEST_P(OnDevices, GenerationStepsGiveTheWholePassesRows) {
  const auto model = open(two_);
  const std::vector<int32_t> ids = {3, 1, 41, 5, 9, 26, 5, 35};
  const at::Tensor whole = forward(*model, pack_of({ids}));
  KvCache cache(model->spec().num_layers);
  ForwardOptions options;
  options.cache = &cache;
  std::vector<at::Tensor> parts;
  for (const auto& [begin, end] : {std::pair<size_t, size_t>{0, 5}, {5, 6}, {6, 8}}) {
    Pack pack = pack_of({{ids.begin(), ids.begin() + static_cast<int64_t>(end)}});
    const auto last = [&](std::vector<int32_t>& values) {
      values.erase(values.begin(), values.begin() + static_cast<int64_t>(begin));
    };
    last(pack.token_ids), last(pack.positions), last(pack.multiplicity), last(pack.length);
    parts.push_back(forward(*model, pack, options));
  }
  // A rope whose frequencies depend on the length would differ between a prefix and the whole.
  if (model->spec().rope.depends_on_length()) return;
  EXPECT_TRUE(near(at::cat(parts), whole, 1e-5));
}

TEST_P(OnDevices, AnEditedPassFromARecordGivesWhatTheCpuGives) {
  const auto changed_on = [&](Devices devices) {
    const auto model = open(std::move(devices));
    const int64_t layer = model->spec().moe_layers().front();
    std::vector<bool> edited(static_cast<size_t>(model->spec().num_layers), false);
    edited[static_cast<size_t>(layer)] = true;
    RunRecord record(edited);
    ForwardOptions options;
    options.record = &record;
    forward(*model, pack_, options);
    const Edit edit{Mask{{0, 1}}, {layer}, {}};
    const LayerEdits edits = {{layer, {ScopedEdit{&edit, {}, {}}}}};
    return forward_changed(*model, pack_, record, edits, nullptr);
  };
  const ChangedRows on_cpu = changed_on({at::kCPU}), on_two = changed_on(two_);
  ASSERT_FALSE(on_cpu.rows.empty());
  EXPECT_EQ(on_two.rows, on_cpu.rows);
  EXPECT_TRUE(near(on_two.h_AD, on_cpu.h_AD, 1e-5));
}

TEST_P(OnDevices, GradientsAreThoseOfTheCpu) {
  const std::vector<ScoredToken> scored = {{2, 5, 1.0}, {5, 7, -0.5}, {8, 3, 2.0}};
  const auto gradients_on = [&](Devices devices) {
    const auto model = open(std::move(devices));
    std::vector<at::Tensor> found;
    router_gradients(*model, pack_, scored, [&](const LayerGradient& layer) { found.push_back(layer.dz_TE.clone()); });
    return found;
  };
  const auto on_cpu = gradients_on({at::kCPU}), on_two = gradients_on(two_);
  ASSERT_EQ(on_two.size(), on_cpu.size());
  for (size_t i = 0; i < on_cpu.size(); ++i) EXPECT_TRUE(near(on_two[i], on_cpu[i], 1e-4)) << "layer " << i;
}

INSTANTIATE_TEST_SUITE_P(Models, OnDevices, ::testing::ValuesIn(first_cases()),
                         [](const auto& one) { return one.param; });

// The test of the tests: a mix of devices is found.
TEST(StandIn, AnOperationOnTwoDevicesIsAnError) {
  const at::Tensor host = at::ones({2, 3}), first = host.to(stand_in(0)), second = host.to(stand_in(1));
  EXPECT_TRUE(at::equal((first + first).cpu(), host * 2));
  EXPECT_ANY_THROW(first + second);
  EXPECT_ANY_THROW(at::mm(first, host.t()));
  EXPECT_ANY_THROW(first.index_select(0, at::tensor({int64_t{0}})));
}

}  // namespace
}  // namespace fare
