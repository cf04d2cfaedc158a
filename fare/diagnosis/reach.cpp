#include "fare/diagnosis/reach.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "fare/core/error.h"
#include "fare/core/philox.h"
#include "fare/stats/moments.h"

namespace fare {
namespace {

// One intervention that a search came past.
struct Snapshot {
  Intervention intervention;
  int64_t breadth = 0;
};

// The chosen ones of a search.
struct Pick {
  std::string bound, control_class, family, constraint;  // constraint: "none", "within_tau"
  Snapshot snapshot;
};

class ReachSearches {
 public:
  ReachSearches(Measurer& measurer, const SearchResult& search, const RouterProfile& profile, const std::vector<int>& signs,
                const ReachOptions& how, const DiagnosisOptions& options)
      : measurer_(measurer), study_(measurer.study()), search_(search), signs_(signs), how_(how), options_(options),
        batches_(measurer.scorer(), study_) {
    const auto ordered = [&](const std::vector<int64_t>& items, const std::vector<int32_t>& group_of, const char* label, int64_t most) {
      std::vector<int32_t> groups;
      for (const int64_t i : items) groups.push_back(group_of[static_cast<size_t>(i)]);
      std::vector<int64_t> order = balanced_order(items, groups, options.seed, label);
      if (most > 0 && static_cast<int64_t>(order.size()) > most) order.resize(static_cast<size_t>(most));
      return order;
    };
    const std::vector<int32_t> one_group(study_.utility.size(), 0);
    train_pairs_ = ordered(study_.pairs_in(SplitPart::kTrain), study_.axis_of, "reach/train-pairs", 0);
    train_utility_ = ordered(study_.utility_in(SplitPart::kTrain), one_group, "reach/train-utility",
                             static_cast<int64_t>(train_pairs_.size()) * how.utility_per_step / how.pairs_per_step + how.utility_per_step);
    choice_pairs_ = ordered(study_.pairs_in(SplitPart::kValidation), study_.axis_of, "reach/choice-pairs", how.choice_pairs);
    choice_utility_ = ordered(study_.utility_in(SplitPart::kValidation), one_group, "reach/choice-utility", how.choice_utility);
    if (train_pairs_.empty() || choice_pairs_.empty())
      throw NumericError("upper bounds on control: the train or the validation split holds no pair");
    train_ = batches_.make_all(train_pairs_, train_utility_, how.pairs_per_step);
    choice_ = batches_.make_all(choice_pairs_, choice_utility_, 4 * how.pairs_per_step);
    std::vector<double> sizes;
    for (const ReachBatch& batch : train_)
      for (const auto& pair : batch.pairs) sizes.push_back(std::abs(pair.base_margin));
    std::sort(sizes.begin(), sizes.end());
    const double median = stats::quantile_sorted(sizes, 0.5);
    task_ = {&batches_, &train_, &signs_, median > 0 ? median : 1.0, options.thresholds.pooled_drop_pp / 100, &measurer.progress(), ""};
    for (const LayerProfile& layer : profile.layers) sigma_[layer.layer] = layer.logit_sd > 0 ? layer.logit_sd : 1;
  }

  Reach run() {
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
    Selector where;
    where.token_ids.assign(tokens.begin(), tokens.end());
    where.following = how_.following;

    const ReachBatch fit = batches_.make(some(train_pairs_, 256), some(train_utility_, 256));
    const LabelledInputs inputs = labelled_inputs(batches_, fit, where);
    layers_ = control_layers(inputs, sigma_);
    search_static();
    if (!tokens.empty()) {
      search_conditional("conditional_tokens", BiasControl(layers_, num_experts(), where),
                         fmt::format("I7a: bias on {} demographic tokens and the next {}", tokens.size(), how_.following), "I7a");
      const ReachBatch held_out = batches_.make(some(choice_pairs_, 256), some(choice_utility_, 256));
      reach_.detectors = fit_detectors(layers_, inputs, labelled_inputs(batches_, held_out, where));
      if (!reach_.detectors.empty()) {
        std::map<int64_t, InputGate> gates;
        for (const Detector& detector : reach_.detectors) gates[detector.layer] = detector.gate;
        search_conditional("conditional_detector", BiasControl(layers_, num_experts(), {}, gates),
                           "I7b: bias times a linear detector of demographic content", "I7b");
      }
    }
    search_low_rank();
    search_router();
    const bool conditional = found("conditional_tokens") && found("conditional_detector") && found("conditional_low_rank");
    reach_.bounds.complete = {"static"};
    if (conditional) reach_.bounds.complete.push_back("conditional");
    if (found("router_only")) reach_.bounds.complete.push_back("router_only");
    measure();
    reach_.oracle_train = measure_oracle(measurer_, study_.pairs_in(SplitPart::kTrain), signs_, how_, options_, "train");
    reach_.oracle_validation = measure_oracle(measurer_, study_.pairs_in(SplitPart::kValidation), signs_, how_, options_, "validation");
    measurer_.count_rows(batches_.rows_computed());
    return std::move(reach_);
  }

