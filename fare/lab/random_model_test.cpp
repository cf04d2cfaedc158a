#include "fare/lab/random_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "fare/checkpoint/checkpoint.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/philox.h"
#include "fare/core/test_folder.h"
#include "fare/lab/byte_tokenizer.h"

namespace fare {
namespace {

RandomModelOptions small() {
  RandomModelOptions options;
  options.hidden = 32;
  options.layers = 2;
  options.experts = 4;
  options.top_k = 2;
  options.expert_width = 24;
  options.heads = 2;
  return options;
}

std::string usage_message(const RandomModelOptions& options) {
  try {
    random_model_shape(options);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no error";
}

TEST(RandomModel, EqualOptionsGiveEqualBytesOnAnyNumberOfThreads) {
  const TestFolder one("random-one"), two("random-two"), other("random-other");
  RandomModelOptions options = small();
  options.threads = 1;
  make_random_model(options, one.path());
  options.threads = 3;
  make_random_model(options, two.path());
  for (const char* name :
       {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "random.json"})
    EXPECT_EQ(read_file(one.path() / name), read_file(two.path() / name)) << name;
  options.seed = 1;
  make_random_model(options, other.path());
  EXPECT_NE(read_file(one.path() / "model.safetensors"), read_file(other.path() / "model.safetensors"));
}

TEST(RandomModel, ValuesAreAddressedByNameAndPlace) {
  std::vector<float> whole(1000), part(37);
  random_values(7, "some.tensor", 0, 1, 0, whole);
  random_values(7, "some.tensor", 0, 1, 421, part);
  for (size_t i = 0; i < part.size(); ++i) EXPECT_EQ(part[i], whole[421 + i]) << i;
  // The same numbers as the library's addressed stream gives: low half first.
  const RandomStream stream(7, "lab/random/some.tensor");
  EXPECT_EQ(whole[10], static_cast<float>(((stream.u32(5) & 0xFFFFu) + 0.5) / 32768.0 - 1.0));
  EXPECT_EQ(whole[11], static_cast<float>(((stream.u32(5) >> 16) + 0.5) / 32768.0 - 1.0));
  double sum = 0, squares = 0;
  for (const float v : whole) sum += v, squares += double{v} * v;
  EXPECT_NEAR(sum / 1000, 0, 0.06);              // standard error 0.018
  EXPECT_NEAR(squares / 1000, 1.0 / 3.0, 0.03);  // standard error 0.009
}

TEST(RandomModel, OpensAsACheckpointOfItsFamily) {
  for (const std::string family : {"olmoe", "mixtral"}) {
    const TestFolder folder("random-" + family);
    RandomModelOptions options = small();
    options.family = family;
    options.dtype = "bf16";
    options.kv_heads = 1;
    make_random_model(options, folder.path());
    const auto checkpoint = Checkpoint::open(folder.path());
    EXPECT_EQ(checkpoint->config()["model_type"], family);
    const bool olmoe = family == "olmoe";
    const TensorView down = checkpoint->tensor(olmoe ? "model.layers.1.mlp.experts.3.down_proj.weight"
                                                     : "model.layers.1.block_sparse_moe.experts.3.w2.weight");
    EXPECT_EQ(down.shape, (std::vector<int64_t>{32, 24}));
    EXPECT_EQ(down.dtype, Dtype::kBF16);
    EXPECT_EQ(checkpoint->tensor("model.layers.0.self_attn.k_proj.weight").shape, (std::vector<int64_t>{16, 32}));
    EXPECT_EQ(checkpoint->has("model.layers.0.self_attn.q_norm.weight"), olmoe);
    EXPECT_EQ(checkpoint->tensor("lm_head.weight").shape, (std::vector<int64_t>{320, 32}));
  }
}

TEST(RandomModel, RefusesWhatCannotBeAndNamesTheFlag) {
  const auto with = [](auto change) {
    RandomModelOptions options = small();
    change(options);
    return usage_message(options);
  };
  EXPECT_NE(with([](auto& o) { o.family = "olmo"; }).find("--family"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.top_k = 5; }).find("--top-k 5"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.heads = 3; }).find("--heads 3"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.heads = 32; }).find("odd"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.heads = 4, o.kv_heads = 3; }).find("--kv-heads 3"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.vocab = 200; }).find("--vocab 200"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.layers = 0; }).find("--layers 0"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.family = "mixtral", o.weights = "raw"; }).find("--weights raw"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.weights = "normal"; }).find("--weights normal"), std::string::npos);
}

TEST(RandomModel, NeverWritesIntoAFolderOfSomethingElse) {
  const TestFolder folder("random-foreign");
  write_file(folder.path() / "notes.txt", "mine\n");
  EXPECT_THROW(make_random_model(small(), folder.path()), UsageError);
  const TestFolder made("random-made");
  make_random_model(small(), made.path());
  make_random_model(small(), made.path());  // the same again is fine
  RandomModelOptions other = small();
  other.seed = 9;
  EXPECT_THROW(make_random_model(other, made.path()), UsageError);
}

TEST(ByteTokenizer, UsesTheByteAlphabet) {
  EXPECT_EQ(byte_character('A'), "A");
  EXPECT_EQ(byte_character(0), "\xC4\x80");     // U+0100
  EXPECT_EQ(byte_character(' '), "\xC4\xA0");   // U+0120
  EXPECT_EQ(byte_character(0xAD), "\xC5\x83");  // U+0143, the last of the 68
  EXPECT_EQ(byte_character(0xE9), "\xC3\xA9");
  EXPECT_EQ(byte_tokenizer_json()["model"]["vocab"].size(), static_cast<size_t>(kByteTokenizerSize));
}

}  // namespace
}  // namespace fare
