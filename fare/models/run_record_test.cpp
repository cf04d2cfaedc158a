// Computing only what edits change: against a whole pass, row by row.
#include "fare/models/run_record.h"

#include <gtest/gtest.h>

#include "fare/models/attention.h"
#include "fare/models/test_models.h"

namespace fare {
namespace {

using namespace testing;

// Two trees: sequences of 9, 12 and 8 tokens that share their first 5 (the last two share 7), and one of 6 on its own.
Pack two_trees() {
  Pack pack;
  pack.token_ids = {3, 14, 15, 9, 26, 53, 58, 9, 7, 1, 2, 40, 41, 42, 43, 44, 60, 8, 3, 14, 15, 9, 27};
  pack.positions = {0, 1, 2, 3, 4, 5, 6, 7, 8, 5, 6, 7, 8, 9, 10, 11, 7, 0, 1, 2, 3, 4, 5};
  pack.multiplicity = {3, 3, 3, 3, 3, 1, 1, 1, 1, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  pack.segments = {{0, 5, -1}, {5, 4, 0}, {9, 2, 0}, {11, 5, 2}, {16, 1, 2}, {17, 6, -1}};
  pack.length.assign(23, 64);
  return pack;
}

// Rows with a changed row on their path, themselves included.
std::vector<char> may_change(const Pack& pack, const std::vector<char>& changed) {
  std::vector<char> result(changed.size(), 0);
  for (size_t s = 0; s < pack.segments.size(); ++s) {
    bool seen = false;
    const std::vector<int32_t> path = path_rows(pack.segments, s);
    for (const int32_t r : path) {
      seen = seen || changed[static_cast<size_t>(r)];
      if (seen) result[static_cast<size_t>(r)] = 1;
    }
  }
  return result;
}

std::vector<Edit> some_edits(const DecoderSpec& spec, int64_t layer) {
  std::vector<Edit> edits(6);
  edits[0].op = Mask{.experts = {1}, .mode = Mask::Mode::kRefill};
  edits[1].op = AddLogit{.experts = {0, 2}, .values = {1.5, -0.5}};
  edits[2].op = ScaleWeight{.experts = {0}, .factor = 0.25};
  edits[3].op = SetTopK{std::min<int64_t>(spec.router.num_experts, spec.router.top_k + 1)};
  // Two that read the router's input.
  std::vector<double> along(static_cast<size_t>(spec.hidden_size));
  for (size_t d = 0; d < along.size(); ++d) along[d] = std::sin(0.7 * static_cast<double>(d));
  edits[4].op = AddLogit{.experts = {0, 3}, .values = {2.0, -2.0}, .gate = InputGate{along, 0.1}};
  std::vector<double> outputs(static_cast<size_t>(spec.router.num_experts), 0.0);
  outputs[1] = 1.5;
  outputs.back() = -0.5;
  edits[5].op = RouterDelta{.inputs = {along}, .outputs = {outputs}, .offsets = {0.3}};
  for (Edit& edit : edits) edit.layers = {layer};
  return edits;
}

std::vector<std::string> models() {
  std::vector<std::string> names = first_cases();
  names.insert(names.end(), {"olmoe_clip", "mixtral_window", "mixtral_dynamic", "qwen2_moe_step"});
  return names;
}

struct Whole {
  at::Tensor h_TD;
  Receipt receipt;
  std::vector<char> rerouted;  // rows whose decision changed in some layer
};

Whole whole_pass(const Model& model, const Pack& pack, const LayerEdits& edits) {
  Whole whole;
  whole.rerouted.assign(static_cast<size_t>(pack.num_rows()), 0);
  ForwardOptions options;
  options.edits = &edits;
  options.receipt = &whole.receipt;
  options.on_decision = [&](int64_t layer, const at::Tensor&, const Decision& d) {
    if (!edits.contains(layer)) return;
    for (int64_t r = 0; r < pack.num_rows(); ++r) {
      const auto row = [&](const at::Tensor& t) { return t.select(0, r); };
      if (d.before.ids_TK.size(1) != d.after.ids_TK.size(1) || !at::equal(row(d.before.ids_TK), row(d.after.ids_TK)) ||
          !at::equal(row(d.before.weights_TK), row(d.after.weights_TK)))
        whole.rerouted[static_cast<size_t>(r)] = 1;
    }
  };
  whole.h_TD = forward(model, pack, options);
  return whole;
}

void expect_equal(const Receipt& found, const Receipt& expected, const std::string& what) {
  ASSERT_EQ(found.layers.size(), expected.layers.size()) << what;
  for (const auto& [layer, right] : expected.layers) {
    const LayerReceipt& one = found.layers.at(layer);
    EXPECT_EQ(one.edits_applied, right.edits_applied) << what;
    EXPECT_EQ(one.tokens_in_scope, right.tokens_in_scope) << what;
    EXPECT_EQ(one.topk_changed, right.topk_changed) << what;
    EXPECT_NEAR(one.gate_mass_moved_sum, right.gate_mass_moved_sum, 1e-5) << what;
    EXPECT_EQ(one.experts_removed, right.experts_removed) << what;
    EXPECT_EQ(one.changed, right.changed) << what;
  }
}

void expect_same(const Model& model, const Pack& pack, const std::vector<bool>& edited, const LayerEdits& edits,
                 const std::string& what) {
  RunRecord record(edited);
  ForwardOptions base;
  base.record = &record;
  const at::Tensor base_TD = forward(model, pack, base);
  const Whole whole = whole_pass(model, pack, edits);
  Receipt receipt;
  const ChangedRows changed = forward_changed(model, pack, record, edits, &receipt);
  at::Tensor h_TD = base_TD.clone();
  if (!changed.rows.empty())
    h_TD.index_copy_(0, at::tensor(at::ArrayRef<int32_t>(changed.rows), at::kInt).to(at::kLong), changed.h_AD);
  EXPECT_TRUE(near(h_TD, whole.h_TD, 1e-5)) << what;
  expect_equal(receipt, whole.receipt, what);
  // Only rows that can see a changed row were computed.
  const std::vector<char> allowed = may_change(pack, whole.rerouted);
  for (const int32_t r : changed.rows) EXPECT_TRUE(allowed[static_cast<size_t>(r)]) << what << " row " << r;
}

TEST(ChangedRows, EqualAWholePassForEveryFamilyAndOperation) {
  const Pack pack = two_trees();
  for (const std::string& name : models()) {
    const CaseFolder folder(golden_case(name));
    const auto model = Model::open(folder.path(), {});
    for (const int64_t layer : model->spec().moe_layers()) {
      std::vector<bool> edited(static_cast<size_t>(model->spec().num_layers), false);
      edited[static_cast<size_t>(layer)] = true;
      for (const Edit& edit : some_edits(model->spec(), layer)) {
        const LayerEdits edits = {{layer, {{&edit, {}, {}}}}};
        expect_same(*model, pack, edited, edits, name + " layer " + std::to_string(layer) + " " + op_name(edit.op));
      }
    }
  }
}

TEST(ChangedRows, EditsOfSeveralLayersAndOfSomeRows) {
  const Pack pack = two_trees();
  for (const std::string& name : {std::string("olmoe_gqa"), std::string("mixtral_window")}) {
    const CaseFolder folder(golden_case(name));
    const auto model = Model::open(folder.path(), {});
    const std::vector<bool> edited(static_cast<size_t>(model->spec().num_layers), true);
    const Edit mask{.op = Mask{.experts = {1}, .mode = Mask::Mode::kRefill}},
        bias{.op = AddLogit{.experts = {2}, .values = {3}}};
    for (const size_t row : {size_t{0}, size_t{10}, size_t{16}, size_t{17}, size_t{22}}) {
      std::vector<uint8_t> one(23, 0), other(23, 0);
      one[row] = 1;
      other[22 - row] = 1;
      const LayerEdits edits = {{0, {{&bias, one, {}}}}, {1, {{&mask, {}, {}}, {&bias, other, {}}}}};
      expect_same(*model, pack, edited, edits, name + " row " + std::to_string(row));
    }
  }
}

TEST(ChangedRows, AnEditThatReadsItsInputReadsTheOneThatEarlierEditsLeft) {
  const Pack pack = two_trees();
  const CaseFolder folder(golden_case("olmoe_gqa"));
  const auto model = Model::open(folder.path(), {});
  const std::vector<bool> edited(static_cast<size_t>(model->spec().num_layers), true);
  const Edit bias{.op = AddLogit{.experts = {2}, .values = {4}}};
  const std::vector<Edit> second = some_edits(model->spec(), 1);
  for (const size_t reading : {size_t{4}, size_t{5}}) {
    const LayerEdits edits = {{0, {{&bias, {}, {}}}}, {1, {{&second[reading], {}, {}}}}};
    expect_same(*model, pack, edited, edits, op_name(second[reading].op));
  }
}

TEST(ChangedRows, PassesComputedTogetherEqualThoseComputedAlone) {
  const Pack pack = two_trees();
  for (const std::string& name : models()) {
    const CaseFolder folder(golden_case(name));
    const auto model = Model::open(folder.path(), {});
    const DecoderSpec& spec = model->spec();
    RunRecord record(spec.is_moe);
    ForwardOptions base;
    base.record = &record;
    forward(*model, pack, base);

    // Every operation in every layer; one that changes nothing; one of all layers at once.
    std::vector<std::vector<Edit>> kept;
    for (const int64_t layer : spec.moe_layers())
      for (const Edit& edit : some_edits(spec, layer)) kept.push_back({edit});
    kept.push_back({Edit{.op = AddLogit{.experts = {1}, .values = {0}}}});
    kept.push_back({Edit{.op = Mask{.experts = {2}, .mode = Mask::Mode::kRefill}}});
    std::vector<LayerEdits> edits;
    for (const auto& list : kept) {
      edits.emplace_back();
      for (const int64_t layer : spec.moe_layers())
        for (const Edit& edit : list)
          if (edit.touches(layer)) edits.back()[layer].push_back({&edit, {}, {}});
    }
    for (const int64_t max_rows : {int64_t{1}, int64_t{40}, int64_t{10000}}) {
      std::vector<Receipt> receipts(edits.size());
      std::vector<EditedPass> passes;
      for (size_t i = 0; i < edits.size(); ++i) passes.push_back({&edits[i], &receipts[i]});
      std::vector<int> seen(edits.size(), 0);
      size_t most = 0;
      forward_changed(*model, pack, record, passes, max_rows,
                      [&](std::span<const size_t> which, std::span<const ChangedRows> changed) {
                        most = std::max(most, which.size());
                        for (size_t i = 0; i < which.size(); ++i) {
                          const std::string what =
                              name + " pass " + std::to_string(which[i]) + ", rows " + std::to_string(max_rows);
                          ++seen[which[i]];
                          Receipt receipt;
                          const ChangedRows alone = forward_changed(*model, pack, record, edits[which[i]], &receipt);
                          ASSERT_EQ(changed[i].rows, alone.rows) << what;
                          EXPECT_EQ(changed[i].row_layers, alone.row_layers) << what;
                          expect_equal(receipts[which[i]], receipt, what);
                          if (alone.rows.empty()) continue;
                          EXPECT_TRUE(near(changed[i].h_AD, alone.h_AD, 1e-5)) << what;
                        }
                      });
      EXPECT_EQ(seen, std::vector<int>(edits.size(), 1)) << name;
      EXPECT_TRUE(max_rows < 10000 || most == edits.size()) << name << ": " << most;
    }
  }
}

TEST(ChangedRows, NothingIsComputedWhereNothingChanges) {
  const Pack pack = two_trees();
  const CaseFolder folder(golden_case("olmoe_gqa"));
  const auto model = Model::open(folder.path(), {});
  RunRecord record({true, true});
  ForwardOptions base;
  base.record = &record;
  forward(*model, pack, base);
  const Edit nothing{.op = AddLogit{.experts = {1}, .values = {0}}};
  const LayerEdits edits = {{0, {{&nothing, {}, {}}}}, {1, {{&nothing, {}, {}}}}};
  const ChangedRows changed = forward_changed(*model, pack, record, edits, nullptr);
  EXPECT_TRUE(changed.rows.empty());
  EXPECT_EQ(changed.row_layers, 0);
}

TEST(ChangedRows, ARecordTakesTheBytesItSays) {
  const Pack pack = two_trees();
  const CaseFolder folder(golden_case("qwen2_moe_step"));
  const auto model = Model::open(folder.path(), {});
  std::vector<bool> edited(static_cast<size_t>(model->spec().num_layers), false);
  edited[static_cast<size_t>(model->spec().moe_layers().front())] = true;
  RunRecord record(edited);
  ForwardOptions base;
  base.record = &record;
  forward(*model, pack, base);
  int64_t bytes = static_cast<int64_t>(record.h_TD.nbytes());
  for (const LayerRecord& layer : record.layers)
    for (const at::Tensor& part : {layer.input_TD, layer.k_TGd, layer.v_TGv, layer.middle_TD, layer.logits_TE})
      if (part.defined()) bytes += static_cast<int64_t>(part.nbytes());
  EXPECT_EQ(bytes, RunRecord::bytes(model->spec(), edited, pack.num_rows()));
}

}  // namespace
}  // namespace fare
