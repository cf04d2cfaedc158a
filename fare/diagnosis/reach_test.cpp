// The parts of the searches for upper bounds, against central differences, enumeration and hand calculation.
#include <gtest/gtest.h>

#include <cmath>

#include "fare/diagnosis/control_study_test.h"
#include "fare/diagnosis/reach.h"
#include "fare/routing/driven_edit.h"

namespace fare {
namespace {

// What an edited routed output is worth when every expert runs with weight s softmax((z + b) / T): u.y.
double dense_value(const at::Tensor& z_TE, const at::Tensor& dots_TE, const at::Tensor& sum_T, double temperature) {
  const at::Tensor p = (z_TE.to(at::kDouble) / temperature).softmax(-1);
  return (sum_T.to(at::kDouble).unsqueeze(1) * p * dots_TE.to(at::kDouble)).sum().item<double>();
}

TEST(DenseLogitGradients, AreTheSlopesOfTheDenseBlock) {
  at::manual_seed(3);
  const at::Tensor z = at::randn({5, 6}), dots = at::randn({5, 6}), sum = at::rand({5}) + 0.5;
  for (const double temperature : {2.0, 1.0, 0.3}) {
    const at::Tensor found = dense_logit_gradients(z, dots, sum, temperature);
    for (int64_t t = 0; t < 5; ++t)
      for (int64_t e = 0; e < 6; ++e) {
        at::Tensor up = z.to(at::kDouble), down = up.clone();
        up = up.clone();
        up[t][e] += 1e-4;
        down[t][e] -= 1e-4;
        const double slope =
            (dense_value(up, dots, sum, temperature) - dense_value(down, dots, sum, temperature)) / 2e-4;
        EXPECT_NEAR(found[t][e].item<double>(), slope, 2e-5 + 1e-4 * std::abs(slope))
            << temperature << " " << t << " " << e;
      }
  }
}

// Sum over rows and experts of weight times what the control adds to the logits, at theta.
double shift_value(const FreeControl& control, const std::vector<double>& theta, int64_t layer, const at::Tensor& x_TD,
                   const at::Tensor& weight_TE, const std::vector<uint8_t>& scope) {
  double total = 0;
  const Intervention intervention = control.intervention(theta, true);
  for (const Edit& edit : intervention.edits)
    if (edit.touches(layer)) {
      const ScopedEdit scoped{&edit, edit.where.everywhere() ? std::vector<uint8_t>() : scope, {}};
      total += (logit_shift({&scoped, 1}, x_TD, weight_TE.size(1)) * weight_TE).sum(at::kDouble).item<double>();
    }
  return total;
}

TEST(FreeControls, GradientsAreTheSlopesOfWhatTheyAddToTheLogits) {
  at::manual_seed(5);
  constexpr int64_t kRows = 7, kWidth = 4, kExperts = 3;
  std::vector<ControlLayer> layers;
  for (const int64_t layer : {1, 3}) {
    ControlLayer own;
    own.layer = layer;
    own.sigma = 0.5 + static_cast<double>(layer);
    own.mean_D = at::randn({kWidth});
    own.inverse_sd_D = at::rand({kWidth}) + 0.5;
    layers.push_back(own);
  }
  Selector where;
  where.token_ids = {1};
  const std::vector<uint8_t> scope = {1, 0, 1, 1, 0, 0, 1};
  const std::map<int64_t, InputGate> gates = {{1, {{0.3, -1, 0.2, 0.5}, 0.1}}, {3, {{1, 0, 0, -0.4}, -0.2}}};
  const BiasControl everywhere(layers, kExperts), somewhere(layers, kExperts, where),
      gated(layers, kExperts, {}, gates);
  const LowRankControl low_rank(layers, kExperts, kWidth, 2);
  for (const FreeControl* control :
       std::initializer_list<const FreeControl*>{&everywhere, &somewhere, &gated, &low_rank})
    for (const int64_t layer : {1, 3}) {
      LayerGradient at_layer;
      at_layer.layer = layer;
      at_layer.router_input_TD = at::randn({kRows, kWidth});
      const at::Tensor weight = at::randn({kRows, kExperts});
      std::vector<double> theta(static_cast<size_t>(control->size()));
      for (size_t i = 0; i < theta.size(); ++i) theta[i] = std::sin(1.7 * static_cast<double>(i) + 0.3);
      const Intervention intervention = control->intervention(theta, true);
      std::vector<double> found(theta.size(), 0.0);
      for (const Edit& edit : intervention.edits)
        if (edit.touches(layer))
          control->add_gradient(theta, at_layer, weight,
                                {&edit, edit.where.everywhere() ? std::vector<uint8_t>() : scope, {}}, found);
      for (size_t i = 0; i < theta.size(); ++i) {
        const auto moved = [&](double by) {
          std::vector<double> other = theta;
          other[i] += by;
          return shift_value(*control, other, layer, at_layer.router_input_TD, weight, scope);
        };
        EXPECT_NEAR(found[i], (moved(1e-2) - moved(-1e-2)) / 2e-2, 5e-3)
            << "layer " << layer << " number " << i << " of " << theta.size();
      }
    }
}

TEST(FreeControls, SmallNumbersAreDroppedAndCounted) {
  const BiasControl control({{.layer = 0, .sigma = 2}, {.layer = 2, .sigma = 1}}, 2);
  const std::vector<double> theta = {0.5, -0.6, 4, 0.1};
  EXPECT_EQ(control.pruned(theta), (std::vector<double>{0, -0.6, 4, 0}));
  EXPECT_EQ(control.breadth(theta), 2);
  const Intervention kept = control.intervention(control.pruned(theta));
  ASSERT_EQ(kept.edits.size(), 2u);
  const auto& first = std::get<AddLogit>(kept.edits[0].op);
  EXPECT_EQ(first.experts, std::vector<int32_t>{1});
  EXPECT_DOUBLE_EQ(first.values[0], -1.2);  // -0.6 of a sigma of 2
  EXPECT_TRUE(first.keep_sum);
  EXPECT_EQ(kept.edits[1].layers, std::vector<int64_t>{2});
  EXPECT_TRUE(control.intervention(std::vector<double>(4, 0.0)).edits.empty());
  std::vector<double> far = {9, -9, 1, 0};
  control.clamp(far);
  EXPECT_EQ(far, (std::vector<double>{4, -4, 1, 0}));
}

ReachBatch batch_of(const std::vector<std::pair<int32_t, double>>& pairs) {
  ReachBatch batch;
  for (const auto& [axis, margin] : pairs) {
    batch.pairs.emplace_back();
    batch.pairs.back().axis = axis;
    batch.pairs.back().base_margin = margin;
  }
  return batch;
}

TEST(BiasTerm, WeighsAxesStopsAtZeroAndHasTheRightSlopes) {
  // Axis 0 leans to stereotypes, axis 1 against (sign -1), axis 2 leans the other way than its sign says: it adds
  // nothing.
  const ReachBatch batch = batch_of({{0, 1.0}, {0, -0.2}, {1, -2.0}, {2, -1.0}});
  const std::vector<int> signs = {1, -1, 1};
  const std::vector<double> weights = {0.5, 0.3, 0.2}, margins = {0.8, -0.2, -1.0, -0.5};
  const double tau = 0.7;
  const BiasTerm term = bias_term(batch, margins, signs, weights, tau);
  const double expected = 0.5 * (std::tanh(0.8 / tau) + std::tanh(-0.2 / tau)) / 2 + 0.3 * std::tanh(1.0 / tau);
  EXPECT_NEAR(term.value, expected, 1e-12);
  EXPECT_NEAR(term.remaining[1], std::tanh(1.0 / tau) / std::tanh(2.0 / tau), 1e-12);
  EXPECT_EQ(term.remaining[2], 1);
  for (size_t p = 0; p < margins.size(); ++p) {
    std::vector<double> up = margins, down = margins;
    up[p] += 1e-5, down[p] -= 1e-5;
    const double slope =
        (bias_term(batch, up, signs, weights, tau).value - bias_term(batch, down, signs, weights, tau).value) / 2e-5;
    EXPECT_NEAR(term.slope[p], slope, 1e-8) << p;
  }
}

TEST(AreaUnderCurve, CountsPairsInTheRightOrderWithTiesHalf) {
  // Positives 3, 1; negatives 2, 1, 0: of six pairs (3>2, 3>1, 3>0, 1>0) are right and 1 = 1 is half: 4.5 / 6.
  const std::vector<double> scores = {3, 2, 1, 1, 0};
  EXPECT_DOUBLE_EQ(*area_under_curve(scores, std::vector<uint8_t>{1, 0, 1, 0, 0}), 0.75);
  EXPECT_FALSE(area_under_curve(scores, std::vector<uint8_t>(5, 1)).has_value());
}

TEST(PreferenceSlope, IsTheSlopeOfThePreferenceLoss) {
  // -gain log sigmoid(m), m = beta [log pi(better) - log pi(executed) - the same of a fixed reference].
  at::manual_seed(9);
  const at::Tensor z = at::randn({6}).to(at::kDouble), reference = at::randn({6}).to(at::kDouble);
  const at::Tensor better = at::tensor({4, 1, 0}, at::kLong), executed = at::tensor({2, 1, 5}, at::kLong);
  const double beta = 0.7, gain = 1.3;
  const auto margin = [&](const at::Tensor& logits) {
    const at::Tensor gap = logits.log_softmax(0) - reference.log_softmax(0);
    return beta * (gap.index_select(0, better).sum() - gap.index_select(0, executed).sum()).item<double>();
  };
  const at::Tensor found = preference_slope(better, executed, gain, margin(z), beta, 6);
  for (int64_t e = 0; e < 6; ++e) {
    const auto loss = [&](double by) {
      at::Tensor moved = z.clone();
      moved[e] += by;
      return gain * std::log1p(std::exp(-margin(moved)));
    };
    EXPECT_NEAR(found[e].item<double>(), (loss(1e-5) - loss(-1e-5)) / 2e-5, 1e-6) << e;
  }
}

struct Prepared {
  explicit Prepared(const std::string& id, const std::string& weights = "renormalised")
      : control(options_of(id, weights)) {
    options.bootstrap_replicates = options.permutations = 500;
    options.half_samples = 4;
    options.causal_pairs = 8;
    options.neutral_tokens = 600;
    signs = fitted_signs(*control.measurer);
    profile = profile_router(*control.measurer);
  }
  static ControlOptions options_of(const std::string& id, const std::string& weights) {
    ControlOptions options = small_control(id, weights);
    options.pairs = 600;
    options.utility = 600;
    return options;
  }
  const ReachPoint* point(const Reach& reach, const std::string& bound, const std::string& constraint) const {
    for (const ReachPoint& one : reach.bounds.points)
      if (one.bound == bound && one.constraint == constraint) return &one;
    return nullptr;
  }

