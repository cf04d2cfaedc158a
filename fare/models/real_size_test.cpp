// A checkpoint of the real size and layout of OLMoE-1B-7B whose files are holes: opening must not depend on the size of
// the weights, and what is read from behind 4 GiB must be what was written there.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <fstream>

#include <gtest/gtest.h>

#include "fare/core/source_folder.h"
#include "fare/models/model_size.h"
#include "fare/models/registry.h"
#include "fare/models/test_models.h"

namespace fare {
namespace {

using namespace testing;

constexpr uint16_t kOne = 0x3f80;  // 1.0 in bfloat16

// Bytes of file pages that this process has mapped in.
int64_t resident_file_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssFile:")) return std::stoll(line.substr(8)) * 1024;
  return 0;
}

// Writes every tensor of `config` in BF16 into shards of at most `shard_bytes`, last names first, as holes; `ones`
// names runs of values that are 1: tensor -> first element and count. False, with `why`, where the system has no sparse
// files.
bool write_holes(const std::filesystem::path& folder, const Json& config, int64_t shard_bytes,
                 const std::map<std::string, std::pair<int64_t, int64_t>>& ones, std::string& why) {
  write_text(folder / "config.json", config.dump(1));
  const std::shared_ptr<const Checkpoint> only_config = Checkpoint::open_config(folder / "config.json");
  const Weights none(only_config, at::kFloat);
  auto slots = make_family(*only_config, none, MatmulBackend::kOneDnn)->tensors();
  std::sort(slots.begin(), slots.end(), [](const TensorSlot& a, const TensorSlot& b) { return a.name > b.name; });

  Json weight_map = Json::object();
  int64_t total = 0;
  for (size_t next = 0, shard = 1; next < slots.size(); ++shard) {
    const std::string name = "model-0000" + std::to_string(shard) + ".safetensors";
    Json header = Json::object();
    std::vector<std::pair<int64_t, std::pair<int64_t, int64_t>>> runs;  // begin of the tensor, run
    int64_t end = 0;
    for (; next < slots.size(); ++next) {
      int64_t bytes = 2;
      for (const int64_t n : slots[next].shape) bytes *= n;
      if (end > 0 && end + bytes > shard_bytes) break;
      header[slots[next].name] = {
          {"dtype", "BF16"}, {"shape", slots[next].shape}, {"data_offsets", {end, end + bytes}}};
      weight_map[slots[next].name] = name;
      if (const auto run = ones.find(slots[next].name); run != ones.end()) runs.push_back({end, run->second});
      end += bytes;
    }
    total += end;
    const std::string head = safetensors_bytes(header.dump(), 0);
    write_text(folder / name, head);
    const std::string path = (folder / name).string();
    const auto begin = static_cast<int64_t>(head.size());
    if (::truncate(path.c_str(), begin + end) != 0) {
      why = std::string("a sparse file of ") + std::to_string(end) + " bytes: " + std::strerror(errno);
      return false;
    }
    const int fd = ::open(path.c_str(), O_WRONLY);
    for (const auto& [tensor, run] : runs) {
      const std::vector<uint16_t> values(static_cast<size_t>(run.second), kOne);
      EXPECT_EQ(::pwrite(fd, values.data(), values.size() * 2, begin + tensor + 2 * run.first), run.second * 2);
    }
    ::close(fd);
    struct stat info {};
    ::stat(path.c_str(), &info);
    if (info.st_blocks * 512 > end / 10 + (1 << 20)) {
      why = "this file system stores holes";
      return false;
    }
  }
  write_text(folder / "model.safetensors.index.json",
             Json{{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}}.dump());
  return true;
}

struct Opened {
  std::unique_ptr<Model> model;
  double seconds = 0;
  int64_t file_bytes = 0;
};

Opened timed_open(const std::filesystem::path& folder) {
  const int64_t before = resident_file_bytes();
  const auto start = std::chrono::steady_clock::now();
  Opened opened{Model::open(folder, {.dtype = at::kBFloat16})};
  opened.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  opened.file_bytes = resident_file_bytes() - before;
  return opened;
}

TEST(RealSize, OlmoeOpensWithoutReadingWeightsAndItsFirstLayerRuns) {
  const Json config = read_json_file(source_folder() / "tests" / "configs" / "olmoe-1b-7b.json");
  Json small = config;  // as many tensors, 5000 times smaller
  small.update({{"hidden_size", 32}, {"intermediate_size", 16}, {"vocab_size", 64}});
  const TestFolder large_folder, small_folder;
  std::string why;
  // The router prefers expert 37 for token 7; nothing else has a value.
  const std::map<std::string, std::pair<int64_t, int64_t>> ones = {
      {"model.embed_tokens.weight", {7 * 2048, 2048}},
      {"model.layers.0.post_attention_layernorm.weight", {0, 2048}},
      {"model.layers.0.mlp.gate.weight", {37 * 2048, 2048}}};
  if (!write_holes(large_folder.path(), config, 7'000'000'000, ones, why))
    GTEST_SKIP() << "needs a folder for temporary files (TMPDIR) with sparse files of 7 GB: " << why;
  ASSERT_TRUE(write_holes(small_folder.path(), small, 1'000'000, {}, why)) << why;

  const Opened tiny = timed_open(small_folder.path()), large = timed_open(large_folder.path());
  std::cout << "opened " << large.model->checkpoint().total_bytes() << " bytes in " << large.seconds << " s, "
            << tiny.model->checkpoint().total_bytes() << " bytes in " << tiny.seconds
            << " s; pages read: " << large.file_bytes << " bytes" << std::endl;
  EXPECT_EQ(large.model->checkpoint().total_bytes(), 2 * 6'919'161'856);
  EXPECT_LT(large.file_bytes, 16 << 20);
  EXPECT_LT(large.seconds, 4 * tiny.seconds + 0.25);

  struct Stop {};
  at::Tensor after_first_TD;
  std::vector<int32_t> chosen;
  ForwardOptions options;
  options.on_decision = [&](int64_t, const at::Tensor&, const Decision& decision) {
    const int32_t* ids = decision.after.ids_TK.const_data_ptr<int32_t>();
    chosen.assign(ids, ids + decision.after.ids_TK.numel());
  };
  options.tap = [&](Site site, int64_t layer, const at::Tensor& value) {
    if (site != Site::kLayerInput || layer != 1) return;
    after_first_TD = value;
    throw Stop();
  };
  EXPECT_THROW(forward(*large.model, pack_of({{7, 0}}), options), Stop);
  EXPECT_EQ(chosen, (std::vector<int32_t>{37, 0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6, 7}));
  // Experts of zeros add nothing: the embeddings come out.
  EXPECT_TRUE(at::equal(after_first_TD, at::stack({at::ones({2048}), at::zeros({2048})})));
}

}  // namespace
}  // namespace fare
