#include "fare/diagnosis/reach_searches.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <memory>
#include <mutex>
#include <set>

#include "fare/core/error.h"
#include "fare/core/json.h"
#include "fare/core/philox.h"
#include "fare/models/side_by_side.h"
#include "fare/stats/moments.h"

namespace fare {
namespace {

struct Bound {
  const char *name, *control_class, *family;
};
constexpr Bound kBounds[] = {{"a6_gradient", "static", "I6"},
                             {"a6_second_optimiser", "static", "I6"},
                             {"conditional_tokens", "conditional", "I7a"},
                             {"conditional_detector", "conditional", "I7b"},
                             {"conditional_low_rank", "conditional", "I7c"},
                             {"router_only", "router_only", "I8"}};

using Thetas = std::vector<std::vector<double>>;

using Snapshot = ReachSnapshot;

// What a search has so far.
struct BoundWork {
  const Bound* bound = nullptr;
  std::vector<std::vector<Snapshot>> snapshots;  // of each descent
  std::vector<Standing> standings;               // of all snapshots, in order
  std::string searched;                          // empty: there was nothing to search
  std::vector<Detector> detectors;
  std::vector<ReachFound::Restart> restarts;
};

constexpr double kScales[] = {1, 0.5, 0.25};  // of what a descent ends with

// Numbers of at most half a sigma are dropped; beside the last snapshot of each half its halves and quarters, which
// often cost less.
void add_snapshots(const FreeControl& control, const Thetas& thetas, std::vector<Snapshot>& snapshots) {
  for (size_t i = 0; i < thetas.size(); ++i) {
    const bool ends = i + 1 == thetas.size() || i + 1 == thetas.size() / 2;
    const std::vector<double> kept = control.pruned(thetas[i]);
    for (const double scale : std::span(kScales).first(ends ? std::size(kScales) : 1)) {
      std::vector<double> scaled = kept;
      if (scale != 1)
        for (double& value : scaled) value *= scale;
      snapshots.push_back({control.intervention(scaled), control.breadth(kept), {}});
    }
  }
}

constexpr size_t kLeftOut = 32;                 // experts of a bias that are left out in turn, at most
constexpr size_t kNarrow[] = {1, 2, 4, 8, 16};  // breadths of what is kept of it

class ReachWork {
 public:
  ReachWork(Measurer& measurer, const SearchResult& search, const RouterProfile& profile, const std::vector<int>& signs,
            const ReachOptions& how, const DiagnosisOptions& options)
      : measurer_(measurer),
        study_(measurer.study()),
        search_(search),
        signs_(signs),
        how_(how),
        options_(options),
        batches_(measurer.scorer(), study_) {
    const auto ordered = [&](const std::vector<int64_t>& items, const std::vector<int32_t>& group_of, const char* label,
                             int64_t most) {
      std::vector<int32_t> groups;
      for (const int64_t i : items) groups.push_back(group_of[static_cast<size_t>(i)]);
      std::vector<int64_t> order = balanced_order(items, groups, options.seed, label);
      if (most > 0 && static_cast<int64_t>(order.size()) > most) order.resize(static_cast<size_t>(most));
      return order;
    };
    const std::vector<int32_t> one_group(study_.utility.size(), 0);
    train_pairs_ = ordered(study_.pairs_in(SplitPart::kTrain), study_.axis_of, "reach/train-pairs", 0);
    const int64_t steps = static_cast<int64_t>(train_pairs_.size()) / how.pairs_per_step + 1;
    train_utility_ =
        ordered(study_.utility_in(SplitPart::kTrain), one_group, "reach/train-utility", steps * how.utility_per_step);
    choice_pairs_ =
        ordered(study_.pairs_in(SplitPart::kValidation), study_.axis_of, "reach/choice-pairs", how.choice_pairs);
    choice_utility_ =
        ordered(study_.utility_in(SplitPart::kValidation), one_group, "reach/choice-utility", how.choice_utility);
    if (train_pairs_.empty() || choice_pairs_.empty())
      throw NumericError("upper bounds on control: the train or the validation split holds no pair");
    train_ = batches_.make_all(train_pairs_, train_utility_, how.pairs_per_step);
    choice_ = batches_.make_all(choice_pairs_, choice_utility_, 4 * how.pairs_per_step);
    std::vector<double> sizes;
    for (const ReachBatch& batch : train_)
      for (const auto& pair : batch.pairs) sizes.push_back(std::abs(pair.base_margin));
    std::sort(sizes.begin(), sizes.end());
    const double median = stats::quantile_sorted(sizes, 0.5);
    task_ = {&batches_,         &train_, &signs_, median > 0 ? median : 1.0, options.thresholds.pooled_drop_pp / 100,
             [this] { tick(); }};
    std::map<int64_t, double> sigma;
    for (const LayerProfile& layer : profile.layers) sigma[layer.layer] = layer.logit_sd > 0 ? layer.logit_sd : 1;

    // D tokens: whatever the texts of a train pair differ in, wherever it occurs.
    std::set<int32_t> tokens;
    for (const int64_t i : train_pairs_) {
      const EncodedPair& pair = study_.pairs[static_cast<size_t>(i)];
      const auto add = [&](const Request& request, const std::vector<int32_t>& positions) {
        for (const int32_t p : positions) {
          const size_t at = static_cast<size_t>(p), context = request.context.size();
          tokens.insert(at < context ? request.context[at] : request.continuation[at - context]);
        }
      };
      add(pair.stereo, pair.alignment.differs_stereo);
      add(pair.anti, pair.alignment.differs_anti);
    }
    where_.token_ids.assign(tokens.begin(), tokens.end());
    where_.following = how_.following;
    fit_ = labelled_inputs(batches_, batches_.make(some(train_pairs_, 256), some(train_utility_, 256)), where_);
    layers_ = control_layers(fit_, sigma);
  }

