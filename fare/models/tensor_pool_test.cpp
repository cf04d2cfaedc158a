// The pool stays on once it is used: the tests of this program that follow run with it as well.
#include "fare/models/tensor_pool.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace fare {
namespace {

at::Tensor floats(size_t bytes) { return at::empty({static_cast<int64_t>(bytes / 4)}, at::kFloat); }

TEST(TensorPool, AFreedPlaceIsUsedAgainAndNeighboursAreJoined) {
  use_tensor_pool();
  constexpr size_t kMb = size_t{1} << 20;
  const TensorPoolState before = tensor_pool_state();
  std::vector<at::Tensor> blocks;
  for (int i = 0; i < 8; ++i) blocks.push_back(floats(kMb));
  const void* first = blocks[0].const_data_ptr();
  EXPECT_EQ(tensor_pool_state().used_bytes, before.used_bytes + 8 * kMb);
  const size_t region = tensor_pool_state().region_bytes;
  for (const int i : {3, 1, 0, 2, 5, 4, 7, 6}) blocks[static_cast<size_t>(i)] = at::Tensor();
  const at::Tensor joined = floats(8 * kMb);
  EXPECT_EQ(joined.const_data_ptr(), first);
  EXPECT_EQ(tensor_pool_state().region_bytes, region);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(joined.const_data_ptr()) % 64, 0u);
}

TEST(TensorPool, SmallAndEmptyTensorsStayOutside) {
  use_tensor_pool();
  const size_t used = tensor_pool_state().used_bytes;
  const at::Tensor small = floats(kPooledBytes - 4), empty = at::empty({0}, at::kFloat);
  EXPECT_EQ(tensor_pool_state().used_bytes, used);
  const at::Tensor large = floats(kPooledBytes);
  EXPECT_EQ(tensor_pool_state().used_bytes, used + kPooledBytes);
}

TEST(TensorPool, TensorsOfManyThreadsNeverShareBytes) {
  use_tensor_pool();
  const size_t used = tensor_pool_state().used_bytes;
  std::vector<int> wrong(8, 0);
  at::parallel_for(0, 8, 1, [&](int64_t from, int64_t to) {
    for (int64_t t = from; t < to; ++t) {
      std::mt19937 random(static_cast<unsigned>(t));
      std::vector<std::pair<at::Tensor, float>> living;
      for (int step = 0; step < 400; ++step) {
        const float value = static_cast<float>(t * 1000 + step);
        living.emplace_back(floats(4096 + random() % (size_t{3} << 20)).fill_(value), value);
        if (living.size() < 6) continue;
        const size_t which = random() % living.size();
        const float* data = living[which].first.const_data_ptr<float>();
        const int64_t n = living[which].first.numel();
        if (std::any_of(data, data + n, [&](float x) { return x != living[which].second; }))
          ++wrong[static_cast<size_t>(t)];
        living.erase(living.begin() + static_cast<int64_t>(which));
      }
    }
  });
  EXPECT_EQ(wrong, std::vector<int>(8, 0));
  EXPECT_EQ(tensor_pool_state().used_bytes, used);
}

TEST(TensorPool, TheRegionStaysNearThePeakWhenSizesVary) {
  use_tensor_pool();
  std::mt19937 random(7);
  for (int layer = 0; layer < 50; ++layer) {
    std::vector<at::Tensor> attention, experts;
    for (int i = 0; i < 5; ++i) attention.push_back(floats(size_t{4} << 20));
    attention.clear();
    for (int e = 0; e < 64; ++e) experts.push_back(floats((256 << 10) + random() % (512 << 10)));
  }
  const TensorPoolState state = tensor_pool_state();
  EXPECT_LE(static_cast<double>(state.region_bytes), 1.35 * static_cast<double>(state.peak_bytes)) << state.peak_bytes;
}

TEST(TensorPool, MoreThanThereIsIsAnError) {
  use_tensor_pool();
  EXPECT_THROW(floats(size_t{1} << 46), c10::Error);
  EXPECT_NO_THROW(floats(size_t{1} << 20));
}

}  // namespace
}  // namespace fare
