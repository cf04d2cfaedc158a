#include "fare/scoring/scope.h"

#include <gtest/gtest.h>

#include "fare/core/error.h"
#include "fare/scoring/generation_pack.h"

namespace fare {
namespace {

// Two requests that feed the same five tokens: 3 + 3 (context, continuation) and 4 + 2. The second lost two tokens of
// its context.
class Scope : public ::testing::Test {
 protected:
  Scope() {
    requests_[0].id = "a";
    requests_[0].spans = {{"s", {{1, 2}}}};
    requests_[1].id = "b";
    requests_[1].spans = {{"s", {{0, 1}}}};
    fed_[0] = {{7, 8, 9, 10, 11}, 0, 3};
    fed_[1] = {{7, 8, 9, 10, 11}, 2, 4};
    model_.num_layers = 3;
    model_.moe_layers = {0, 2};
    model_.router.num_experts = 4;
    model_.router.top_k = 2;
  }

  Intervention parse(const std::string& where, const std::string& op = R"("op": "temperature", "value": 2)") {
    return Intervention::parse(Json::parse(R"({"format": "fare-intervention/1", "edits": [{"layers": "all", )" + op +
                                           (where.empty() ? "" : R"(, "where": )" + where) + "}]}"),
                               "edit.json");
  }

  PackedSequences pack(const Intervention& intervention) {
    std::vector<std::vector<uint32_t>> marks;
    std::vector<Sequence> sequences;
    for (size_t i = 0; i < 2; ++i) {
      marks.push_back(sharing_marks(intervention, requests_[i], fed_[i], static_cast<int64_t>(i)));
      sequences.push_back({fed_[i].ids, marks[i], 0});
    }
    return pack_sequences(sequences);
  }

  // Scope of each request's rows at layer 2, read back through the shared pack.
  std::string scopes(const std::string& where) {
    const Intervention intervention = parse(where);
    const PackedSequences packed = pack(intervention);
    const LayerEdits edits = scoped_edits(intervention, model_, requests_, indices_, fed_, packed);
    EXPECT_EQ(edits.size(), 2u);
    std::string text;
    for (size_t i = 0; i < 2; ++i) {
      text += i > 0 ? " " : "";
      for (const int32_t row : packed.rows[i]) {
        const auto& scope = edits.at(2).front().scope_T;
        text += scope.empty() || scope[static_cast<size_t>(row)] != 0 ? '1' : '0';
      }
    }
    return text + " " + std::to_string(packed.pack.num_rows());
  }

  std::vector<Request> requests_{2};
  std::vector<FedRequest> fed_{2};
  std::vector<int64_t> indices_{0, 1};
  RoutedModel model_;
};

TEST_F(Scope, RowsAreKeptApartExactlyWhereTheEditTellsRequestsApart) {
  // rows of a, rows of b, rows computed
  EXPECT_EQ(scopes(""), "11111 11111 5");
  EXPECT_EQ(scopes(R"({"token_ids": [8, 11]})"), "01001 01001 5");
  EXPECT_EQ(scopes(R"({"phase": "prompt"})"), "11100 11110 7");
  EXPECT_EQ(scopes(R"({"phase": "generated"})"), "00011 00001 7");
  // a's span is its second continuation token (fed row 4), b's the first (fed row 4): nothing differs.
  EXPECT_EQ(scopes(R"({"spans": ["s"]})"), "00001 00001 5");
  EXPECT_EQ(scopes(R"({"spans": ["t"]})"), "00000 00000 5");
  // b's rows begin at position 2.
  EXPECT_EQ(scopes(R"({"positions": [[2, 4]]})"), "00110 11000 10");
  EXPECT_EQ(scopes(R"({"requests": ["b"]})"), "00000 11111 10");
  EXPECT_EQ(scopes(R"({"requests": ["b"], "phase": "generated", "token_ids": [11]})"), "00000 00001 6");
}

TEST_F(Scope, EditsWithoutEffectShareAllRowsAndAreCountedRequestByRequest) {
  const Intervention off = parse(R"({"phase": "prompt"})", R"("op": "scale_weight", "experts": [1], "factor": 1)");
  const PackedSequences packed = pack(off);
  EXPECT_EQ(packed.pack.num_rows(), 5);
  Receipt receipt;
  receipt.layers[0].edits_applied = receipt.layers[0].tokens_in_scope = 99;
  receipt.layers[2];
  recount_scope(off, requests_, fed_, 3, receipt);
  EXPECT_EQ(receipt.layers[0].edits_applied, 21);  // (3 + 4) rows, three times
  EXPECT_EQ(receipt.layers[2].tokens_in_scope, 21);
  // Where sharing followed the edits the pass itself counted right.
  receipt.layers[0].edits_applied = 5;
  recount_scope(parse(R"({"phase": "prompt"})"), requests_, fed_, 1, receipt);
  EXPECT_EQ(receipt.layers[0].edits_applied, 5);
}

TEST_F(Scope, StoredRoutesBelongToTheirRequestAndAreRefusedElsewhere) {
  auto table = std::make_shared<RouteTable>();
  table->offsets = {0, 5, 10};
  table->token_ids = {7, 8, 9, 10, 11, 7, 8, 9, 10, 11};
  table->layers[2] = {1, std::vector<int32_t>(10, 0), std::vector<float>(10, 1.0f)};
  Intervention replay;
  replay.edits.emplace_back();
  ForceRoutes force;
  force.table = table;
  replay.edits[0].op = force;
  PackedSequences packed = pack(replay);
  EXPECT_EQ(packed.pack.num_rows(), 10);
  const LayerEdits edits = scoped_edits(replay, model_, requests_, indices_, fed_, packed);
  ASSERT_EQ(edits.size(), 1u);
  EXPECT_EQ(edits.at(2)[0].table_row_T, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  table->token_ids[6] = 1;
  EXPECT_THROW(scoped_edits(replay, model_, requests_, indices_, fed_, packed), ModelMismatch);
  table->token_ids[6] = 8;
  table->offsets = {0, 4, 10};
  EXPECT_THROW(scoped_edits(replay, model_, requests_, indices_, fed_, packed), ModelMismatch);
  table->offsets = {0, 5};
  EXPECT_THROW(scoped_edits(replay, model_, requests_, indices_, fed_, packed), ModelMismatch);
}

TEST_F(Scope, GeneratedRowsAreOfPhaseGeneratedAndCountOn) {
  const std::string a = "a", b = "b";
  const std::vector<GeneratedRow> rows = {{&a, {8}, 5}, {&b, {9}, 6}};
  const auto scope = [&](const std::string& where) {
    const auto edits = generated_edits(parse(where), model_, rows);
    return edits.at(0).front().scope_T;
  };
  using Bytes = std::vector<uint8_t>;
  EXPECT_EQ(scope(""), Bytes());  // everywhere
  EXPECT_EQ(scope(R"({"phase": "generated"})"), (Bytes{1, 1}));
  EXPECT_EQ(scope(R"({"phase": "prompt"})"), (Bytes{0, 0}));
  EXPECT_EQ(scope(R"({"positions": [[6, 9]]})"), (Bytes{0, 1}));
  EXPECT_EQ(scope(R"({"requests": ["a"]})"), (Bytes{1, 0}));
  EXPECT_EQ(scope(R"({"token_ids": [9]})"), (Bytes{0, 1}));
  EXPECT_EQ(scope(R"({"spans": ["s"]})"), (Bytes{0, 0}));
}

}  // namespace
}  // namespace fare