  // All descents of the searches at once, then all snapshots at once.
  std::vector<BoundWork> run(std::span<const size_t> bounds) {
    std::vector<BoundWork> works = descend(bounds);
    std::vector<std::pair<const Snapshot*, Standing*>> measured;
    for (BoundWork& work : works) {
      size_t count = 0;
      for (const auto& own : work.snapshots) count += own.size();
      work.standings.resize(count);
      size_t next = 0;
      for (const auto& own : work.snapshots)
        for (const Snapshot& snapshot : own) measured.emplace_back(&snapshot, &work.standings[next++]);
    }
    side_by_side(batches_.model().spec(), static_cast<int64_t>(measured.size()), [&](int64_t i) {
      measurer_.progress().check();
      const auto& [snapshot, standing] = measured[static_cast<size_t>(i)];
      *standing = standing_of(*snapshot);
    });
    measurer_.count_rows(batches_.rows_computed());
    return works;
  }

  // The descents alone.
  std::vector<BoundWork> descend(std::span<const size_t> bounds) {
    std::vector<BoundWork> works(bounds.size());
    std::vector<std::function<void()>> descents;
    for (size_t b = 0; b < bounds.size(); ++b) {
      works[b].bound = &kBounds[bounds[b]];
      plan(works[b], descents);
    }
    side_by_side(batches_.model().spec(), static_cast<int64_t>(descents.size()),
                 [&](int64_t d) { descents[static_cast<size_t>(d)](); });
    return works;
  }

 private:
  int64_t num_experts() const { return measurer_.model().router.num_experts; }
  static std::vector<int64_t> some(const std::vector<int64_t>& all, size_t most) {
    return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(all.size(), most))};
  }

  // One step of any descent.
  void tick() {
    measurer_.progress().check();
    const std::lock_guard lock(ticking_);
    measurer_.progress()("steps of upper bounds", ++steps_done_, steps_planned_);
  }

