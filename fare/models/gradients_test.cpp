// dM/dz against plain autograd through a whole model of plain tensor operations, finite differences, and brute force.
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "fare/models/attribution.h"
#include "fare/models/test_models.h"

namespace fare {
namespace {

using namespace testing;

// A second, plain implementation: one sequence, every expert on every row, chosen ids fixed. `shift` [L, T, E] is added
// to the router logits of the weights; its gradient is dM/dz.
at::Tensor plain_log_p(const Model& model, const std::vector<int32_t>& ids, const std::vector<at::Tensor>& chosen,
                       const at::Tensor& shift_LTE, const std::vector<std::pair<int64_t, int64_t>>& scored) {
  const DecoderSpec& s = model.spec();
  const int64_t num_rows = static_cast<int64_t>(ids.size());
  const auto weight = [&](const std::string& name) { return model.weights().get_float(name).clone(); };
  const auto norm = [&](const at::Tensor& x, const std::string& name) {
    return x / (x.pow(2).mean(-1, true) + s.rms_norm_eps).sqrt() * weight(name);
  };
  std::vector<int32_t> positions(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) positions[i] = static_cast<int32_t>(i);
  const Rotary rotary = make_rotary(s.rope, positions, {});
  const at::Tensor cos = at::cat({rotary.cos_Th, rotary.cos_Th}, 1).unsqueeze(1),
                   sin = at::cat({rotary.sin_Th, rotary.sin_Th}, 1).unsqueeze(1);
  const auto turned = [&](const at::Tensor& x) {
    const auto halves = x.chunk(2, -1);
    return x * cos + at::cat({-halves[1], halves[0]}, -1) * sin;
  };
  const bool olmoe = s.model_type == "olmoe";
  at::Tensor h = weight("model.embed_tokens.weight").index_select(0, at::tensor(at::ArrayRef<int32_t>(ids)));
  for (int64_t l = 0; l < s.num_layers; ++l) {
    const std::string layer = "model.layers." + std::to_string(l) + ".",
                      block = layer + (olmoe ? "mlp." : "block_sparse_moe.");
    const at::Tensor x = norm(h, layer + "input_layernorm.weight");
    at::Tensor q = x.matmul(weight(layer + "self_attn.q_proj.weight").t()),
               k = x.matmul(weight(layer + "self_attn.k_proj.weight").t());
    at::Tensor v = x.matmul(weight(layer + "self_attn.v_proj.weight").t());
    if (olmoe) {
      q = norm(q, layer + "self_attn.q_norm.weight");
      k = norm(k, layer + "self_attn.k_norm.weight");
    }
    q = turned(q.view({num_rows, s.num_heads, s.head_dim}));
    k = turned(k.view({num_rows, s.num_kv_heads, s.head_dim})).repeat_interleave(s.num_heads / s.num_kv_heads, 1);
    v = v.view({num_rows, s.num_kv_heads, s.head_dim}).repeat_interleave(s.num_heads / s.num_kv_heads, 1);
    const at::Tensor scores = at::einsum("ind,jnd->nij", {q, k}) / std::sqrt(static_cast<double>(s.head_dim));
    const at::Tensor masked = scores + at::full({num_rows, num_rows}, -1e30).triu(1);
    const at::Tensor heads = at::einsum("nij,jnd->ind", {masked.softmax(-1), v}).flatten(1);
    h = h + heads.matmul(weight(layer + "self_attn.o_proj.weight").t());
    const at::Tensor y = norm(h, layer + "post_attention_layernorm.weight");
    const at::Tensor z = y.matmul(weight(block + "gate.weight").t()) + shift_LTE[l];
    at::Tensor p = z.softmax(-1) * chosen[static_cast<size_t>(l)];
    if (s.router.weight_mode == WeightMode::kRenormalised) p = p / p.sum(-1, true);
    at::Tensor out = at::zeros_like(h);
    for (int64_t e = 0; e < s.router.num_experts; ++e) {
      const std::string one = block + "experts." + std::to_string(e) + ".";
      const at::Tensor gate = y.matmul(weight(one + (olmoe ? "gate_proj" : "w1") + ".weight").t());
      const at::Tensor up = y.matmul(weight(one + (olmoe ? "up_proj" : "w3") + ".weight").t());
      out = out + p.select(1, e).unsqueeze(1) *
                      (at::silu(gate) * up).matmul(weight(one + (olmoe ? "down_proj" : "w2") + ".weight").t());
    }
    h = h + out;
  }
  const at::Tensor log_p = norm(h, "model.norm.weight").matmul(weight("lm_head.weight").t()).log_softmax(-1);
  at::Tensor total = at::zeros({});
  for (const auto& [row, token] : scored) total = total + log_p[row][token];
  return total;
}

std::map<int64_t, LayerGradient> gradients(const Model& model, const Pack& pack,
                                           const std::vector<ScoredToken>& scored) {
  std::map<int64_t, LayerGradient> result;
  router_gradients(model, pack, scored, [&](const LayerGradient& layer) { result[layer.layer] = layer; });
  return result;
}

at::Tensor mask_of(const Route& route, int64_t num_experts) {
  at::Tensor mask = at::zeros({route.ids_TK.size(0), num_experts});
  return mask.scatter_(1, route.ids_TK.to(at::kLong), 1.0);
}

struct Setting {
  const char* name;
  const char* family;
  bool renormalised;
};

TEST(RouterGradients, AgreeWithPlainAutogradThroughTheWholeModel) {
  for (const Setting& setting :
       {Setting{"mode U", "olmoe", false}, {"mode R", "olmoe", true}, {"mode R", "mixtral", true}}) {
    TestFolder folder;
    RandomShape shape;
    shape.family = setting.family;
    shape.layers = 3;
    shape.experts = 6;
    shape.top_k = 3;
    if (shape.family == std::string("olmoe")) shape.changes["norm_topk_prob"] = setting.renormalised;
    write_random_model(folder.path(), shape, 5);
    const auto model = Model::open(folder.path(), {});
    const std::vector<int32_t> ids = {3, 1, 41, 5, 9, 26, 5, 35};
    std::vector<ScoredToken> scored;
    std::vector<std::pair<int64_t, int64_t>> pairs;
    for (int64_t row = 2; row < 8; ++row) {
      scored.push_back({row, static_cast<int32_t>(row * 5), 1.0});
      pairs.emplace_back(row, row * 5);
    }
    const auto found = gradients(*model, pack_of({ids}, false), scored);
    ASSERT_EQ(found.size(), 3u);
    std::vector<at::Tensor> chosen;
    for (int64_t l = 0; l < 3; ++l) chosen.push_back(mask_of(found.at(l).route, 6));
    const at::Tensor shift = at::zeros({3, 8, 6}).requires_grad_(true);
    const at::Tensor expected = torch::autograd::grad({plain_log_p(*model, ids, chosen, shift, pairs)}, {shift})[0];
    for (int64_t l = 0; l < 3; ++l) {
      at::Tensor dz = found.at(l).dz_TE;
      if (setting.renormalised) {
        // Unselected experts hold a replacement estimate there, tested below; their derivative is zero.
        EXPECT_LT((expected[l] * (1 - chosen[static_cast<size_t>(l)])).abs().max().item<float>(), 1e-7f);
        dz = dz * chosen[static_cast<size_t>(l)];
      }
      EXPECT_TRUE(near(dz, expected[l], 1e-4)) << setting.family << " " << setting.name << " layer " << l;
      EXPECT_GT(expected[l].abs().max().item<float>(), 1e-4f);
    }
  }
}

TEST(RouterGradients, AgreeWithSmallLogitEditsOfTheEngine) {
  std::vector<std::string> names = first_cases();
  names.insert(names.end(), {"deepseek_every_second", "deepseek_normalised_pair", "deepseek_v2_all_moe",
                             "deepseek_v2_groups_keep_one", "deepseek_v2_groups_normalised", "olmoe_bias_normalised",
                             "mixtral_window", "olmoe_clip", "qwen2_moe_step", "qwen3_moe_list", "gpt_oss_sinks",
                             "gpt_oss_clamps", "gpt_oss_mxfp4", "ernie4_5_moe_norm_min", "ernie4_5_moe_use_bias"});
  for (const std::string& name : names) {
    const CaseFolder folder(golden_case(name));
    const auto model = Model::open(folder.path(), {});
    Pack pack = pack_of({{3, 1, 41, 5, 9, 26}}, false);  // a trunk and a branch: two requests
    pack.token_ids.insert(pack.token_ids.end(), {7, 8});
    pack.positions.insert(pack.positions.end(), {4, 5});
    pack.multiplicity.insert(pack.multiplicity.end(), {1, 1});
    pack.segments = {{0, 4, -1}, {4, 2, 0}, {6, 2, 0}};
    const std::vector<ScoredToken> scored = {{3, 9, 1.0}, {4, 26, 1.0}, {3, 7, -1.0}, {6, 8, -1.0}};
    const auto margin = [&](const LayerEdits& edits) {
      ForwardOptions options;
      options.edits = &edits;
      const at::Tensor log_p = model->head(forward(*model, pack, options)).to(at::kDouble).log_softmax(-1);
      double sum = 0;
      for (const ScoredToken& token : scored) sum += token.coefficient * log_p[token.row][token.token].item<double>();
      return sum;
    };
    const auto found = gradients(*model, pack, scored);
    const double largest = found.begin()->second.dz_TE.abs().max().item<double>();
    for (const int64_t layer : model->spec().moe_layers())
      for (const int64_t row : {0, 2, 3, 4, 6}) {
        // In mode U also the last chosen expert, which may be one that fills up with weight 0; in mode R it has an
        // estimate there.
        const bool last = model->spec().router.weight_mode == WeightMode::kRaw && row % 2 == 0;
        const int32_t expert = found.at(layer).route.ids_TK[row][last ? -1 : 1].item<int32_t>();
        const double step = 5e-3;
        const auto moved = [&](double by) {
          const Edit edit{AddLogit{{expert}, {by}}, {layer}, {}};
          std::vector<uint8_t> scope(8, 0);
          scope[static_cast<size_t>(row)] = 1;
          return margin({{layer, {ScopedEdit{&edit, scope, {}}}}});
        };
        const double slope = (moved(step) - moved(-step)) / (2 * step);
        EXPECT_NEAR(found.at(layer).dz_TE[row][expert].item<double>(), slope, 5e-3 * largest + 1e-4)
            << name << " layer " << layer << " row " << row << " expert " << expert;
      }
  }
}

// Gradients under edits: of a bias in the lowest layer, through edited layers above, against central differences.
TEST(RouterGradients, UnderEditsTheyAreThoseOfTheEditedPass) {
  for (const bool renormalised : {false, true}) {
    TestFolder folder;
    RandomShape shape;
    shape.layers = 3;
    shape.experts = 6;
    shape.top_k = 3;
    shape.changes["norm_topk_prob"] = renormalised;
    write_random_model(folder.path(), shape, 5);
    const auto model = Model::open(folder.path(), {});
    const int64_t width = model->spec().hidden_size;
    const Pack pack = pack_of({{3, 1, 41, 5, 9, 26, 5, 35}}, false);
    std::vector<double> along(static_cast<size_t>(width)), across(along);
    for (size_t d = 0; d < along.size(); ++d)
      along[d] = std::sin(0.7 * static_cast<double>(d)) / 3, across[d] = std::cos(1.3 * static_cast<double>(d)) / 3;
    AddLogit gated{{0, 4}, {1.5, -1.0}};
    gated.gate = InputGate{along, 0.2};
    gated.keep_sum = true;
    const Edit middle{gated, {1}, {}};
    const Edit top{
        RouterDelta{{across, along}, {{1, 0, -1, 0.5, 0, 0}, {0, 0.4, 0, 0, -0.8, 0.3}}, {0.1, 0}, true}, {2}, {}};
    AddLogit bias{{1, 2}, {0.8, -0.6}};
    bias.keep_sum = true;
    const std::vector<uint8_t> scope = {0, 1, 1, 0, 1, 1, 1, 1};
    std::vector<at::Tensor> routes;
    const auto margin = [&](int32_t expert, double by, bool keep) {
      AddLogit moved = bias;
      moved.experts.push_back(expert);
      moved.values.push_back(by);
      const Edit low{moved, {0}, {}};
      const LayerEdits edits = {{0, {{&low, scope, {}}}}, {1, {{&middle, scope, {}}}}, {2, {{&top, {}, {}}}}};
      ForwardOptions options;
      options.edits = &edits;
      std::vector<at::Tensor> now;
      options.on_decision = [&](int64_t, const at::Tensor&, const Decision& decision) {
        now.push_back(std::get<0>(decision.after.ids_TK.sort(1)));
      };
      const at::Tensor log_p = model->head(forward(*model, pack, options)).to(at::kDouble).log_softmax(-1);
      if (keep) routes = now;
      for (size_t l = 0; l < now.size(); ++l)
        if (!at::equal(now[l], routes[l]))
          return std::numeric_limits<double>::quiet_NaN();  // across a change of routes
      double sum = 0;
      for (int64_t row = 1; row < 8; ++row) sum += log_p[row][row * 5].item<double>() * (row % 2 ? 1 : -0.5);
      return sum;
    };
    margin(5, 0, true);
    const Edit low{bias, {0}, {}};
    const LayerEdits edits = {{0, {{&low, scope, {}}}}, {1, {{&middle, scope, {}}}}, {2, {{&top, {}, {}}}}};
    std::vector<ScoredToken> scored;
    for (int64_t row = 1; row < 8; ++row) scored.push_back({row, static_cast<int32_t>(row * 5), row % 2 ? 1 : -0.5});
    GradientOptions how;
    how.edits = &edits;
    how.every_expert = true;
    std::map<int64_t, LayerGradient> found;
    router_gradients(
        *model, pack, [&](const at::Tensor& h_TD) { return scored_gradient(*model, h_TD, scored); }, how,
        [&](const LayerGradient& layer) { found[layer.layer] = layer; });
    const LayerGradient& lowest = found.at(0);
    ASSERT_FALSE(lowest.dots_TE.isnan().any().item<bool>());
    EXPECT_FALSE(lowest.dz_TE.defined());
    // Weights w = s softmax(z restricted to the chosen), s fixed: dM/dz_e = w_e (u.E_e - u.y / s).
    const at::Tensor ids = lowest.route.ids_TK.to(at::kLong), w = lowest.route.weights_TK,
                     dots = lowest.dots_TE.gather(1, ids);
    const at::Tensor slope_TK = w * (dots - (w * dots).sum(1, true) / w.sum(1, true));
    at::Tensor slope_TE = at::zeros({8, 6}).scatter_add_(1, ids, slope_TK);
    for (size_t t = 0; t < scope.size(); ++t)
      if (!scope[t]) slope_TE[static_cast<int64_t>(t)].zero_();
    int checked = 0;
    for (int32_t e = 0; e < 6; ++e) {
      const double step = 4e-3, up = margin(e, step, false), down = margin(e, -step, false);
      if (std::isnan(up) || std::isnan(down)) continue;
      ++checked;
      EXPECT_NEAR(slope_TE.sum(0)[e].item<double>(), (up - down) / (2 * step),
                  2e-3 * slope_TE.abs().max().item<double>() + 2e-4)
          << "expert " << e << (renormalised ? " mode R" : " mode U");
    }
    EXPECT_GE(checked, 4);
    EXPECT_GT(slope_TE.abs().max().item<double>(), 1e-2);
  }
}

TEST(RouterGradients, AFirstLayerOfNothingScoredIsZero) {
  const CaseFolder folder(golden_case("olmoe_gqa"));
  const auto model = Model::open(folder.path(), {});
  for (const auto& [layer, gradient] : gradients(*model, pack_of({{1, 2, 3}}, false), {}))
    EXPECT_EQ(gradient.dz_TE.abs().max().item<float>(), 0) << layer;
}

TEST(RouterGradients, ManyScoredTokensOfOneRowAddUp) {
  const CaseFolder folder(golden_case("olmoe_gqa"));
  const auto model = Model::open(folder.path(), {});
  const Pack pack = pack_of({{1, 2, 3, 4}}, false);
  std::vector<ScoredToken> many;
  for (int i = 0; i < 600; ++i) many.push_back({i % 4, i % 64, 0.01 * i});
  const auto all = gradients(*model, pack, many);
  const std::span<const ScoredToken> span(many);
  const auto first = gradients(*model, pack, {many.begin(), many.begin() + 300});
  const auto second = gradients(*model, pack, {many.begin() + 300, many.end()});
  for (const int64_t l : {0, 1}) EXPECT_TRUE(near(first.at(l).dz_TE + second.at(l).dz_TE, all.at(l).dz_TE, 1e-4));
}

// --- the closed forms alone
// ---------------------------------------------------------------------------------------------

struct BlockCase {
  at::Tensor logits, outputs_TED, u_TD, dots_TE;
  RouterSpec spec;
};

BlockCase random_block(WeightMode mode, double gamma) {
  at::manual_seed(21);
  BlockCase block{at::randn({7, 6}), at::randn({7, 6, 5}), at::randn({7, 5}), {}, {}};
  block.dots_TE = at::einsum("ted,td->te", {block.outputs_TED, block.u_TD}).contiguous();
  block.spec.num_experts = 6;
  block.spec.top_k = 3;
  block.spec.weight_mode = mode;
  block.spec.scaling_factor = gamma;
  return block;
}

TEST(Attribution, ClosedFormsEqualAutogradOfTheBlock) {
  for (const auto& [mode, floor] :
       {std::pair{WeightMode::kRaw, 0.0}, {WeightMode::kRenormalised, 0.0}, {WeightMode::kRenormalised, 2.0}})
    for (const double gamma : {1.0, 2.5}) {
      BlockCase block = random_block(mode, gamma);
      block.spec.sum_minimum = floor;  // 2: larger than any sum of scores, so it always binds
      const Route chosen = route(block.logits, block.spec).after;
      const at::Tensor mask = mask_of(chosen, 6);
      const at::Tensor z = block.logits.clone().requires_grad_(true);
      at::Tensor p = z.softmax(-1) * mask;
      if (mode == WeightMode::kRenormalised) p = p / p.sum(-1, true).clamp_min(floor);
      const at::Tensor margin = (p * gamma * block.dots_TE).sum();
      const at::Tensor expected = torch::autograd::grad({margin}, {z})[0];
      at::Tensor found = logit_gradients(block.logits, chosen, block.dots_TE, block.spec);
      if (mode == WeightMode::kRenormalised) found = found * mask;
      EXPECT_TRUE(near(found, mode == WeightMode::kRenormalised ? expected * mask : expected, 1e-5))
          << "gamma " << gamma << ", floor " << floor;
    }
}

TEST(Attribution, ReplacementEstimateEqualsRecomputingTheBlockWithTheOtherExpert) {
  const BlockCase block = random_block(WeightMode::kRenormalised, 1.5);
  const Route chosen = route(block.logits, block.spec).after;
  const at::Tensor found = logit_gradients(block.logits, chosen, block.dots_TE, block.spec);
  const at::Tensor p = block.logits.softmax(-1);
  for (int64_t t = 0; t < 7; ++t) {
    const auto along = [&](const std::vector<int64_t>& set) {
      double sum = 0, total = 0;
      for (const int64_t e : set) {
        sum += p[t][e].item<double>();
        total += p[t][e].item<double>() * block.dots_TE[t][e].item<double>();
      }
      return 1.5 * total / sum;
    };
    std::vector<int64_t> set;
    for (int64_t slot = 0; slot < 3; ++slot) set.push_back(chosen.ids_TK[t][slot].item<int32_t>());
    for (int64_t e = 0; e < 6; ++e) {
      if (std::find(set.begin(), set.end(), e) != set.end()) continue;
      std::vector<int64_t> other = {set[0], set[1], e};  // the last of the falling order leaves
      EXPECT_NEAR(found[t][e].item<double>(), along(other) - along(set), 1e-5) << "row " << t << " expert " << e;
    }
  }
}

TEST(Attribution, TwoExpertsByHand) {
  // p = (1/4, 3/4), u.E = (2, 6), both chosen: u.y = 5; mode R and U agree: p_e (u.E_e - 5).
  const at::Tensor logits = at::tensor({0.0f, std::log(3.0f)}).view({1, 2}),
                   dots = at::tensor({2.0f, 6.0f}).view({1, 2});
  for (const WeightMode mode : {WeightMode::kRaw, WeightMode::kRenormalised}) {
    RouterSpec spec;
    spec.num_experts = spec.top_k = 2;
    spec.weight_mode = mode;
    const at::Tensor dz = logit_gradients(logits, route(logits, spec).after, dots, spec);
    EXPECT_NEAR(dz[0][0].item<double>(), -0.75, 1e-6);
    EXPECT_NEAR(dz[0][1].item<double>(), 0.75, 1e-6);
  }
  // One of two chosen, mode U: expert 1 gives 3/4 (6 - 4.5), expert 0 gives 1/4 (0 - 4.5).
  RouterSpec spec;
  spec.num_experts = 2;
  spec.top_k = 1;
  const at::Tensor dz = logit_gradients(logits, route(logits, spec).after, dots, spec);
  EXPECT_NEAR(dz[0][1].item<double>(), 1.125, 1e-6);
  EXPECT_NEAR(dz[0][0].item<double>(), -1.125, 1e-6);
}

}  // namespace
}  // namespace fare
