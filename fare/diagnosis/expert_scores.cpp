#include "fare/diagnosis/expert_scores.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "fare/core/philox.h"
#include "fare/diagnosis/contrast_scores.h"
#include "fare/diagnosis/honesty.h"
#include "fare/diagnosis/mask_groups.h"

namespace fare {
namespace {

constexpr int64_t kNominated = 50;  // best of each score that get s5
constexpr int64_t kRandomExperts = 100;
constexpr int64_t kShownGaps = 20;        // experts whose selection gap per group is kept
constexpr int64_t kKnowledgeItems = 500;  // train utility items behind the knowledge ranking, small profile

std::vector<size_t> first_numbers(size_t n) {
  std::vector<size_t> numbers(n);
  std::iota(numbers.begin(), numbers.end(), size_t{0});
  return numbers;
}

// Groups: the stereotype and the other side of each axis. A cluster belongs to the axis most of its pairs have.
std::vector<ExpertScores::GroupGap> group_gaps(const Study& study, std::span<const int64_t> train,
                                               const stats::Clusters& clusters, const std::vector<ClusterSums>& sums,
                                               const std::vector<ExpertScore>& experts) {
  std::vector<std::vector<int64_t>> votes(sums.size(), std::vector<int64_t>(study.axes.size(), 0));
  for (size_t i = 0; i < train.size(); ++i)
    ++votes[static_cast<size_t>(clusters.of_item[i])]
           [static_cast<size_t>(study.axis_of[static_cast<size_t>(train[i])])];
  struct Group {
    std::string axis;
    bool stereo = true;
    std::vector<double> share_E;
  };
  std::vector<Group> groups;
  for (size_t a = 0; a < study.axes.size(); ++a) {
    Group stereo{study.axes[a], true, std::vector<double>(experts.size(), 0)},
        anti{study.axes[a], false, stereo.share_E};
    double tokens = 0;
    for (size_t c = 0; c < sums.size(); ++c) {
      if (std::max_element(votes[c].begin(), votes[c].end()) - votes[c].begin() != static_cast<int64_t>(a)) continue;
      tokens += sums[c].tokens;
      for (size_t e = 0; e < experts.size(); ++e) {
        stereo.share_E[e] += sums[c].experts[e].selected_a;
        anti.share_E[e] += sums[c].experts[e].selected_b;
      }
    }
    if (tokens == 0) continue;
    for (Group* group : {&stereo, &anti}) {
      for (double& share : group->share_E) share /= tokens;
      groups.push_back(*group);
    }
  }
  std::vector<ExpertScores::GroupGap> gaps;
  for (size_t e = 0; e < experts.size(); ++e) {
    if (experts[e].combined_rank > kShownGaps) continue;
    double mean = 0;
    for (const Group& group : groups) mean += group.share_E[e] / static_cast<double>(groups.size());
    for (const Group& group : groups)
      gaps.push_back(
          {experts[e].layer, experts[e].expert, group.axis, group.stereo, group.share_E[e], group.share_E[e] - mean});
  }
  return gaps;
}

}  // namespace

double ExpertScores::value(const ExpertScore& expert, const std::string& score) {
  if (score == "s1") return expert.s1;
  if (score == "s2") return expert.s2;
  if (score == "s3") return expert.s3;
  if (score == "s4") return expert.s4;
  if (score == "combined") return expert.combined;
  throw UsageError("unknown expert score '" + score + "'; accepted: s1, s2, s3, s4, combined");
}

ExpertScores score_experts(Measurer& measurer, const RouterProfile& profile, const DiagnosisOptions& options) {
  const Study& study = measurer.study();
  const RoutedModel& model = measurer.model();
  const int64_t num_experts = model.router.num_experts;
  ExpertScores scores;
  scores.experts = routed_experts(model);
  for (ExpertScore& expert : scores.experts) {
    if (profile.layers.empty()) break;
    const LayerProfile& on_neutral = profile.at(expert.layer);
    expert.usage = on_neutral.usage_E[static_cast<size_t>(expert.expert)];
    expert.mean_gate = on_neutral.mean_gate_E[static_cast<size_t>(expert.expert)];
    expert.mean_norm = on_neutral.mean_norm_E[static_cast<size_t>(expert.expert)];
  }
  const size_t total = scores.experts.size();

  // One pass of gradients over the train pairs, summed per cluster.
  const std::vector<int64_t> train = study.pairs_in(SplitPart::kTrain);
  std::vector<std::string> names;
  for (const int64_t i : train) names.push_back(study.pairs[static_cast<size_t>(i)].pair.cluster);
  const stats::Clusters train_clusters = stats::cluster_by_name(names);
  std::vector<Contrast> contrasts;
  for (size_t i = 0; i < train.size(); ++i) {
    const EncodedPair& pair = study.pairs[static_cast<size_t>(train[i])];
    contrasts.push_back({&pair.stereo, &pair.anti, pair.alignment.after, train_clusters.of_item[i]});
  }
  const std::vector<ClusterSums> sums =
      contrast_sums(measurer, contrasts, train_clusters.num_clusters, "expert attribution");
  const std::vector<size_t> every = first_numbers(sums.size());
  fill_scores(raw_scores(sums, every, total), scores.experts);
  scores.group_gaps = group_gaps(study, train, train_clusters, sums, scores.experts);

  // Stability: how often an expert stays in the top m when half of the clusters are left out.
  scores.top_m = std::min<int64_t>(10, std::max<int64_t>(2, static_cast<int64_t>(total) / 8));
  scores.half_samples = sums.size() >= 2 ? options.half_samples : 0;
  std::vector<ExpertScore> half = scores.experts;
  for (int64_t r = 0; r < scores.half_samples; ++r) {
    const RandomStream stream(options.seed, "stability/half", static_cast<uint32_t>(r));
    std::vector<size_t> order = every;
    std::sort(order.begin(), order.end(),
              [&](size_t a, size_t b) { return std::pair(stream.u64(a), a) < std::pair(stream.u64(b), b); });
    order.resize(order.size() / 2);
    std::sort(order.begin(), order.end());
    fill_scores(raw_scores(sums, order, total), half);
    for (size_t e = 0; e < total; ++e)
      if (half[e].combined_rank <= scores.top_m)
        scores.experts[e].stability += 1.0 / static_cast<double>(scores.half_samples);
  }

  // s5 by masking one expert at a time: the nominated ones and a random sample that keeps the scores honest.
  if (num_experts <= model.router.top_k) {
    for (const char* score : kScoreNames)
      scores.honesty.push_back(
          {score, std::nullopt, std::nullopt, 0, "every expert is always selected, so none can be refilled"});
    return scores;
  }
  std::set<size_t> random_experts, ablated;
  const RandomStream stream(options.seed, "scores/random-experts");
  std::vector<size_t> shuffled = first_numbers(total);
  std::sort(shuffled.begin(), shuffled.end(),
            [&](size_t a, size_t b) { return std::pair(stream.u64(a), a) < std::pair(stream.u64(b), b); });
  for (size_t i = 0; i < std::min<size_t>(total, kRandomExperts); ++i) random_experts.insert(shuffled[i]);
  ablated = random_experts;
  for (const char* score : kScoreNames) {
    std::vector<size_t> order = first_numbers(total);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return std::abs(ExpertScores::value(scores.experts[a], score)) >
             std::abs(ExpertScores::value(scores.experts[b], score));
    });
    for (size_t i = 0; i < std::min<size_t>(total, kNominated); ++i) ablated.insert(order[i]);
  }
  Items items;
  items.part = "s5";
  items.pairs = train;
  if (options.causal_pairs > 0 && static_cast<int64_t>(train.size()) > options.causal_pairs) {
    std::vector<int64_t> drawn = train;
    const RandomStream order(options.seed, "scores/causal-pairs");
    std::sort(drawn.begin(), drawn.end(), [&](int64_t a, int64_t b) {
      return std::pair(order.u64(static_cast<uint64_t>(a)), a) < std::pair(order.u64(static_cast<uint64_t>(b)), b);
    });
    drawn.resize(static_cast<size_t>(options.causal_pairs));
    std::sort(drawn.begin(), drawn.end());
    items.pairs = drawn;
  }
  scores.causal_pairs = static_cast<int64_t>(items.pairs.size());
  scores.causal_random_experts = static_cast<int64_t>(random_experts.size());
  std::vector<Intervention> masks;
  masks.reserve(ablated.size());
  std::vector<const Intervention*> runs = {nullptr};
  for (const size_t e : ablated) {
    const RoutedExpert expert{scores.experts[e].layer, scores.experts[e].expert};
    masks.push_back(mask_intervention({&expert, 1}, "mask one expert"));
  }
  for (const Intervention& mask : masks) runs.push_back(&mask);
  const std::vector<Outcomes> outcomes = measurer.evaluate(items, runs);
  CausalChanges changes;
  changes.sums.resize(sums.size());
  size_t run = 0;
  for (const size_t e : ablated) {
    ++run;
    std::vector<double> of_cluster(sums.size(), 0);
    double change = 0;
    for (size_t i = 0; i < items.pairs.size(); ++i) {
      const size_t c = static_cast<size_t>(train_clusters.of_item[static_cast<size_t>(
          std::lower_bound(train.begin(), train.end(), items.pairs[i]) - train.begin())]);
      const double one = outcomes[run].pairs[i].sum - outcomes[0].pairs[i].sum;
      of_cluster[c] += one;
      change += one;
    }
    if (!items.pairs.empty()) scores.experts[e].s5 = change / static_cast<double>(items.pairs.size());
    if (!random_experts.contains(e)) continue;
    changes.experts.push_back(e);
    for (size_t c = 0; c < sums.size(); ++c) changes.sums[c].push_back(of_cluster[c]);
  }
  changes.pairs.resize(sums.size());
  for (const int64_t pair : items.pairs)
    ++changes.pairs[static_cast<size_t>(train_clusters.of_item[static_cast<size_t>(
        std::lower_bound(train.begin(), train.end(), pair) - train.begin())])];
  scores.honesty = check_honesty(scores.experts, sums, changes, options);
  return scores;
}