  // Adds the descents of a search, and room for what they find.
  void plan(BoundWork& work, std::vector<std::function<void()>>& descents) {
    const std::string name = work.bound->name;
    if (name == "a6_gradient") plan_static(work, descents);
    if (name == "a6_second_optimiser") plan_perturbation(work, descents);
    if (name == "conditional_tokens" && !where_.token_ids.empty()) {
      work.searched = fmt::format("I7a: bias on {} demographic tokens and the next {}: 2 x {} steps",
                                  where_.token_ids.size(), how_.following, how_.conditional.steps);
      add(work, descents, how_.conditional.steps,
          [this] { return from_zero(BiasControl(layers_, num_experts(), where_)); });
    }
    if (name == "conditional_detector" && !where_.token_ids.empty()) plan_detector(work, descents);
    if (name == "conditional_low_rank") {
      work.searched = fmt::format("I7c: W_r + A C^T of rank {}: 2 x {} steps each", fmt::join(how_.ranks, ", "),
                                  how_.conditional.steps);
      for (const int64_t rank : how_.ranks)
        add(work, descents, how_.conditional.steps, [this, rank] {
          const LowRankControl control(layers_, num_experts(), measurer_.model().hidden_size, rank);
          std::vector<Snapshot> snapshots;
          add_snapshots(control,
                        descend_by_gradient(task_, control, control.start(first_slopes(control)), how_.conditional),
                        snapshots);
          return snapshots;
        });
    }
    if (name == "router_only") plan_router(work, descents);
  }

  // `work.snapshots` grows while descents are planned: what they find is put there by index. `work` stays where it is.
  void add(BoundWork& work, std::vector<std::function<void()>>& descents, int64_t steps,
           std::function<std::vector<Snapshot>()> descend) {
    const size_t index = work.snapshots.size();
    work.snapshots.emplace_back();
    steps_planned_ += 2 * steps;
    descents.push_back([&work, index, descend = std::move(descend)] { work.snapshots[index] = descend(); });
  }

  // Sum of the bias that is left on the first train batches.
  double bias_left(const Intervention& intervention) const {
    const std::vector<double> even(signs_.size(), 1.0 / static_cast<double>(signs_.size()));
    double sum = 0;
    for (size_t b = 0; b < std::min<size_t>(train_.size(), 2); ++b)
      sum += bias_term(train_[b], batches_.run(train_[b], intervention).margins, signs_, even, task_.tau_nats).value;
    return sum;
  }

  // Of the ends of both halves what is left with few experts: those without which most of the bias comes back, each
  // left out in turn. An optimiser moves experts that change nothing as far as those that count, and breadth makes
  // random controls strong.
  void add_narrow(const BiasControl& control, const Thetas& thetas, std::vector<Snapshot>& snapshots) const {
    for (const size_t end : {thetas.size() / 2, thetas.size()}) {
      if (end == 0) continue;
      const std::vector<double> kept = control.pruned(thetas[end - 1]);
      std::vector<std::pair<double, size_t>> order;  // by size, then by what the bias gains without it; largest first
      for (size_t i = 0; i < kept.size(); ++i)
        if (kept[i] != 0) order.emplace_back(-std::abs(kept[i]), i);
      if (order.size() < 2) continue;
      std::sort(order.begin(), order.end());
      order.resize(std::min(order.size(), kLeftOut));
      for (auto& [gain, place] : order) {
        std::vector<double> without = kept;
        without[place] = 0;
        gain = -bias_left(control.intervention(without));
      }
      std::sort(order.begin(), order.end());
      for (const size_t count : kNarrow) {
        if (count >= order.size()) break;
        for (const double scale : kScales) {
          std::vector<double> narrow(kept.size(), 0.0);
          for (size_t i = 0; i < count; ++i) narrow[order[i].second] = scale * kept[order[i].second];
          snapshots.push_back({control.intervention(narrow), static_cast<int64_t>(count), {}});
        }
      }
    }
  }

  std::vector<Snapshot> from_zero(const BiasControl& control) const {
    std::vector<Snapshot> snapshots;
    add_snapshots(control,
                  descend_by_gradient(task_, control, std::vector<double>(static_cast<size_t>(control.size()), 0.0),
                                      how_.conditional),
                  snapshots);
    return snapshots;
  }