 private:
  using Thetas = std::vector<std::vector<double>>;

  int64_t num_experts() const { return measurer_.model().router.num_experts; }
  static std::vector<int64_t> some(const std::vector<int64_t>& all, size_t most) {
    return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(all.size(), most))};
  }
  bool found(const std::string& bound) const {
    return std::any_of(picks_.begin(), picks_.end(), [&](const Pick& pick) { return pick.bound == bound; });
  }

  // Numbers of at most half a sigma are dropped; beside each snapshot its halves and quarters, which often cost less.
  void add_snapshots(const FreeControl& control, const Thetas& thetas, std::vector<Snapshot>& snapshots) {
    for (size_t i = 0; i < thetas.size(); ++i) {
      std::vector<double> scales = {1.0};
      if (i + 1 == thetas.size() || i + 1 == thetas.size() / 2) scales = {1.0, 0.5, 0.25};
      const std::vector<double> kept = control.pruned(thetas[i]);
      for (const double scale : scales) {
        std::vector<double> scaled = kept;
        if (scale != 1)
          for (double& value : scaled) value *= scale;
        snapshots.push_back({control.intervention(scaled), control.breadth(kept)});
      }
    }
  }

  Standing standing_of(const Snapshot& snapshot) const {
    std::vector<double> change;
    double drop = 0, squares = 0, kl = 0, items = 0;
    for (const ReachBatch& batch : choice_) {
      const ReachPass pass = batches_.run(batch, snapshot.intervention);
      for (size_t p = 0; p < batch.pairs.size(); ++p) {
        const auto prefers = [](double margin) { return margin > 0 ? 1.0 : margin < 0 ? 0.0 : 0.5; };
        change.push_back(100.0 * signs_[static_cast<size_t>(batch.pairs[p].axis)] * (prefers(batch.pairs[p].base_margin) - prefers(pass.margins[p])));
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

  // Keeps the snapshot of the largest shift, and that of the largest within the tolerated drop.
  void choose(const std::string& bound, const std::string& control_class, const std::string& family, const std::vector<Snapshot>& snapshots) {
    std::vector<Standing> standings;
    for (const Snapshot& snapshot : snapshots) {
      measurer_.progress().check();
      standings.push_back(standing_of(snapshot));
    }
    if (const auto best = choose_best(standings, std::nullopt)) picks_.push_back({bound, control_class, family, "none", snapshots[*best]});
    if (const auto best = choose_best(standings, options_.thresholds.pooled_drop_pp))
      picks_.push_back({bound, control_class, family, "within_tau", snapshots[*best]});
  }

  void search_static() {
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
        theta[i] = std::sqrt(-2 * std::log(stream.open_uniform(2 * i))) * std::cos(2 * M_PI * stream.uniform(2 * i + 1));
      control.clamp(theta);
      starts.push_back(std::move(theta));
    }
    std::vector<Snapshot> snapshots;
    task_.part = "static bias by gradients";
    for (const std::vector<double>& start : starts) {
      add_snapshots(control, {start}, snapshots);
      add_snapshots(control, descend_by_gradient(task_, control, start, how_.gradient), snapshots);
    }
    choose("a6_gradient", "static", "I6", snapshots);
    reach_.searched.push_back(fmt::format("static bias, straight-through gradients: {} starts of 2 x {} steps of {} pairs and {} utility items",
                                          starts.size(), how_.gradient.steps, how_.pairs_per_step, how_.utility_per_step));
    task_.part = "static bias without gradients";
    snapshots.clear();
    add_snapshots(control, descend_by_perturbation(task_, control, starts[0], how_.perturbation, options_.seed), snapshots);
    choose("a6_second_optimiser", "static", "I6", snapshots);
    reach_.searched.push_back(fmt::format("static bias, simultaneous perturbation: 2 x {} steps of two passes", how_.perturbation.steps));
  }

  void search_conditional(const std::string& bound, const BiasControl& control, const std::string& what, const std::string& family) {
    task_.part = what;
    std::vector<Snapshot> snapshots;
    add_snapshots(control, descend_by_gradient(task_, control, std::vector<double>(static_cast<size_t>(control.size()), 0.0), how_.conditional),
                  snapshots);
    choose(bound, "conditional", family, snapshots);
    reach_.searched.push_back(fmt::format("{}: 2 x {} steps", what, how_.conditional.steps));
  }

  void search_low_rank() {
    std::vector<Snapshot> snapshots;
    std::string ranks;
    for (const int64_t rank : how_.ranks) {
      const LowRankControl control(layers_, num_experts(), measurer_.model().hidden_size, rank);
      task_.part = fmt::format("I7c: router change of rank {}", rank);
      add_snapshots(control, descend_by_gradient(task_, control, control.start(first_slopes(control)), how_.conditional), snapshots);
      ranks += (ranks.empty() ? "" : ", ") + std::to_string(rank);
    }
    choose("conditional_low_rank", "conditional", "I7c", snapshots);
    reach_.searched.push_back(fmt::format("I7c: W_r + A C^T of rank {}: 2 x {} steps each", ranks, how_.conditional.steps));
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
          for (const Target& target : batch.pairs[p].stereo) scored.push_back({target.row, target.token, term.slope[p]});
          for (const Target& target : batch.pairs[p].anti) scored.push_back({target.row, target.token, -term.slope[p]});
        }
        return scored_gradient(batches_.model(), h_TD, scored);
      };
      router_gradients(batches_.model(), batch.packed.pack, head, gradients, [&](const LayerGradient& layer) {
        const at::Tensor dz_TE = dense_logit_gradients(layer.logits_TE, layer.dots_TE, layer.route.weights_TK.sum(1), 1);
        const at::Tensor slope_DE = at::mm(control.standardised(layer.layer, layer.router_input_TD).t(), dz_TE);
        at::Tensor& sum = slopes[layer.layer];
        sum = sum.defined() ? sum + slope_DE : slope_DE;
      });
    }
    return slopes;
  }

  void search_router() {
    const CriticalRowsResult critical = critical_rows(batches_, train_pairs_);
    if (!critical.rows) {
      reach_.searched.push_back("router-only training: not run, " + critical.reason);
      return;
    }
    std::vector<Snapshot> snapshots;
    for (const RouterTraining& restart : how_.router) {
      const TrainedRouter trained = train_router(batches_, *critical.rows, signs_, restart, measurer_.progress());
      for (size_t s = 0; s < trained.change_ED.size(); ++s)
        for (const double scale : s + 1 == trained.change_ED.size() ? std::vector<double>{1, 0.5, 0.25} : std::vector<double>{1})
          snapshots.push_back({router_change(batches_.model(), trained.change_ED[s], trained.change_E[s], scale), num_experts()});
      reach_.router_restarts.push_back({restart.learning_rate, trained.preference_accuracy, trained.adoption});
    }
    choose("router_only", "router_only", "I8", snapshots);
    reach_.searched.push_back(fmt::format("router-only training of the last layer: {} restarts of {} epochs, {} routes a token", how_.router.size(),
                                          how_.router.empty() ? 0 : how_.router.front().epochs, how_.router.empty() ? 0 : how_.router.front().draws));
  }

  // Train and validation values of what was chosen, in the store as every other outcome; candidates for the verdict.
  void measure() {
    Items items;
    items.part = "reach";
    items.pairs = study_.pairs_in(SplitPart::kTrain);
    const size_t num_train = items.pairs.size();
    const auto validation = study_.pairs_in(SplitPart::kValidation);
    items.pairs.insert(items.pairs.end(), validation.begin(), validation.end());
    items.utility = study_.utility_in(SplitPart::kValidation);
    std::vector<const Intervention*> asked = {nullptr};
    for (Pick& pick : picks_) {
      pick.snapshot.intervention.name = name_of(pick);
      asked.push_back(&pick.snapshot.intervention);
    }
    const std::vector<Outcomes> outcomes = measurer_.evaluate(items, asked);
    const std::span<const int64_t> pairs(items.pairs);
    const std::span<const Margins> base(outcomes[0].pairs);
    std::vector<Dose> doses;
    if (!study_.neutral.empty()) doses = measurer_.doses(std::span(asked).subspan(1), options_.neutral_tokens);
    for (size_t i = 0; i < picks_.size(); ++i) {
      const Pick& pick = picks_[i];
      const std::span<const Margins> edited(outcomes[i + 1].pairs);
      ReachPoint point;
      point.bound = pick.bound;
      point.control_class = pick.control_class;
      point.constraint = pick.constraint;
      point.needed_for_no = pick.constraint == "none";
      point.intervention = pick.snapshot.intervention;
      point.breadth = pick.snapshot.breadth;
      point.train_pp = shift_pp(study_, pairs.first(num_train), base.first(num_train), edited.first(num_train), signs_);
      point.validation_pp = shift_pp(study_, pairs.subspan(num_train), base.subspan(num_train), edited.subspan(num_train), signs_);
      if (!items.utility.empty()) point.validation_drop_pp = drop_pp(outcomes[0].utility, outcomes[i + 1].utility);
      if (!doses.empty()) point.dose = doses[i];
      else point.dose_reason = "the study has no neutral text";
      reach_.bounds.points.push_back(std::move(point));
    }
    carry({"a6_gradient"}, "static", outcomes);
    carry({"a6_second_optimiser"}, "static", outcomes);
    carry({"conditional_tokens", "conditional_detector", "conditional_low_rank"}, "conditional", outcomes);
    carry({"router_only"}, "router_only", outcomes);
  }

  static std::string name_of(const Pick& pick) {
    std::string name = pick.bound + (pick.constraint == "none" ? "-reach" : "-within-tau");
    std::replace(name.begin(), name.end(), '_', '-');
    return name;
  }

  // The best point of these searches joins the verdict: the largest validation shift within tau where it is worth the name,
  // else the largest of all. `outcomes`: of the base, then of the points.
  void carry(const std::vector<std::string>& from, const std::string& control_class, const std::vector<Outcomes>& outcomes) {
    const double tau = options_.thresholds.pooled_drop_pp, worth = options_.thresholds.shift_pp;
    std::optional<size_t> best;
    bool best_within = false;
    for (size_t i = 0; i < reach_.bounds.points.size(); ++i) {
      const ReachPoint& point = reach_.bounds.points[i];
      if (std::find(from.begin(), from.end(), point.bound) == from.end() || point.intervention.edits.empty()) continue;
      const bool within = (!point.validation_drop_pp || *point.validation_drop_pp <= tau) && *point.validation_pp >= worth;
      if (!best || (within && !best_within) ||
          (within == best_within && *point.validation_pp > *reach_.bounds.points[*best].validation_pp)) {
        best = i;
        best_within = within;
      }
    }
    if (!best) return;
    ReachPoint& point = reach_.bounds.points[*best];
    SearchCandidate candidate;
    candidate.name = point.candidate = point.intervention.name;
    candidate.control_class = control_class;
    candidate.role = point.constraint == "none" ? "reach" : "best within tau";
    candidate.origin = point.bound;
    candidate.description = fmt::format("{}, {} experts", point.bound, *point.breadth);
    candidate.intervention = point.intervention;
    candidate.family = picks_[*best].family;
    candidate.breadth = *point.breadth;
    candidate.strength = 1;
    candidate.validation_shift_pp = *point.validation_pp;
    int64_t changed = 0;
    const auto &base = outcomes[0].utility, &own = outcomes[*best + 1].utility;
    for (size_t u = 0; u < base.size(); ++u) changed += base[u].correct != own[u].correct;
    candidate.validation_drop_discordance = base.empty() ? 0 : static_cast<double>(changed) / static_cast<double>(base.size());
    candidate.within_tau = !point.validation_drop_pp || *point.validation_drop_pp <= tau;
    candidate.dose = point.dose;
    candidate.dose_reason = point.dose_reason;
    // Random directions of equal dose say something about a shift that counts; without one r3 is not met.
    if (*point.validation_pp >= worth / 2) candidate.direction = [like = point.intervention, model = measurer_.model(), seed = options_.seed](int64_t draw, bool restricted, double strength) {
      return random_like(like, model, restricted, seed, draw, strength);
    };
    reach_.bounds.candidates.push_back(std::move(candidate));
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
  std::map<int64_t, double> sigma_;
  std::vector<ControlLayer> layers_;
  ReachTask task_;
  std::vector<Pick> picks_;
  Reach reach_;
};

}  // namespace

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
    how.router.push_back({.learning_rate = r == 0 ? 0.01 : r == 1 ? 0.03 : 0.1, .draws = draws, .epochs = epochs,
                          .seed = seed + static_cast<uint64_t>(r)});
  return how;
}

Reach search_reach(Measurer& measurer, const SearchResult& search, const RouterProfile& profile, const std::vector<int>& signs,
                   const ReachOptions& how, const DiagnosisOptions& options) {
  return ReachSearches(measurer, search, profile, signs, how, options).run();
}

}  // namespace fare