  ControlStudy control;
  DiagnosisOptions options;
  std::vector<int> signs;
  RouterProfile profile;
};

TEST(CriticalRows, ARouteThereIsWorthWhatTheEngineSays) {
  for (const std::string weights : {"renormalised", "raw"}) {
    Prepared prepared("X1", weights);
    const ReachBatches batches(*prepared.control.scorer, prepared.control.study);
    const std::vector<int64_t> pairs = {0, 1, 2, 3, 4, 5};
    const auto critical = critical_rows(batches, pairs);
    ASSERT_TRUE(critical.rows) << critical.reason;
    ASSERT_EQ(critical.rows->rows.size(), 12u);  // one in each text
    const Model& model = batches.model();
    const at::Tensor routes = sample_routes(model, *critical.rows, critical.rows->logits_NE, 3, false, 7, "test");
    const at::Tensor base = margin_parts(model, *critical.rows, critical.rows->base_ids_NK.unsqueeze(1));
    const at::Tensor parts = margin_parts(model, *critical.rows, routes);
    const ReachBatch batch = batches.make(pairs, {});
    for (size_t n = 0; n < critical.rows->rows.size(); ++n)
      for (int64_t g = 0; g < 3; ++g) {
        // The same route by large shifts of the chosen experts' logits would change their weights: replay it instead.
        const size_t pair = critical.rows->rows[n].pair;
        const ReachBatch::PairRows& own = batch.pairs[pair];
        const std::vector<Target>& targets = critical.rows->rows[n].targets.front().second > 0 ? own.stereo : own.anti;
        const int32_t row =
            targets[5].row;  // position 5 of a control sentence predicts the trait; the prefix token is position 0
        auto table = std::make_shared<RouteTable>();
        table->token_ids = {0};
        table->offsets = {0, 1};
        const int64_t layer = model.spec().num_layers - 1, k = routes.size(2);
        RouteTable::Layer stored{k, std::vector<int32_t>(static_cast<size_t>(k)),
                                 std::vector<float>(static_cast<size_t>(k))};
        const at::Tensor p = critical.rows->logits_NE[static_cast<int64_t>(n)].softmax(-1);
        double chosen = 0, before = 0;
        for (int64_t i = 0; i < k; ++i) {
          stored.ids[static_cast<size_t>(i)] = routes[static_cast<int64_t>(n)][g][i].item<int32_t>();
          chosen += p[routes[static_cast<int64_t>(n)][g][i].item<int64_t>()].item<double>();
          before += p[critical.rows->base_ids_NK[static_cast<int64_t>(n)][i].item<int64_t>()].item<double>();
        }
        for (int64_t i = 0; i < k; ++i)
          stored.weights[static_cast<size_t>(i)] = static_cast<float>(
              p[stored.ids[static_cast<size_t>(i)]].item<double>() / chosen * (weights == "raw" ? before : 1.0));
        table->layers[layer] = stored;
        const Edit edit{ForceRoutes{table, ""}, {layer}, {}};
        ScopedEdit scoped{&edit, std::vector<uint8_t>(batch.packed.pack.token_ids.size(), 0), {}};
        scoped.scope_T[static_cast<size_t>(row)] = 1;
        scoped.table_row_T.assign(scoped.scope_T.size(), -1);
        scoped.table_row_T[static_cast<size_t>(row)] = 0;
        const LayerEdits edits = {{layer, {scoped}}};
        ForwardOptions forward_options;
        forward_options.edits = &edits;
        const ReachPass pass = batches.read(batch, forward(model, batch.packed.pack, forward_options));
        EXPECT_NEAR(pass.margins[pair] - own.base_margin,
                    parts[static_cast<int64_t>(n)][g].item<double>() - base[static_cast<int64_t>(n)][0].item<double>(),
                    2e-4)
            << weights << " row " << n << " route " << g;
      }
  }
}

// From small changes to some so large that most probabilities are 0 in float32, as a wide model's router reaches after
// some steps.
TEST(CriticalRows, AChangedRouterIsWorthWhatTheEngineSays) {
  for (const std::string weights : {"renormalised", "raw"}) {
    Prepared prepared("X1", weights);
    const ReachBatches batches(*prepared.control.scorer, prepared.control.study);
    const std::vector<int64_t> pairs = {0, 1, 2};
    const auto critical = critical_rows(batches, pairs);
    ASSERT_TRUE(critical.rows) << critical.reason;
    const Model& model = batches.model();
    const ReachBatch batch = batches.make(pairs, {});
    const int64_t num_experts = critical.rows->logits_NE.size(1), k = critical.rows->base_ids_NK.size(1);
    const at::Tensor base = margin_parts(model, *critical.rows, critical.rows->base_ids_NK.unsqueeze(1));
    at::manual_seed(3);
    const at::Tensor direction_ED = at::randn({num_experts, critical.rows->input_ND.size(1)}),
                     direction_E = at::randn({num_experts});
    double most = 0;
    for (const double size : {0.01, 0.1, 20.0}) {
      const at::Tensor change_ED = direction_ED * size, change_E = direction_E * size;
      CriticalRows moved = *critical.rows;
      moved.logits_NE = moved.logits_NE + at::mm(moved.input_ND, change_ED.t()) + change_E;
      const auto parts_of = [&](bool largest) {
        return margin_parts(model, moved, std::get<1>(moved.logits_NE.topk(k, -1, largest)).unsqueeze(1));
      };
      const at::Tensor parts = parts_of(true);
      const Intervention change = router_change(model, change_ED, change_E, 1);
      EXPECT_TRUE(parts_of(false).isfinite().all().item<bool>());
      for (size_t n = 0; n < critical.rows->rows.size(); ++n) {
        const size_t pair = critical.rows->rows[n].pair;
        const ReachBatch::PairRows& own = batch.pairs[pair];
        const std::vector<Target>& targets = critical.rows->rows[n].targets.front().second > 0 ? own.stereo : own.anti;
        LayerEdits edits = batches.edits_of(batch, change);
        for (ScopedEdit& scoped : edits.begin()->second) {
          scoped.scope_T.assign(batch.packed.pack.token_ids.size(), 0);
          scoped.scope_T[static_cast<size_t>(targets[5].row)] = 1;  // as above
        }
        ForwardOptions forward_options;
        forward_options.edits = &edits;
        const ReachPass pass = batches.read(batch, forward(model, batch.packed.pack, forward_options));
        const double by = (parts - base)[static_cast<int64_t>(n)][0].item<double>();
        EXPECT_NEAR(pass.margins[pair] - own.base_margin, by, 2e-4) << weights << " row " << n << " size " << size;
        most = std::max(most, std::abs(by));
      }
    }
    EXPECT_GT(most, 0.1);
  }
}

TEST(SampledRoutes, FollowDrawingWithoutReplacement) {
  // Four experts, two drawn: P({a, b}) = p_a p_b / (1 - p_a) + p_b p_a / (1 - p_b), by enumeration.
  Prepared prepared("X1");
  const ReachBatches batches(*prepared.control.scorer, prepared.control.study);
  auto critical = critical_rows(batches, std::vector<int64_t>{0});
  ASSERT_TRUE(critical.rows);
  const int64_t num_experts = critical.rows->logits_NE.size(1), k = critical.rows->base_ids_NK.size(1);
  at::Tensor logits = at::full({1, num_experts}, -60.0f);
  const std::vector<double> p = {0.5, 0.25, 0.15, 0.1};
  for (int64_t e = 0; e < 4; ++e) logits[0][e] = std::log(p[static_cast<size_t>(e)]);
  critical.rows->rows.resize(1);
  constexpr int64_t kDraws = 20000;
  const at::Tensor routes =
      sample_routes(batches.model(), *critical.rows, logits, kDraws, false, 1, "test/inclusion")[0].contiguous();
  ASSERT_EQ(k, 3);
  // With three of four drawn, the one left out is drawn last: P = sum over orders.
  std::vector<double> left_out(4, 0.0);
  std::vector<int> order = {0, 1, 2, 3};
  do {
    double chance = 1, rest = 1;
    for (const int e : order) chance *= p[static_cast<size_t>(e)] / rest, rest -= p[static_cast<size_t>(e)];
    left_out[static_cast<size_t>(order[3])] += chance;
  } while (std::next_permutation(order.begin(), order.end()));
  std::vector<double> found(4, 1.0);
  for (int64_t i = 0; i < kDraws * k; ++i)
    found[static_cast<size_t>(routes.const_data_ptr<int64_t>()[i])] -= 1.0 / kDraws;
  for (size_t e = 0; e < 4; ++e) EXPECT_NEAR(found[e], left_out[e], 0.015) << e;
}

ReachOptions quick(uint64_t seed) {
  ReachOptions how = ReachOptions::of(StudyProfile::kSmall, seed);
  how.router.resize(1);
  return how;
}

// The grid's winner is not needed: the searches start from 0.
TEST(SearchReach, AStaticBiasReachesWhatSitsInExpertsOfItsOwn) {
  Prepared prepared("X1");
  const Reach reach = search_reach(*prepared.control.measurer, SearchResult{}, prepared.profile, prepared.signs,
                                   quick(0), prepared.options);
  for (const char* bound : {"a6_gradient", "a6_second_optimiser"}) {
    const ReachPoint* free = prepared.point(reach, bound, "none");
    ASSERT_NE(free, nullptr) << bound;
    EXPECT_GT(*free->validation_pp, 6) << bound;
    // Two experts hold it: what else the optimisers moved is left out again.
    for (const ReachPick& pick : reach.found.picks) {
      if (pick.bound != bound || pick.constraint != "none") continue;
      EXPECT_LE(pick.breadth, 2) << bound;
    }
  }
  const ReachPoint* cheap = prepared.point(reach, "a6_gradient", "within_tau");
  ASSERT_NE(cheap, nullptr);
  EXPECT_GT(*cheap->validation_pp, 6);
  ASSERT_FALSE(reach.oracle_validation.shifts.empty()) << reach.oracle_validation.reason;
  EXPECT_GT(reach.oracle_validation.shifts.back().value_pp, 3);
  for (const Detector& detector : reach.found.detectors) EXPECT_GT(detector.auc.value_or(0), 0.9) << detector.layer;
  EXPECT_EQ(reach.bounds.complete, (std::vector<std::string>{"static", "conditional", "router_only"}));
  for (const SearchCandidate& candidate : reach.bounds.candidates)
    EXPECT_NO_THROW(candidate.intervention.check(prepared.control.measurer->model()));
}

TEST(SearchReach, NothingReachesWhatTheRouterDoesNotTouch) {
  Prepared prepared("X5");
  const Reach reach = search_reach(*prepared.control.measurer, SearchResult{}, prepared.profile, prepared.signs,
                                   quick(0), prepared.options);
  for (const ReachPoint& point : reach.bounds.points)
    EXPECT_LT(*point.validation_pp, 3) << point.bound << " " << point.constraint;
  EXPECT_LT(reach.oracle_validation.shifts.back().value_pp, 3);
}

TEST(SearchReach, ConditionalControlSparesFactsThatShareTheExperts) {
  Prepared prepared("X2");
  const Reach reach = search_reach(*prepared.control.measurer, SearchResult{}, prepared.profile, prepared.signs,
                                   quick(0), prepared.options);
  const ReachPoint *fixed = prepared.point(reach, "a6_gradient", "within_tau"),
                   *tokens = prepared.point(reach, "conditional_tokens", "within_tau");
  ASSERT_NE(fixed, nullptr);
  ASSERT_NE(tokens, nullptr);
  EXPECT_GT(*tokens->validation_pp, *fixed->validation_pp + 3);
  EXPECT_LE(*tokens->validation_drop_pp, 1);
}

TEST(RandomLike, KeepsSizesAndLeavesTheOwnExpertsOut) {
  RoutedModel model;
  model.router.num_experts = 6;
  Intervention own;
  AddLogit add{{1, 4}, {2.0, -3.0}};
  add.keep_sum = true;
  own.edits.push_back({add, {2}, {}});
  for (int64_t draw = 0; draw < 10; ++draw) {
    const auto other = random_like(own, model, true, 0, draw, 0.5);
    ASSERT_TRUE(other);
    const auto& drawn = std::get<AddLogit>(other->edits[0].op);
    ASSERT_EQ(drawn.experts.size(), 2u);
    for (const int32_t e : drawn.experts) EXPECT_TRUE(e != 1 && e != 4);
    EXPECT_DOUBLE_EQ(std::abs(drawn.values[0]), 1.0);
    EXPECT_DOUBLE_EQ(std::abs(drawn.values[1]), 1.5);
  }
  AddLogit all{{0, 1, 2, 3, 4, 5}, std::vector<double>(6, 1.0)};
  own.edits[0].op = all;
  EXPECT_FALSE(random_like(own, model, true, 0, 0, 1).has_value());
  EXPECT_TRUE(random_like(own, model, false, 0, 0, 1).has_value());
}

}  // namespace
}  // namespace fare