  void plan_static(BoundWork& work, std::vector<std::function<void()>>& descents) {
    const BiasControl control(layers_, num_experts());
    Thetas starts = {std::vector<double>(static_cast<size_t>(control.size()), 0.0)};
    if (how_.from_winner && search_.reach) {
      // The winner's direction as a bias, whatever its family.
      const SearchRow& winner = search_.rows[*search_.reach];
      std::vector<double> theta(starts[0]);
      for (const ChosenExpert& expert : winner.experts)
        theta[static_cast<size_t>(control.place(expert.layer, expert.expert))] =
            -winner.configuration.lambda * winner.configuration.sign * expert.score;
      control.clamp(theta);
      starts.push_back(std::move(theta));
    }
    for (int64_t r = 0; r < how_.random_restarts; ++r) {
      const RandomStream stream(options_.seed, "reach/restart", static_cast<uint32_t>(r));
      std::vector<double> theta(starts[0].size());
      for (size_t i = 0; i < theta.size(); ++i)
        theta[i] =
            std::sqrt(-2 * std::log(stream.open_uniform(2 * i))) * std::cos(2 * M_PI * stream.uniform(2 * i + 1));
      control.clamp(theta);
      starts.push_back(std::move(theta));
    }
    work.searched = fmt::format(
        "static bias, straight-through gradients: {} starts of 2 x {} steps of {} pairs and {} utility items",
        starts.size(), how_.gradient.steps, how_.pairs_per_step, how_.utility_per_step);
    for (const std::vector<double>& start : starts)
      add(work, descents, how_.gradient.steps, [this, control, start] {
        std::vector<Snapshot> snapshots;
        add_snapshots(control, {start}, snapshots);
        const Thetas thetas = descend_by_gradient(task_, control, start, how_.gradient);
        add_snapshots(control, thetas, snapshots);
        add_narrow(control, thetas, snapshots);
        return snapshots;
      });
  }

  void plan_perturbation(BoundWork& work, std::vector<std::function<void()>>& descents) {
    work.searched =
        fmt::format("static bias, simultaneous perturbation: 2 x {} steps of two passes", how_.perturbation.steps);
    add(work, descents, how_.perturbation.steps, [this] {
      const BiasControl control(layers_, num_experts());
      const std::vector<double> start(static_cast<size_t>(control.size()), 0.0);
      std::vector<Snapshot> snapshots;
      const Thetas thetas = descend_by_perturbation(task_, control, start, how_.perturbation, options_.seed);
      add_snapshots(control, thetas, snapshots);
      add_narrow(control, thetas, snapshots);
      return snapshots;
    });
  }

  void plan_detector(BoundWork& work, std::vector<std::function<void()>>& descents) {
    const ReachBatch held_out = batches_.make(some(choice_pairs_, 256), some(choice_utility_, 256));
    work.detectors = fit_detectors(layers_, fit_, labelled_inputs(batches_, held_out, where_));
    if (work.detectors.empty()) return;
    std::map<int64_t, InputGate> gates;
    for (const Detector& detector : work.detectors) gates[detector.layer] = detector.gate;
    work.searched =
        fmt::format("I7b: bias times a linear detector of demographic content: 2 x {} steps", how_.conditional.steps);
    add(work, descents, how_.conditional.steps,
        [this, gates] { return from_zero(BiasControl(layers_, num_experts(), {}, gates)); });
  }

  void plan_router(BoundWork& work, std::vector<std::function<void()>>& descents) {
    const auto critical = std::make_shared<const CriticalRowsResult>(critical_rows(batches_, train_pairs_));
    if (!critical->rows) {
      work.searched = "router-only training: not run, " + critical->reason;
      return;
    }
    const RouterTraining first = how_.router.empty() ? RouterTraining{} : how_.router.front();
    work.searched =
        fmt::format("router-only training of the last layer: {} restarts of {} epochs, {} routes a token",
                    how_.router.size(), how_.router.empty() ? 0 : first.epochs, how_.router.empty() ? 0 : first.draws);
    work.restarts.resize(how_.router.size());
    for (size_t r = 0; r < how_.router.size(); ++r)
      add(work, descents, 0, [this, &work, r, critical] {
        const RouterTraining& restart = how_.router[r];
        const TrainedRouter trained = train_router(batches_, *critical->rows, signs_, restart, measurer_.progress());
        std::vector<Snapshot> snapshots;
        for (size_t s = 0; s < trained.change_ED.size(); ++s)
          for (const double scale :
               s + 1 == trained.change_ED.size() ? std::vector<double>{1, 0.5, 0.25} : std::vector<double>{1})
            snapshots.push_back(
                {router_change(batches_.model(), trained.change_ED[s], trained.change_E[s], scale), num_experts(), {}});
        work.restarts[r] = {restart.learning_rate, trained.preference_accuracy, trained.adoption};
        return snapshots;
      });
  }

