#include "fare/models/model_size.h"

#include <gtest/gtest.h>

#include "fare/models/registry.h"
#include "fare/models/test_models.h"

namespace fare {
namespace {

using namespace testing;

ModelSize size_of(const Json& config) {
  TestFolder folder;
  write_text(folder / "config.json", config.dump());
  const std::shared_ptr<const Checkpoint> checkpoint = Checkpoint::open_config(folder / "config.json");
  const Weights weights(checkpoint, at::kFloat);
  return model_size(*make_family(*checkpoint, weights, MatmulBackend::kMkl), weights);
}

Json olmoe(int64_t layers) {
  return {{"architectures", {"OlmoeForCausalLM"}},
          {"vocab_size", 100},
          {"hidden_size", 16},
          {"intermediate_size", 8},
          {"num_hidden_layers", layers},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"num_experts", 6},
          {"num_experts_per_tok", 2}};
}

TEST(ModelSize, CountsWhatATokenMeetsByHand) {
  const ModelSize size = size_of(olmoe(3));
  // q, o 16x16; k, v 8x16; norms of q 16, k 8; two layer norms 16; router 6x16; an expert 3 x 8x16.
  const int64_t layer = 2 * 256 + 2 * 128 + 16 + 8 + 2 * 16 + 96, expert = 384, table = 1600;
  EXPECT_EQ(size.parameters, 3 * (layer + 6 * expert) + 16 + 2 * table);
  EXPECT_EQ(size.active_parameters, 3 * (layer + 2 * expert) + 16 + table + 16);
  EXPECT_EQ(size.cache_bytes_per_token, 3 * 2 * (4 + 4) * 4);
  EXPECT_EQ(size.stored_bytes(Dtype::kBF16), (std::map<Dtype, int64_t>{{Dtype::kBF16, 2 * size.parameters}}));
}

TEST(ModelSize, ATiedHeadCountsOnce) {
  Json config = olmoe(1);
  const ModelSize untied = size_of(config);
  config["tie_word_embeddings"] = true;
  const ModelSize tied = size_of(config);
  EXPECT_EQ(tied.parameters, untied.parameters - 1600);
  EXPECT_EQ(tied.active_parameters, untied.active_parameters - 16);
}

}  // namespace
}  // namespace fare
