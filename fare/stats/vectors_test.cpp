// Reads the reference vectors of the statistics (statistics-vectors.json in the design folder) at their stated absolute
// tolerances. Without the folder these tests skip; hand-computed cases are in the other tests of this folder.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "fare/core/json.h"
#include "fare/core/philox.h"
#include "fare/core/python_random.h"
#include "fare/core/source_folder.h"
#include "fare/stats/bootstrap.h"
#include "fare/stats/clusters.h"
#include "fare/stats/distributions.h"
#include "fare/stats/divergence.h"
#include "fare/stats/effect_size.h"
#include "fare/stats/equivalence.h"
#include "fare/stats/harness_stderr.h"
#include "fare/stats/mcnemar.h"
#include "fare/stats/moments.h"
#include "fare/stats/multiplicity.h"
#include "fare/stats/paired_t.h"
#include "fare/stats/permutation.h"
#include "fare/stats/power.h"
#include "fare/stats/proportions.h"
#include "fare/stats/search_effort.h"

namespace fare::stats {
namespace {

using Doubles = std::vector<double>;
using Nested = std::vector<std::vector<double>>;

std::filesystem::path vectors_path() {
  const char* folder = std::getenv("FARE_DESIGN");
  const auto base = folder ? std::filesystem::path(folder) : source_folder() / "../shared/design";
  return base / "statistics-vectors.json";
}

std::string hex8(uint32_t value) {
  char text[9];
  std::snprintf(text, sizeof text, "%08x", value);
  return text;
}

std::string hex16(uint64_t value) {
  return hex8(static_cast<uint32_t>(value >> 32)) + hex8(static_cast<uint32_t>(value));
}

uint32_t from_hex(const Json& text) { return static_cast<uint32_t>(std::stoul(text.get<std::string>(), nullptr, 16)); }

// One case of a group: what went in, what must come out, how close.
struct Case {
  std::string group;
  Json in, expected;
  double tolerance;
  std::set<std::string> read;  // Keys of `expected` that were compared.

  double number(const char* key) const { return in.at(key).get<double>(); }
  int64_t whole(const char* key) const { return in.at(key).get<int64_t>(); }
  Doubles list(const char* key) const { return in.at(key).get<Doubles>(); }