  // Sum over rows of x dz^T of the objective, without edits: the directions a low-rank change starts from.
  std::map<int64_t, at::Tensor> first_slopes(const LowRankControl& control) const {
    std::map<int64_t, at::Tensor> slopes;
    const std::vector<double> even(signs_.size(), 1.0 / static_cast<double>(signs_.size()));
    for (size_t b = 0; b < std::min<size_t>(train_.size(), 4); ++b) {
      const ReachBatch& batch = train_[b];
      GradientOptions gradients;
      gradients.every_expert = true;
      const HeadGradient head = [&](const at::Tensor& h_TD) {
        std::vector<double> margins;
        for (const auto& pair : batch.pairs) margins.push_back(pair.base_margin);
        const BiasTerm term = bias_term(batch, margins, signs_, even, task_.tau_nats);
        std::vector<ScoredToken> scored;
        for (size_t p = 0; p < batch.pairs.size(); ++p) {
          for (const Target& target : batch.pairs[p].stereo)
            scored.push_back({target.row, target.token, term.slope[p]});
          for (const Target& target : batch.pairs[p].anti) scored.push_back({target.row, target.token, -term.slope[p]});
        }
        return scored_gradient(batches_.model(), h_TD, scored);
      };
      router_gradients(batches_.model(), batch.packed.pack, head, gradients, [&](const LayerGradient& layer) {
        const at::Tensor dz_TE =
            dense_logit_gradients(layer.logits_TE, layer.dots_TE, layer.route.weights_TK.sum(1), 1);
        const at::Tensor slope_DE = at::mm(control.standardised(layer.layer, layer.router_input_TD).t(), dz_TE);
        at::Tensor& sum = slopes[layer.layer];
        sum = sum.defined() ? sum + slope_DE : slope_DE;
      });
    }
    return slopes;
  }

  Standing standing_of(const Snapshot& snapshot) const {
    std::vector<double> change;
    double base = 0, drop = 0, squares = 0, kl = 0, items = 0;
    for (const ReachBatch& batch : choice_) {
      const ReachPass pass = batches_.run(batch, snapshot.intervention);
      for (size_t p = 0; p < batch.pairs.size(); ++p) {
        const auto prefers = [](double margin) { return margin > 0 ? 1.0 : margin < 0 ? 0.0 : 0.5; };
        const double before = prefers(batch.pairs[p].base_margin),
                     sign = signs_[static_cast<size_t>(batch.pairs[p].axis)];
        change.push_back(100 * sign * (before - prefers(pass.margins[p])));
        base += 100 * sign * (before - 0.5);
      }
      for (size_t u = 0; u < batch.utility.size(); ++u) {
        const double lost = batch.utility[u].base_correct - pass.correct[u];
        drop += lost, squares += lost * lost, ++items;
      }
      kl += pass.kl_nats * static_cast<double>(batch.utility.size());
    }
    Standing standing;
    double variance = 0;
    for (const double value : change) standing.shift_pp += value / static_cast<double>(change.size());
    for (const double value : change) variance += (value - standing.shift_pp) * (value - standing.shift_pp);
    standing.shift_se_pp = std::sqrt(variance) / static_cast<double>(change.size());
    standing.most_pp = most_useful_pp(base / static_cast<double>(change.size()), static_cast<int64_t>(change.size()));
    if (items > 0) {
      const double mean = drop / items;
      standing.drop_pp = 100 * mean;
      standing.drop_se_pp = 100 * std::sqrt(std::max(0.0, squares / items - mean * mean) / items);
      standing.dose_nats = kl / items;
    }
    standing.breadth = snapshot.breadth;
    standing.no_effect = snapshot.intervention.edits.empty();
    return standing;
  }