std::vector<ExpertScore> score_knowledge(Measurer& measurer, const DiagnosisOptions& options) {
  const Study& study = measurer.study();
  std::vector<int64_t> train = study.utility_in(SplitPart::kTrain);
  if (options.profile == StudyProfile::kSmall && static_cast<int64_t>(train.size()) > kKnowledgeItems) {
    const RandomStream stream(options.seed, "scores/knowledge-items");
    std::sort(train.begin(), train.end(), [&](int64_t a, int64_t b) {
      return std::pair(stream.u64(static_cast<uint64_t>(a)), a) < std::pair(stream.u64(static_cast<uint64_t>(b)), b);
    });
    train.resize(kKnowledgeItems);
    std::sort(train.begin(), train.end());
  }
  std::vector<Request> requests;
  for (const int64_t i : train)
    for (const Request& choice : study.utility[static_cast<size_t>(i)].choices) requests.push_back(choice);
  if (requests.empty()) return {};
  const ScorerResult scored =
      measurer.scorer().run(requests, {}, {}, Progress{nullptr, nullptr, measurer.progress().cancelled});
  std::vector<Contrast> contrasts;
  size_t next = 0;
  for (const int64_t i : train) {
    const EncodedUtility& item = study.utility[static_cast<size_t>(i)];
    const Request *right = nullptr, *wrong = nullptr;
    double best_right = 0, best_wrong = 0;
    for (size_t c = 0; c < item.choices.size(); ++c, ++next) {
      const double logprob = scored.base.scores[next].logprob_nats;
      const bool gold =
          std::find(item.item.gold.begin(), item.item.gold.end(), static_cast<int64_t>(c)) != item.item.gold.end();
      const Request*& best = gold ? right : wrong;
      double& value = gold ? best_right : best_wrong;
      if (best == nullptr || logprob > value) best = &item.choices[c], value = logprob;
    }
    if (right == nullptr || wrong == nullptr) continue;
    // Answers mostly differ in their last words only, so the shared question counts as well.
    Contrast contrast{right, wrong, {}, 0};
    const PairAlignment alignment = align_pair(*right, *wrong);
    contrast.tokens = alignment.before;
    contrast.tokens.insert(contrast.tokens.end(), alignment.after.begin(), alignment.after.end());
    contrasts.push_back(std::move(contrast));
  }
  std::vector<ExpertScore> experts = routed_experts(measurer.model());
  const std::vector<ClusterSums> sums = contrast_sums(measurer, contrasts, 1, "knowledge attribution");
  const size_t all = 0;
  fill_scores(raw_scores(sums, {&all, 1}, experts.size()), experts);
  return experts;
}

}  // namespace fare