  void near(double got, const Json& want, const std::string& what) const {
    EXPECT_NEAR(got, want.get<double>(), tolerance) << what;
  }
  void key(const char* name, double got) {
    read.insert(name);
    near(got, expected.at(name), name);
  }
  void key(const char* name, const Outcome<double>& got) {
    read.insert(name);
    if (expected.at(name).is_null()) {
      EXPECT_FALSE(got) << name << " should be undefined";
      EXPECT_FALSE(got.reason.empty()) << name;
    } else {
      ASSERT_TRUE(got) << name << ": " << got.reason;
      near(*got, expected.at(name), name);
    }
  }
  void key(const char* name, const Interval& got) {
    read.insert(name);
    near(got.low, expected.at(name).at(0), std::string(name) + " low");
    near(got.high, expected.at(name).at(1), std::string(name) + " high");
  }
  void key(const char* name, std::span<const double> got) {
    read.insert(name);
    const auto& want = expected.at(name);
    ASSERT_LE(want.size(), got.size()) << name;
    for (size_t i = 0; i < want.size(); ++i) near(got[i], want[i], std::string(name) + " " + std::to_string(i));
  }
  void bca(const BcaInterval& got) {
    read.insert("bca");
    const auto& want = expected.at("bca");
    near(got.p0, want.at("p0"), "p0");
    near(got.z0, want.at("z0"), "z0");
    near(got.a, want.at("a"), "a");
    near(got.alpha1, want.at("alpha1"), "alpha1");
    near(got.alpha2, want.at("alpha2"), "alpha2");
    near(got.interval.low, want.at("ci").at(0), "bca low");
    near(got.interval.high, want.at("ci").at(1), "bca high");
  }
  // Every expected number has been compared.
  void done() const {
    if (!expected.is_object()) return;
    for (const auto& [name, value] : expected.items()) EXPECT_TRUE(read.count(name)) << name << " was not compared";
  }
};

using Check = void (*)(Case&);

struct Group {
  const char* name;
  Check check;
};

PValues optional_list(const Doubles& p) { return {p.begin(), p.end()}; }

void check_multiple(Case& c) {
  const auto p = optional_list(c.list("p"));
  const auto compare = [&](const char* name, const PValues& got) {
    Doubles flat;
    for (const auto& q : got) flat.push_back(q.value());
    c.key(name, flat);
  };
  compare("bh", benjamini_hochberg(p));
  compare("by", benjamini_yekutieli(p));
  compare("holm", holm(p));
}

void check_stream(Case& c) {
  const RandomStream s(c.in.at("seed").get<uint64_t>(), c.in.at("label").get<std::string>(),
                       c.in.at("replicate").get<uint32_t>(), c.in.at("substream").get<uint32_t>());
  for (size_t i = 0; i < c.expected.size(); ++i) {
    const auto& want = c.expected[i];
    if (want.is_string() && want.get<std::string>().size() == 8) {
      EXPECT_EQ(hex8(s.u32(i)), want.get<std::string>());
    } else if (want.is_string()) {
      EXPECT_EQ(hex16(s.u64(i)), want.get<std::string>());
    } else if (c.in.contains("n")) {
      EXPECT_EQ(s.index(i, c.in.at("n").get<uint64_t>()), want.get<uint64_t>());
    } else if (want.is_number_float()) {
      EXPECT_EQ(s.uniform(i), want.get<double>());
    } else {
      EXPECT_EQ(s.bit(i), want.get<int>() == 1);
    }
  }
}

void check_python(Case& c) {
  PythonRandom r(c.in.at("seed").get<uint64_t>());
  if (c.in.contains("operation")) {
    std::vector<int> items(c.whole("n"));
    for (size_t i = 0; i < items.size(); ++i) items[i] = static_cast<int>(i);
    r.shuffle(items);
    EXPECT_EQ(items, c.expected.get<std::vector<int>>());
    return;
  }
  for (const auto& want : c.expected) {
    if (c.in.contains("bits")) EXPECT_EQ(r.getrandbits(c.in.at("bits").get<int>()), want.get<uint64_t>());
    else if (c.in.contains("n")) EXPECT_EQ(r.floor_index(c.in.at("n").get<uint64_t>()), want.get<uint64_t>());
    else EXPECT_EQ(r.random(), want.get<double>());
  }
}

void check_fewshot(Case& c) {
  PythonRandom r(c.in.at("seed").get<uint64_t>());
  for (const auto& want : c.expected) {
    auto got = r.sample(c.in.at("population").get<uint64_t>(), c.in.at("k").get<uint64_t>());
    if (c.in.contains("keep")) got.resize(c.in.at("keep").get<size_t>());
    EXPECT_EQ(got, want.get<std::vector<uint64_t>>());
  }
}

void check_harness_bootstrap(Case& c) {
  const auto values = c.list("values");
  const bool is_median = c.in.at("statistic") == "sorted[n//2]";
  const auto statistic = [is_median](std::span<const double> x) {
    return is_median ? *upper_median(x) : std::exp(-*mean(x));
  };
  c.key("statistic", statistic(values));
  c.key("stderr", harness_bootstrap_stderr(values, statistic, c.whole("iters"), 2));
}

ResampleOptions resample_options(const Case& c) {
  ResampleOptions options;
  options.seed = c.in.at("seed").get<uint64_t>();
  options.label = c.in.at("label").get<std::string>();
  options.replicates = c.whole("B");
  options.num_threads = 2;
  return options;
}

void check_bootstrap_paired(Case& c) {
  const auto d = c.in.contains("d") ? c.list("d") : differences(c.list("a"), c.list("b"));
  const auto got = bootstrap_mean(d, resample_options(c));
  c.key("theta", got.estimate);
  c.key("first_replicates", got.replicates);
  c.key("replicate_mean", got.replicate_mean());
  c.key("replicate_sd", got.replicate_sd());
  c.key("percentile_ci95", *got.percentile(0.95));
  if (c.expected.contains("basic_ci95")) c.key("basic_ci95", *got.basic(0.95));
  c.bca(*got.bca(0.95));
}

void check_bootstrap_stratified(Case& c) {
  const auto d = differences(c.list("a"), c.list("b"));
  const auto names = c.in.at("category").get<std::vector<std::string>>();
  const auto got = bootstrap_stratified(d, names, resample_options(c));
  EXPECT_EQ(got.strata, c.expected.at("stratum_order").get<std::vector<std::string>>());
  c.read.insert("stratum_order");
  c.key("micro_theta", got.micro.estimate);
  c.key("macro_theta", got.macro.estimate);
  c.key("first_micro", got.micro.replicates);
  c.key("first_macro", got.macro.replicates);
  c.key("micro_percentile_ci95", *got.micro.percentile(0.95));
  c.key("macro_percentile_ci95", *got.macro.percentile(0.95));
  c.key("micro_sd", got.micro.replicate_sd());
  c.key("macro_sd", got.macro.replicate_sd());
}

struct Flat {
  Doubles d;
  Clusters clusters;
  Nested samples;
};

Flat flat_differences(const Case& c) {
  const auto a = c.in.at("a").get<Nested>(), b = c.in.at("b").get<Nested>();
  Flat out;
  std::vector<std::string> names;
  for (size_t p = 0; p < a.size(); ++p) {
    out.samples.push_back(differences(a[p], b[p]));
    for (const double value : out.samples.back()) {
      out.d.push_back(value);
      names.push_back("prompt " + std::to_string(p));
    }
  }
  out.clusters = cluster_by_name(names);
  return out;
}

void check_bootstrap_cluster(Case& c) {
  const auto flat = flat_differences(c);
  const auto got = bootstrap_cluster_mean(flat.d, flat.clusters, resample_options(c));
  c.key("theta", got.estimate);
  c.key("first_replicates", got.replicates);
  c.key("percentile_ci95", *got.percentile(0.95));
  c.key("replicate_sd", got.replicate_sd());
  c.bca(*got.bca(0.95));
  const auto seeds = *analyse_seeds(flat.samples);
  c.key("se_cluster_mean", seeds.se_cluster_mean);
  c.key("msb", seeds.anova.ms_between);
  c.key("msw", seeds.anova.ms_within);
  c.key("var_between", seeds.var_between);
  c.key("var_within", seeds.var_within);
  c.key("icc", seeds.anova.icc);
}

void check_sign_flip(Case& c) {
  SignFlipOptions options;
  Doubles d;
  if (c.in.contains("d")) {
    d = c.list("d");
  } else {
    const auto flat = flat_differences(c);
    d = cluster_sums(flat.d, flat.clusters);
    c.key("cluster_sums", d);
    options.drop_zeros = false;
  }
  const auto got = *sign_flip(d, options);
  EXPECT_TRUE(got.exact);
  c.key(c.expected.contains("count") ? "count" : "count_nonzero_only", static_cast<double>(got.extreme));
  c.key("total", static_cast<double>(got.total));
  c.key("p", got.p);
}

void check_sign_flip_monte_carlo(Case& c) {
  const auto d = c.list("d");
  SignFlipOptions options;
  const auto exact = *sign_flip(d, options);
  c.key("exact_p", exact.p);
  c.key("exact_count", static_cast<double>(exact.extreme));
  options.seed = c.in.at("seed").get<uint64_t>();
  options.label = c.in.at("label").get<std::string>();
  options.draws = c.whole("draws");
  options.max_exact_units = 0;
  const auto got = *sign_flip(d, options);
  c.key("exceed", static_cast<double>(got.extreme));
  c.key("p", got.p);
}

void check_mde(Case& c) {
  const PowerLevels levels{c.number("alpha"), c.number("power")};
  const double n = c.number("n");
  if (c.in.contains("sd_diff")) {
    c.key("mde", minimum_detectable_effect(c.number("sd_diff"), n, levels));
    c.key("n_for_0.02", static_cast<double>(items_needed(c.number("sd_diff"), 0.02, levels)));
  } else if (c.expected.contains("mde_simple")) {
    c.key("mde_simple", minimum_detectable_shift(c.number("discordant"), n, levels));
  } else {
    c.key("factor", smallest_equivalence_margin(1, 1, levels));
    c.key("margin", smallest_equivalence_margin(std::sqrt(c.number("discordant")), n, levels));
  }
}

void check_clustered(Case& c) {
  const auto values = c.list("values");
  const auto names = c.in.at("clusters").get<std::vector<std::string>>();
  const auto clusters = cluster_by_name(names);
  const auto got = *clustered_error(values, clusters);
  c.key("mean", got.mean);
  c.key("se_iid", got.se_naive);
  c.key("se_cr0", got.se_cr0);
  c.key("se_cr1", got.se_cr1);
  if (!c.expected.contains("icc")) return;
  c.key("n", static_cast<double>(got.num_items));
  c.key("clusters", static_cast<double>(got.num_clusters));
  c.key("msb", got.anova.ms_between);
  c.key("msw", got.anova.ms_within);
  c.key("n0", got.anova.n0);
  c.key("icc", got.anova.icc);
  c.key("t_df", static_cast<double>(got.df));
}

const Group kGroups[] = {
    {"normal_quantile", [](Case& c) { c.near(normal_quantile(c.number("p")), c.expected, "quantile"); }},
    {"normal_cdf", [](Case& c) { c.near(normal_cdf(c.number("z")), c.expected, "cdf"); }},
    {"student_t_two_sided_p",
     [](Case& c) { c.near(student_t_two_sided_p(c.number("t"), c.number("df")), c.expected, "p"); }},
    {"student_t_quantile", [](Case& c) { c.near(student_t_quantile(c.number("p"), c.number("df")), c.expected, "t"); }},
    {"regularized_incomplete_beta",
     [](Case& c) {
       c.near(regularized_incomplete_beta(c.number("a"), c.number("b"), c.number("x")), c.expected, "I");
     }},
    {"chi2_sf", [](Case& c) { c.near(chi2_sf(c.number("x"), c.number("df")), c.expected, "sf"); }},
    {"philox4x32_10",
     [](Case& c) {
       const auto& in = c.in.at("counter");
       const auto got = philox4x32({from_hex(in[0]), from_hex(in[1]), from_hex(in[2]), from_hex(in[3])},
                                   {from_hex(c.in.at("key")[0]), from_hex(c.in.at("key")[1])});
       for (int i = 0; i < 4; ++i) EXPECT_EQ(hex8(got[i]), c.expected[i].get<std::string>());
     }},
    {"fnv1a32",
     [](Case& c) { EXPECT_EQ(hex8(fnv1a32(c.in.at("text").get<std::string>())), c.expected.get<std::string>()); }},
    {"fare_stream", check_stream},
    {"cpython_random", check_python},
    {"fewshot_sampling", check_fewshot},
    {"harness_mean_stderr",
     [](Case& c) {
       c.key("mean", mean(c.list("values")));
       c.key("stderr", harness_mean_stderr(c.list("values")));
     }},
    {"harness_pooled_stderr",
     [](Case& c) {
       const auto sizes = c.in.at("sizes").get<std::vector<int64_t>>();
       c.key("weighted_mean", harness_weighted_mean(c.list("means"), sizes));
       c.key("unweighted_mean", mean(c.list("means")));
       c.key("pooled_stderr", harness_pooled_stderr(c.list("stderrs"), sizes));
     }},
    {"harness_bootstrap_stderr", check_harness_bootstrap},
    {"proportion_intervals",
     [](Case& c) {
       c.key("wilson", *wilson_interval(c.whole("k"), c.whole("n"), c.number("confidence")));
       c.key("clopper_pearson", *clopper_pearson_interval(c.whole("k"), c.whole("n"), c.number("confidence")));
     }},
    {"mcnemar",
     [](Case& c) {
       const auto got = mcnemar(c.whole("b"), c.whole("c"));
       c.key("exact_p", got.exact_p);
       c.key("mid_p", got.mid_p);
       c.key("chi2", got.chi2);
       c.key("chi2_cc", got.chi2_cc);
     }},
    {"matched_odds_ratio",
     [](Case& c) {
       const auto got = *matched_odds_ratio(c.whole("b"), c.whole("c"), 0.95);
       c.key("odds_ratio", got.odds_ratio);
       c.key("haldane", got.haldane);
       c.key("cond_g", got.cohens_g);
       c.read.insert("ci_exact");
       const auto& want = c.expected.at("ci_exact");
       c.near(got.low, want[0], "low");
       if (want[1].is_null()) EXPECT_FALSE(got.high);
       else c.near(*got.high, want[1], "high");
     }},
    {"cohens_h", [](Case& c) { c.near(cohens_h(c.number("p1"), c.number("p2")), c.expected, "h"); }},
    {"multiple_testing", check_multiple},
    {"paired_t",
     [](Case& c) {
       const auto got = *paired_t(differences(c.list("a"), c.list("b")), 0.95);
       c.key("mean", got.mean);
       c.key("sd", got.sd);
       c.key("se", got.se);
       c.key("t", got.t);
       c.key("df", got.df);
       c.key("p", got.p);
       c.key("ci95", got.interval);
       c.key("dz", got.dz);
       c.key("dz_hedges", got.dz_hedges);
     }},
    {"variance_reduction",
     [](Case& c) {
       const auto got = *pairing_gain(c.list("a"), c.list("b"));
       c.key("corr", got.correlation);
       c.key("unpaired_se", got.unpaired_se);
       c.key("paired_se", got.paired_se);
     }},
    {"tost_paired_t",
     [](Case& c) {
       const auto got = *tost_paired(differences(c.list("a"), c.list("b")), c.number("delta"), 0.05);
       c.key("t_lower", got.t_lower);
       c.key("t_upper", got.t_upper);
       c.key("p_lower", got.p_lower);
       c.key("p_upper", got.p_upper);
       c.key("p", got.p);
       c.key("ci90", got.interval);
     }},
    {"clustered_se", check_clustered},
    {"quantile_type7", [](Case& c) { c.near(quantile(c.list("x"), c.number("p")), c.expected, "quantile"); }},
    {"bootstrap_paired", check_bootstrap_paired},
    {"bootstrap_stratified", check_bootstrap_stratified},
    {"bootstrap_cluster", check_bootstrap_cluster},
    {"sign_flip_exact", check_sign_flip},
    {"sign_flip_monte_carlo", check_sign_flip_monte_carlo},
    {"sign_flip_cluster", check_sign_flip},
    {"mcnemar_power_exact",
     [](Case& c) {
       const auto power = [&](McNemarVariant variant) {
         return mcnemar_power(c.whole("n"), c.number("p10"), c.number("p01"), c.number("alpha"), variant);
       };
       c.key("exact", power(McNemarVariant::kExact));
       c.key("mid_p", power(McNemarVariant::kMidP));
     }},
    {"mcnemar_power_simulated",
     [](Case& c) {
       PowerSimulation options;
       options.seed = c.in.at("seed").get<uint64_t>();
       options.label = c.in.at("label").get<std::string>();
       options.simulations = c.whole("simulations");
       const auto got =
           simulate_mcnemar_power(c.whole("n"), c.number("p10"), c.number("p01"), c.number("alpha"), options);
       c.key("rejections", static_cast<double>(got.rejections));
       c.key("power", got.power);
     }},
    {"minimum_detectable_effect", check_mde},
    {"jensen_shannon",
     [](Case& c) {
       c.key("nats", jensen_shannon_nats(c.list("p"), c.list("q")));
       c.key("bits", jensen_shannon_bits(c.list("p"), c.list("q")));
       c.key("distance_bits", jensen_shannon_distance_bits(c.list("p"), c.list("q")));
     }},
    {"jsd_null_expectation",
     [](Case& c) {
       c.key("exact_mean_nats", null_divergence_two_cells_nats(c.whole("n"), c.whole("m"), c.number("p")));
       c.key("first_order_nats", null_divergence_nats(2, c.number("n"), c.number("m")));
     }},
    {"jsd_plugin_bias",
     [](Case& c) {
       const auto a = c.list("counts_p"), b = c.list("counts_q");
       const auto got = *plugin_divergence(a, b);
       c.key("jsd_nats", got.jsd_nats);
       c.key("first_order_bias", got.bias_nats);
       c.key("corrected", got.corrected_nats);
       c.key("null_bias_K8", null_divergence_nats(8, sum(a), sum(b)));
       EXPECT_EQ(got.num_used, 7);
       c.key("null_bias_K_observed7", null_divergence_nats(got.num_used, sum(a), sum(b)));
     }},
    {"jsd_cluster_permutation",
     [](Case& c) {
       const auto got = *permute_divergence(c.in.at("a").get<Nested>(), c.in.at("b").get<Nested>(), {});
       EXPECT_TRUE(got.exact);
       c.key("observed_nats", got.observed_nats);
       c.key("null_mean_nats", got.null_mean_nats);
       c.key("count_ge", static_cast<double>(got.extreme));
       c.key("total", static_cast<double>(got.total));
       c.key("p", got.p);
     }},
    {"pass_at_k", [](Case& c) { c.near(*pass_at_k(c.whole("n"), c.whole("c"), c.whole("k")), c.expected, "pass@k"); }},
    {"cliffs_delta", [](Case& c) { c.near(*cliffs_delta(c.list("a"), c.list("b")), c.expected, "delta"); }},
};

// Vectors of the other floors: the scorers of benchmarks, and the result files of evaluation.
const std::set<std::string> kReadElsewhere = {"golden_dummy_lm_crows_pairs",
                                              "golden_dummy_lm_multiple_choice",
                                              "context_split",
                                              "rolling_windows_disjoint",
                                              "multiple_choice",
                                              "truthfulqa_mc2",
                                              "truthfulqa_mc_original",
                                              "crows_pairs",
                                              "common_token_spans",
                                              "stereoset",
                                              "stereoset_icat",
                                              "stereoset_generative_score",
                                              "bbq",
                                              "bbq_generate_parse",
                                              "bbq_group_tokens",
                                              "hellaswag_preprocess",
                                              "wikitext_detokenize",
                                              "weighted_perplexity",
                                              "gsm8k_extract",
                                              "xstest_string_match",
                                              "honest",
                                              "group_gaps",
                                              "toxicity",
                                              "winogender",
                                              "vader",
                                              "harness_hashes",
                                              "sanitize_model_name",
                                              "python_float_text"};

class Vectors : public testing::TestWithParam<Group> {};

TEST_P(Vectors, Agree) {
  const auto path = vectors_path();
  if (!std::filesystem::exists(path))
    GTEST_SKIP() << "set FARE_DESIGN to the folder that holds statistics-vectors.json";
  const Json file = read_json_file(path);
  const auto& cases = file.at("vectors").at(GetParam().name);
  ASSERT_FALSE(cases.empty());
  for (const auto& entry : cases) {
    Case c{GetParam().name, entry.at("input"), entry.at("expected"), entry.at("abs_tol").get<double>(), {}};
    SCOPED_TRACE(entry.at("id").get<std::string>());
    GetParam().check(c);
    c.done();
  }
}

INSTANTIATE_TEST_SUITE_P(Statistics, Vectors, testing::ValuesIn(kGroups),
                         [](const auto& group) { return std::string(group.param.name); });

TEST(VectorGroups, AreAllReadHereOrNamedAsAnotherFloors) {
  const auto path = vectors_path();
  if (!std::filesystem::exists(path))
    GTEST_SKIP() << "set FARE_DESIGN to the folder that holds statistics-vectors.json";
  const Json file = read_json_file(path);
  std::set<std::string> known = kReadElsewhere;
  for (const auto& group : kGroups) EXPECT_TRUE(known.insert(group.name).second) << group.name << " is listed twice";
  for (const auto& [name, cases] : file.at("vectors").items())
    EXPECT_TRUE(known.count(name)) << name << " is read nowhere";
}

}  // namespace
}  // namespace fare::stats