  Measurer& measurer_;
  const Study& study_;
  const SearchResult& search_;
  const std::vector<int>& signs_;
  const ReachOptions& how_;
  const DiagnosisOptions& options_;
  ReachBatches batches_;
  std::vector<int64_t> train_pairs_, train_utility_, choice_pairs_, choice_utility_;
  std::vector<ReachBatch> train_, choice_;
  Selector where_;  // demographic tokens and what follows them
  LabelledInputs fit_;
  std::vector<ControlLayer> layers_;
  ReachTask task_;
  std::mutex ticking_;
  int64_t steps_done_ = 0, steps_planned_ = 0;
};

ReachTrail trail_of(const BoundWork& work) {
  ReachTrail trail{work.bound->name, work.bound->control_class, work.bound->family, {}};
  for (const auto& own : work.snapshots) trail.snapshots.insert(trail.snapshots.end(), own.begin(), own.end());
  return trail;
}

ReachPick named_pick(const std::string& bound, const std::string& control_class, const std::string& family,
                     const std::string& constraint, ReachSnapshot snapshot) {
  ReachPick pick{bound, control_class, family, constraint, std::move(snapshot.intervention), snapshot.breadth};
  pick.intervention.name = bound + (constraint == "none" ? "-reach" : "-within-tau");
  std::replace(pick.intervention.name.begin(), pick.intervention.name.end(), '_', '-');
  return pick;
}

// What is kept of a search: the snapshot of the largest shift, and that of the largest within the tolerated drop.
OrderedJson kept_json(const BoundWork& work, double tau_pp) {
  OrderedJson json = {{"searched", work.searched},
                      {"picks", OrderedJson::array()},
                      {"detectors", OrderedJson::array()},
                      {"restarts", OrderedJson::array()}};
  for (const ReachPick& pick : pick_snapshots(trail_of(work), work.standings, tau_pp)) {
    OrderedJson row = {{"constraint", pick.constraint}, {"breadth", pick.breadth}};
    row["intervention"] = pick.intervention.edits.empty() ? OrderedJson(nullptr) : pick.intervention.to_json();
    json["picks"].push_back(std::move(row));
  }
  for (const Detector& detector : work.detectors)
    json["detectors"].push_back({{"layer", detector.layer},
                                 {"vector", detector.gate.vector},
                                 {"offset", detector.gate.offset},
                                 {"auc", detector.auc ? OrderedJson(*detector.auc) : OrderedJson(nullptr)}});
  for (const auto& restart : work.restarts)
    json["restarts"].push_back({restart.learning_rate, restart.preference_accuracy, restart.adoption});
  return json;
}

void add_kept(const Bound& bound, const Json& json, ReachFound& found) {
  if (const std::string searched = json.at("searched"); !searched.empty()) found.searched.push_back(searched);
  for (const Json& row : json.at("picks")) {
    ReachSnapshot snapshot{{}, row.at("breadth"), {}};
    if (!row.at("intervention").is_null())
      snapshot.intervention = Intervention::parse(row.at("intervention"), "stored search");
    found.picks.push_back(
        named_pick(bound.name, bound.control_class, bound.family, row.at("constraint"), std::move(snapshot)));
  }
  for (const Json& row : json.at("detectors")) {
    Detector detector;
    detector.layer = row.at("layer");
    detector.gate = {row.at("vector").get<std::vector<double>>(), row.at("offset").get<double>()};
    if (!row.at("auc").is_null()) detector.auc = row.at("auc").get<double>();
    found.detectors.push_back(std::move(detector));
  }
  for (const Json& row : json.at("restarts")) found.router_restarts.push_back({row.at(0), row.at(1), row.at(2)});
}

}  // namespace

