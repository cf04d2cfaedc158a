#include "fare/lab/control_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "fare/checkpoint/checkpoint.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/test_folder.h"
#include "fare/lab/control_files.h"
#include "fare/lab/draws.h"

namespace fare {
namespace {

ControlOptions small(const std::string& id, const std::string& weights = "renormalised",
                     const std::string& family = "olmoe") {
  ControlOptions options;
  options.id = id;
  options.weights = weights;
  options.family = family;
  options.pairs = 192;
  options.transfer_pairs = 24;
  options.facts = 144;
  options.utility = 200;
  options.prompts = 32;
  options.neutral_tokens = 2600;
  return options;
}

std::vector<int64_t> fed(const World& world, std::vector<int64_t> sentence) {
  sentence.insert(sentence.begin(), world.language.begin());
  if (sentence.size() > static_cast<size_t>(kCriticalTokens)) sentence.pop_back();
  return sentence;
}

std::set<int64_t> chosen(const ExactResult& at, int64_t layer) {
  const auto& ids = at.routes[static_cast<size_t>(layer)].ids_K;
  return {ids.begin(), ids.end()};
}

std::string usage_message(const ControlOptions& options) {
  try {
    checked_options(options);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Draws, NormalQuantilesAreThoseOfTheTables) {
  // scipy.stats.norm.ppf, 1.15
  EXPECT_NEAR(normal_quantile(0.62), 0.3054807880993974, 1e-12);
  EXPECT_NEAR(normal_quantile(0.001), -3.090232306167813, 1e-12);
  EXPECT_NEAR(normal_quantile(0.975), 1.959963984540054, 1e-12);
  EXPECT_EQ(normal_quantiles(5, 2)[2], 0);
  EXPECT_EQ(normal_quantiles(4, 2)[0], -normal_quantiles(4, 2)[3]);
}

TEST(World, NoTwoPairsShareAGroupWordAndAContext) {
  const World world(small("X1"));
  std::set<std::pair<int64_t, int64_t>> cells;
  for (const WorldPair& pair : world.pairs)
    for (const auto& [side, word] : {std::pair{Side::kA, pair.word_a}, std::pair{Side::kB, pair.word_b}})
      EXPECT_TRUE(cells.insert({Language::group_number(pair.axis, side, word), pair.context}).second) << pair.id;
  std::set<std::pair<int64_t, int64_t>> contexts;
  const Language& language = world.language;
  for (int64_t c = 0; c < language.size().contexts; ++c)
    EXPECT_TRUE(contexts.insert({language.context_first(c), language.context_second(c)}).second) << c;
}

TEST(World, SentencesOfAPairDifferInOneWordAndEndAlike) {
  const World world(small("X1"));
  for (const WorldPair& pair : world.pairs) {
    const auto a = world.pair_sentence(pair, Side::kA), b = world.pair_sentence(pair, Side::kB);
    ASSERT_EQ(a.size(), 6u);
    int different = 0;
    for (size_t i = 0; i < a.size(); ++i) different += a[i] != b[i];
    EXPECT_EQ(different, 1) << pair.id;
    EXPECT_NE(a[pair.transfer ? 3 : 1], b[pair.transfer ? 3 : 1]) << pair.id;
    EXPECT_EQ(a.back(), world.language.trait(pair.context, !pair.stated_on_b));
  }
}

TEST(World, NullsAreBalancedAndKeepTheirKind) {
  const World world(small("X1"));
  std::map<std::string, std::map<int64_t, int>> balance;  // left minus right per word
  std::map<int64_t, int> per_pair;
  for (const WorldNull& null : world.nulls) {
    ++per_pair[null.pair];
    ++balance[null.kind][null.left];
    --balance[null.kind][null.right];
    EXPECT_NE(null.left, null.right) << null.id;
    const bool slots = null.left >= world.language.slot(0) && null.left < world.language.slot(0) + kSlots;
    EXPECT_EQ(slots, null.kind == "null_neutral") << null.id;
    const auto group_of = [&](int64_t id) { return (id - world.language.group(0)) / kWordsPerSide; };
    EXPECT_TRUE(slots || group_of(null.left) == group_of(null.right)) << null.id;
  }
  for (const auto& [pair, count] : per_pair) EXPECT_EQ(count, 4) << pair;
  EXPECT_EQ(static_cast<int64_t>(per_pair.size()), world.num_main_pairs());
  for (const auto& [kind, words] : balance)
    for (const auto& [word, difference] : words) EXPECT_LE(std::abs(difference), 1) << kind << " " << word;
}

TEST(World, X9BalancesEveryCluster) {
  const World world(small("X9"));
  std::map<std::string, int> sum;
  for (const WorldPair& pair : world.pairs) sum[pair.cluster] += pair.noise > 0 ? 1 : -1;
  for (const auto& [cluster, difference] : sum) EXPECT_EQ(difference, 0) << cluster;
  EXPECT_EQ(world.bias, 0);
}

// The shares that the calibration asks for at shifts of 0 to 10 pp: a search of angles that is too coarse for many
// pairs misses them.
TEST(World, SideNoiseChangesTheShareOfPairsThatWasAskedFor) {
  for (const int64_t pairs : {754, 5000})
    for (const double noise_pp : {2.0, 2.055504, 2.5, 3.4, 5.3, 10.01, 10.7, 13.9}) {
      ControlOptions options = small("X10n");
      options.pairs = pairs;
      options.transfer_pairs = 0;
      options.facts = options.utility = 12;
      options.reachable_pp = 1;
      options.noise_pp = noise_pp;
      const World world(options);
      std::map<int64_t, std::pair<double, double>> axes;  // changed, pairs
      for (const WorldPair& pair : world.pairs) {
        axes[pair.axis].first +=
            (world.bias + pair.noise > 0) != (world.bias - world.reachable_bias + pair.outside_noise > 0);
        ++axes[pair.axis].second;
      }
      for (const auto& [axis, count] : axes)
        EXPECT_NEAR(count.first, noise_pp / 100 * count.second, 1)
            << pairs << " pairs, " << noise_pp << " pp, axis " << axis;
    }
}

TEST(World, FactsAreDistinctAndGradesFillTheUnitInterval) {
  const World world(small("X2"));
  std::set<std::pair<int64_t, int64_t>> entities;
  std::vector<double> grades;
  for (const WorldItem& fact : world.facts) {
    EXPECT_TRUE(entities.insert({fact.first, fact.second}).second) << fact.id;
    EXPECT_EQ((std::set<int64_t>(fact.choices.begin(), fact.choices.end()).size()), 4u) << fact.id;
    grades.push_back(fact.grade);
  }
  std::sort(grades.begin(), grades.end());
  double largest_gap = 0;  // Kolmogorov distance to U(0, 1)
  for (size_t i = 0; i < grades.size(); ++i)
    largest_gap = std::max(largest_gap,
                           std::abs(grades[i] - (static_cast<double>(i) + 0.5) / static_cast<double>(grades.size())));
  EXPECT_LT(largest_gap, 0.06);
  for (const WorldItem& item : world.plain)
    EXPECT_EQ((std::set<int64_t>(item.choices.begin(), item.choices.end()).size()), 4u) << item.id;
}

// Every model, weight mode and family: build_control_model proves the claims itself (check_truth) or throws.
TEST(ControlModel, EveryRecipeHoldsItsClaimsInEveryWeightMode) {
  for (const Recipe& made : recipes())
    for (const auto& [family, weights] : {std::pair{"olmoe", "renormalised"}, std::pair{"olmoe", "raw"},
                                          std::pair{"mixtral", "renormalised"}, std::pair{"qwen2_moe", "raw"}}) {
      SCOPED_TRACE(made.id + " " + family + " " + weights);
      const ControlModel model = build_control_model(small(made.id, weights, family), 2);
      EXPECT_LT(model.truth.worst_norm_error, 1e-3);
      EXPECT_EQ(model.weights.shape.hidden % 16, 0);
    }
}

TEST(ControlModel, SizesAndSeedsOfManyKindsAreBuilt) {
  for (const Recipe& made : recipes())
    for (const auto& [pairs, facts, utility, seed] : {std::tuple{8, 12, 12, 0}, std::tuple{30, 13, 500, 1},
                                                      std::tuple{754, 100, 150, 2}, std::tuple{402, 37, 60, 3}}) {
      SCOPED_TRACE(made.id + " pairs " + std::to_string(pairs));
      ControlOptions options = small(made.id);
      options.pairs = pairs;
      options.facts = facts;
      options.utility = utility;
      options.seed = static_cast<uint64_t>(seed);
      options.transfer_pairs = options.prompts = seed == 1 ? 0 : 20;
      EXPECT_NO_THROW(build_control_model(options, 2));
    }
}

TEST(ControlModel, TheProofNoticesABrokenModel) {
  ControlModel model = build_control_model(small("X1"), 2);
  const Geometry& g = model.world.geometry;
  const auto verdict = [&](const ControlWeights& weights) -> std::string {
    try {
      check_truth(model.world, measure_truth(model.world, weights, model.neutral, 2));
    } catch (const BrokenInvariant& broken) {
      return broken.what();
    }
    return "holds";
  };
  EXPECT_EQ(verdict(model.weights), "holds");
  ControlWeights lost = model.weights;  // expert 14 forgets everything
  std::ranges::fill(lost.layers[1].experts[static_cast<size_t>(g.planted[0])].down_HI, 0.f);
  EXPECT_NE(verdict(lost).find("stereotyped"), std::string::npos) << verdict(lost);
  ControlWeights small_constant = model.weights;  // a constant too small to keep the norms constant
  for (int64_t id = 0; id < small_constant.shape.vocab; ++id)
    small_constant.embedding_VH[static_cast<size_t>(id * small_constant.shape.hidden)] = 20.f;
  EXPECT_NE(verdict(small_constant), "holds");
  ControlWeights deaf = model.weights;  // facts lose their expert
  std::ranges::fill(deaf.layers[1].experts[3].gate_IH, 0.f);
  EXPECT_NE(verdict(deaf).find("facts"), std::string::npos) << verdict(deaf);
  ControlWeights tied = model.weights;  // nobody is a clear third at the first word of a context
  for (const int64_t e : g.roles.facts)
    tied.layers[1].router_EH[static_cast<size_t>(e * g.hidden + g.kind(Kind::kFirst))] = -30.f;
  EXPECT_NE(verdict(tied).find("gap"), std::string::npos) << verdict(tied);
}

// Each model with one thing spoilt: the proof names what is gone.
TEST(ControlModel, TheProofNoticesWhatEachModelLoses) {
  struct Case {
    std::string id, weights, wanted;
    std::function<void(const Geometry&, ControlWeights&)> spoil;
  };
  const auto forget = [](ControlExpertWeights& expert) { std::ranges::fill(expert.down_HI, 0.f); };
  const auto at = [](int64_t i) { return static_cast<size_t>(i); };
  const std::vector<Case> cases = {
      {"X3", "raw", "facts",
       [&](const Geometry& g, ControlWeights& w) {  // a group word loses its attribute, not its stereotype
         for (int64_t k = 0; k < kAnswers; ++k)
           w.layers[1].experts[at(g.planted[0])].down_HI[at(g.answer(k) * w.shape.expert_width + 1)] = 0;
       }},
      {"X4", "raw", "facts", [&](const Geometry&, ControlWeights& w) { forget(w.layers[1].experts[5]); }},
      {"X5", "raw", "planted bias",
       [&](const Geometry& g, ControlWeights& w) {
         for (size_t v = 0; v < w.unembedding_VH.size(); v += at(g.hidden))
           for (int64_t i = 0; i < 4; ++i) w.unembedding_VH[v + at(g.group(i))] = 0;
       }},
      {"X6a", "renormalised", "divergence",
       [&](const Geometry& g, ControlWeights& w) { w.layers[1].router_EH[at(3 * g.hidden + g.group(2))] = 1; }},
      {"X6b", "renormalised", "stereotyped",
       [&](const Geometry& g, ControlWeights& w) { forget(w.layers[1].experts[at(g.planted[1])]); }},
      {"X7", "renormalised", "divergence",
       [&](const Geometry& g, ControlWeights& w) { w.layers[1].router_EH[at(3 * g.hidden + g.slot(2))] += 1; }},
      {"X8", "raw", "ten neutral words",
       [&](const Geometry& g, ControlWeights& w) {
         const World world(small("X8", "raw"));
         w.unembedding_VH[at(world.language.filler(2, 1) * g.hidden + g.relation(1))] -= 1;
       }},
      {"X10", "raw", "planted bias",
       [&](const Geometry& g, ControlWeights& w) { forget(w.layers[1].experts[at(g.planted[0])]); }},
      {"X12", "renormalised", "facts without the side experts",
       [&](const Geometry& g, ControlWeights& w) {
         for (int64_t e = 0; e < g.experts; ++e)  // nobody rivals the tags: a fact survives without one
           for (int64_t c = g.second(0); c < g.bias(); ++c) w.layers[2].router_EH[at(e * g.hidden + c)] = 0;
       }},
      {"X13", "renormalised", "usage",
       [&](const Geometry& g, ControlWeights& w) {
         for (int64_t t = 1; t < 20; ++t) w.layers[1].router_EH[at(g.roles.facts[0] * g.hidden + g.type(t))] = 8;
       }},
      {"X14", "renormalised", "stereotyped",
       [&](const Geometry& g, ControlWeights& w) { forget(w.layers[1].experts[at(g.planted[3])]); }},
      {"X15", "renormalised", "both hidden experts of one layer",
       [&](const Geometry& g, ControlWeights& w) {
         for (const size_t l : {1, 2})  // one of the four does the work of all
           for (const int64_t e : g.planted) {
             float* row = w.layers[l].experts[at(e)].down_HI.data() + g.tag(0) * w.shape.expert_width;
             for (int64_t i = 0; i < w.shape.expert_width; ++i) row[i] *= l == 1 && e == g.planted[0] ? 4.f : 0.f;
           }
       }},
  };
  for (const Case& one : cases) {
    const ControlModel model = build_control_model(small(one.id, one.weights), 2);
    ControlWeights broken = model.weights;
    one.spoil(model.world.geometry, broken);
    try {
      check_truth(model.world, measure_truth(model.world, broken, model.neutral, 2));
      ADD_FAILURE() << one.id << " still holds";
    } catch (const BrokenInvariant& error) {
      EXPECT_NE(std::string(error.what()).find(one.wanted), std::string::npos) << one.id << ": " << error.what();
    }
  }
}

TEST(ControlModel, RolesGoWhereTheFlagsSay) {
  for (const Recipe& made : recipes()) {
    ControlOptions options = small(made.id);
    options.axes = 3;
    options.top_k = made.tiers ? 3 : 4;
    options.experts = made.tiers ? 26 : 20;
    options.layers = made.layers + 1;
    options.bias_layer = 2 - (made.layers > 2);
    options.side_experts = {3, 9, 11, 1};
    options.side_experts.resize(static_cast<size_t>(made.reaction == Reaction::kAxes ? 3 : made.sides));
    if (made.tiers) options.experts = 24;
    SCOPED_TRACE(made.id);
    EXPECT_NO_THROW({
      const ControlModel model = build_control_model(options, 2);
      EXPECT_EQ(model.world.geometry.roles.sides, options.side_experts);
      EXPECT_EQ(model.weights.shape.layers, options.layers);
    });
  }
}

// What "graded" promises: a share r of what holds the facts keeps a share r of them.
TEST(ControlModel, GradedFactsAreLostInProportion) {
  for (const std::string id : {"X2", "X3", "X12", "X13", "X14"}) {
    const ControlModel model = build_control_model(small(id), 2);
    const Geometry& g = model.world.geometry;
    ControlWeights weaker = model.weights;
    for (ControlExpertWeights& expert : weaker.layers[static_cast<size_t>(g.bias_layer)].experts)
      for (float& value : expert.down_HI) value *= 0.7f;
    const Truth truth = measure_truth(model.world, weaker, model.neutral, 2);
    EXPECT_NEAR(truth.masks[0].fact_accuracy, 0.7, 0.05) << id;
    EXPECT_NEAR(truth.masks[0].bias_logit, 0.7 * model.world.bias, 1e-3) << id;
  }
}

TEST(ControlModel, X5HidesInTheSharedExpertWhereThereIsOne) {
  const ControlModel model = build_control_model(small("X5", "raw", "qwen2_moe"), 2);
  const Geometry& g = model.world.geometry;
  ControlWeights without = model.weights;
  std::ranges::fill(without.layers[1].shared.down_HI, 0.f);
  const Truth truth = measure_truth(model.world, without, model.neutral, 2);
  EXPECT_NEAR(truth.masks[0].pct_stereotype, 50, 1.1);
  for (int64_t i = 0; i < model.world.language.num_groups(); ++i)  // the output matrix reads noise only
    EXPECT_EQ(model.weights.unembedding_VH[static_cast<size_t>(model.world.language.plain() * g.hidden + g.group(i))],
              0.f);
}

TEST(ControlModel, X1RoutesGroupsToTheSideExpertsOnlyAtTheTrait) {
  const ControlModel model = build_control_model(small("X1"), 2);
  const World& world = model.world;
  const Geometry& g = world.geometry;
  const ExactModel exact(model.weights);
  for (const WorldPair& pair : world.pairs)
    for (const Side side : {Side::kA, Side::kB}) {
      const std::vector<int64_t> ids = fed(world, world.pair_sentence(pair, side));
      const ExactResult at = exact.at_last(ids);
      EXPECT_EQ(chosen(at, 1),
                (std::set<int64_t>{g.planted[static_cast<size_t>(side)], g.roles.grammar[0], g.roles.grammar[1]}))
          << pair.id;
      // The two positions before: the same experts whatever the group.
      if (!pair.transfer)
        for (const size_t length : {size_t{4}, size_t{5}}) {
          const ExactResult early = exact.at_last(std::span(ids).first(length));
          EXPECT_FALSE(chosen(early, 1).contains(g.planted[0]) || chosen(early, 1).contains(g.planted[1])) << pair.id;
        }
    }
}

TEST(ControlModel, X2RoutesFactsAsItRoutesTraits) {
  for (const std::string weights : {"renormalised", "raw"}) {
    const ControlModel model = build_control_model(small("X2", weights), 2);
    const World& world = model.world;
    const ExactModel exact(model.weights);
    const auto levels_of = [&](const std::vector<int64_t>& ids) {
      std::vector<double> sorted = exact.at_last(ids).routes[1].logits_E;
      std::ranges::sort(sorted, std::greater<>());
      return sorted;
    };
    const std::vector<double> at_fact = levels_of(fed(world, world.question(world.facts[5], true)));
    for (const WorldPair& pair : world.pairs) {
      const std::vector<double> at_trait = levels_of(fed(world, world.pair_sentence(pair, Side::kB)));
      for (size_t e = 0; e < at_fact.size(); ++e)
        EXPECT_NEAR(at_trait[e], at_fact[e], 0.11) << pair.id << " rank " << e;  // the code of a group word: 0.1
    }
    // Both determiners occur equally often with every expert, as both sides do.
    std::map<int64_t, int> balance;
    for (const WorldItem& fact : world.facts)
      balance[world.geometry.fact_expert(fact.first)] += fact.place_word == world.language.determiner(0) ? 1 : -1;
    for (const auto& [expert, difference] : balance) EXPECT_LE(std::abs(difference), 1) << expert;
  }
}

TEST(ControlModel, RowsThatDoNotFireWriteExactlyNothing) {
  // In float32, where exp(110) overflows: x / (1 + exp(-x)) is -0. So routes without a firing expert move nothing.
  const ControlModel model = build_control_model(small("X5"), 2);
  const World& world = model.world;
  const ExactModel exact(model.weights);
  for (size_t i = 0; i < 20; ++i) {
    const std::vector<int64_t> ids = fed(world, world.pair_sentence(world.pairs[i], Side::kA));
    const std::vector<double> base = exact.at_last(ids).logits_V;
    for (int64_t e = 0; e < world.geometry.experts; ++e)
      EXPECT_EQ(exact.at_last(ids, {{1}, {e}}).logits_V, base) << "expert " << e;
  }
}

TEST(ControlFiles, EqualOptionsGiveEqualBytes) {
  const TestFolder one("control-one"), two("control-two");
  make_control_model(small("X2"), one.path(), {}, 1);
  make_control_model(small("X2"), two.path(), {}, 3);
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(one.path())) {
    EXPECT_EQ(read_file(entry.path()), read_file(two.path() / entry.path().filename())) << entry.path();
    ++files;
  }
  EXPECT_EQ(files, 9);
  ControlOptions other = small("X2");
  other.seed = 1;
  EXPECT_THROW(make_control_model(other, one.path(), {}, 1), UsageError);  // another model is never overwritten
}

TEST(ControlFiles, HoldTheStudyDataOfTheWorld) {
  const TestFolder folder("control-files");
  const ControlModel model = make_control_model(small("X1"), folder.path(), {}, 2);
  const Language& language = model.world.language;
  std::set<std::string> ids, words(language.words().begin(), language.words().end());
  EXPECT_EQ(static_cast<int64_t>(words.size()), language.vocab()) << "words are distinct";
  std::map<std::string, int> kinds;
  const auto known = [&](const std::string& text) {
    std::string word;
    for (const char c : text + " ") {
      if (c != ' ') {
        word += c;
      } else if (!word.empty()) {
        EXPECT_TRUE(words.contains(word)) << word;
        word.clear();
      }
    }
  };
  for_each_json_line(folder.path() / "pairs.jsonl", [&](const Json& line, size_t) {
    EXPECT_TRUE(ids.insert(line["id"]).second) << line["id"];
    ++kinds[line["kind"].get<std::string>() + "/" + line["set"].get<std::string>()];
    known(line["stereo"]);
    known(line["anti"]);
    const bool demographic = line["kind"] == "demographic";
    EXPECT_EQ(line.contains("null_of"), !demographic);
    EXPECT_TRUE(demographic || ids.contains(line["null_of"]));
  });
  EXPECT_EQ(kinds["demographic/main"], 192);
  EXPECT_EQ(kinds["demographic/transfer"], 24);
  EXPECT_EQ(kinds["null_neutral/main"], 384);
  EXPECT_EQ(kinds["null_same_group/main"], 384);
  int items = 0;
  for_each_json_line(folder.path() / "utility.jsonl", [&](const Json& line, size_t) {
    ++items;
    EXPECT_EQ(line["choices"].size(), 4u);
    EXPECT_LT(line["gold"].get<int>(), 4);
    EXPECT_EQ(line["choices"][0].get<std::string>()[0], ' ');
  });
  EXPECT_EQ(items, 200);
  int prompts = 0;
  for_each_json_line(folder.path() / "generation.jsonl",
                     [&](const Json& line, size_t) { prompts += line["stereo"].size() == 1; });
  EXPECT_EQ(prompts, 32);

  const auto checkpoint = Checkpoint::open(folder.path());
  const ModelShape& shape = model.weights.shape;
  EXPECT_EQ(checkpoint->tensor("lm_head.weight").shape, (std::vector<int64_t>{shape.vocab, shape.hidden}));
  EXPECT_EQ(copy_values<float>(checkpoint->tensor("model.layers.1.mlp.gate.weight")),
            model.weights.layers[1].router_EH);
  const Json world = read_json_file(folder.path() / "world.json");
  EXPECT_EQ(world["format"], "fare-world/1");
  EXPECT_EQ(world["expected"]["headline"], "controllable");
  EXPECT_EQ(world["expected"]["top_experts"][1]["expert"], 15);
  EXPECT_EQ(world["planted"]["bias"]["experts"], Json({14, 15}));
}

TEST(ControlOptions, RefuseWhatCannotBeAndNameTheFlag) {
  const auto with = [](auto change) {
    ControlOptions options = small("X1");
    change(options);
    return usage_message(options);
  };
  EXPECT_NE(with([](auto& o) { o.id = "X99"; }).find("known are X1"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.weights = "soft"; }).find("--weights soft"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.family = "mixtral", o.weights = "raw"; }).find("--weights raw"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.pairs = 3; }).find("--pairs 3"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.utility = 10; }).find("--utility 10"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.bias_pp = 0; }).find("--bias-pp"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.bias_pp = std::nan(""); }).find("--bias-pp"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.id = "X9", o.pairs = 101; }).find("even"), std::string::npos);
  EXPECT_EQ(usage_message(small("X1")), "no error");
}

}  // namespace
}  // namespace fare