bool ReachFound::has(const std::string& bound) const {
  return std::any_of(picks.begin(), picks.end(), [&](const ReachPick& pick) { return pick.bound == bound; });
}

std::vector<ReachPick> pick_snapshots(const ReachTrail& trail, std::span<const Standing> standings, double tau_pp) {
  FARE_CHECK(trail.snapshots.size() == standings.size(), "one standing per snapshot");
  std::vector<ReachPick> picks;
  const auto pick = [&](const char* constraint, const std::optional<size_t>& best) {
    if (best)
      picks.push_back(named_pick(trail.bound, trail.control_class, trail.family, constraint, trail.snapshots[*best]));
  };
  pick("none", choose_best(standings, std::nullopt));
  pick("within_tau", choose_best(standings, tau_pp));
  return picks;
}

std::vector<ReachTrail> run_static_searches(Measurer& measurer, const SearchResult& search,
                                            const RouterProfile& profile, const std::vector<int>& signs,
                                            const ReachOptions& how, const DiagnosisOptions& options) {
  std::vector<size_t> bounds;
  for (size_t b = 0; b < std::size(kBounds); ++b)
    if (kBounds[b].control_class == std::string("static")) bounds.push_back(b);
  std::vector<ReachTrail> trails;
  ReachWork work(measurer, search, profile, signs, how, options);
  for (const BoundWork& done : work.descend(bounds)) trails.push_back(trail_of(done));
  return trails;
}

ReachFound run_reach_searches(Measurer& measurer, const SearchResult& search, const RouterProfile& profile,
                              const std::vector<int>& signs, const ReachOptions& how, const DiagnosisOptions& options) {
  std::vector<std::string> names;
  for (const Bound& bound : kBounds) names.push_back(bound.name);
  // In steps of gradients: two passes of a step without them cost less than one with; the router is trained past the
  // model.
  const std::vector<double> costs = {
      2.0 * static_cast<double>(how.gradient.steps * (1 + how.from_winner + how.random_restarts)),
      static_cast<double>(how.perturbation.steps),
      2.0 * static_cast<double>(how.conditional.steps),
      2.0 * static_cast<double>(how.conditional.steps),
      2.0 * static_cast<double>(how.conditional.steps) * static_cast<double>(how.ranks.size()),
      10.0 * static_cast<double>(how.router.size())};
  const std::vector<std::string> texts =
      measurer.kept("reach-search", names, costs, [&](std::span<const size_t> missing) {
        ReachWork work(measurer, search, profile, signs, how, options);
        std::vector<std::string> values;
        for (const BoundWork& done : work.run(missing))
          values.push_back(kept_json(done, options.thresholds.pooled_drop_pp).dump());
        return values;
      });
  ReachFound found;
  for (size_t b = 0; b < texts.size(); ++b) add_kept(kBounds[b], Json::parse(texts[b]), found);
  return found;
}

ReachOptions ReachOptions::of(StudyProfile profile, uint64_t seed) {
  ReachOptions how;
  how.perturbation.steps = 1000;
  int64_t epochs = 10, draws = 32;
  if (profile == StudyProfile::kSmall) {
    how.gradient = {.steps = 40, .learning_rate = 0.2, .eta_mu = 2, .snapshots = 4};
    how.perturbation = {.steps = 60, .learning_rate = 0.2, .perturbation = 0.5, .eta_mu = 2, .snapshots = 4};
    how.conditional = {.steps = 30, .learning_rate = 0.25, .eta_mu = 2, .snapshots = 4};
    how.random_restarts = 0;
    how.ranks = {2};
    how.choice_pairs = 300;
    how.choice_utility = 400;
    epochs = 3;
    draws = 16;
  }
  for (int64_t r = 0; r < 3; ++r)
    how.router.push_back({.learning_rate = r == 0   ? 0.01
                                           : r == 1 ? 0.03
                                                    : 0.1,
                          .draws = draws,
                          .epochs = epochs,
                          .seed = seed + static_cast<uint64_t>(r)});
  return how;
}

}  // namespace fare
