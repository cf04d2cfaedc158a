#include "fare/diagnosis/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "fare/core/error.h"
#include "fare/stats/power.h"
#include "fare/stats/search_effort.h"

namespace fare {
namespace {

constexpr int64_t kLogReplicates = 1000;

// Items of a rung: a beginning of one fixed order, so that a longer rung adds items to a shorter one.
struct RungItems {
  std::vector<int64_t> pairs, utility;
};

RungItems validation_order(const Study& study, uint64_t seed) {
  const std::vector<int64_t> pairs = study.pairs_in(SplitPart::kValidation);
  const std::vector<int64_t> utility = study.utility_in(SplitPart::kValidation);
  if (pairs.empty())
    throw NumericError("search: the validation split holds no pair; give at least three clusters of pairs for an axis");
  std::vector<int32_t> axes, tasks;
  for (const int64_t i : pairs) axes.push_back(study.axis_of[static_cast<size_t>(i)]);
  std::map<std::string, int32_t> task_index;
  for (const int64_t i : utility) {
    const std::string& task = study.utility[static_cast<size_t>(i)].item.task;
    tasks.push_back(task_index.emplace(task, static_cast<int32_t>(task_index.size())).first->second);
  }
  return {balanced_order(pairs, axes, seed, "search/rung"),
          balanced_order(utility, tasks, seed, "search/rung/utility")};
}

void append(Outcomes& to, const Outcomes& from) {
  to.pairs.insert(to.pairs.end(), from.pairs.begin(), from.pairs.end());
  to.utility.insert(to.utility.end(), from.utility.begin(), from.utility.end());
}

double half_width_se(const stats::Interval& interval) { return (interval.high - interval.low) / 2 / 1.959964; }

std::optional<double> worst_of(const std::vector<AxisLevel>& axes) {
  std::optional<double> worst;
  for (const AxisLevel& axis : axes)
    if (const auto one = axis.remaining()) worst = std::max(worst.value_or(0), *one);
  return worst;
}

class Search {
 public:
  Search(OutcomeSource& source, const std::vector<int>& signs, const DiagnosisOptions& options, SearchResult& result)
      : source_(source),
        study_(source.study()),
        signs_(signs),
        options_(options),
        result_(result),
        order_(validation_order(study_, options.seed)),
        outcomes_(result.rows.size()) {
    log_options_ = options;
    log_options_.bootstrap_replicates = std::min(options.bootstrap_replicates, kLogReplicates);
    log_options_.permutations = 1;  // the log holds no p
  }

  // Measures the rows on the items of rung 1, 2 or 3 (all of validation) and fills in what it said.
  void measure(int rung, const std::vector<size_t>& rows) {
    const auto size = [&](int64_t asked, size_t all) {
      return rung == 3 ? all : std::min(static_cast<size_t>(std::max<int64_t>(asked, 1)), all);
    };
    const int at = std::min(rung, 2) - 1;
    const size_t pairs = std::max(base_.pairs.size(), size(options_.rung_pairs[at], order_.pairs.size()));
    const size_t utility = std::max(base_.utility.size(), size(options_.rung_utility[at], order_.utility.size()));
    Items items;
    items.part = "search-rung" + std::to_string(rung);
    items.pairs.assign(order_.pairs.begin() + static_cast<int64_t>(base_.pairs.size()),
                       order_.pairs.begin() + static_cast<int64_t>(pairs));
    items.utility.assign(order_.utility.begin() + static_cast<int64_t>(base_.utility.size()),
                         order_.utility.begin() + static_cast<int64_t>(utility));
    if (!items.pairs.empty() || !items.utility.empty()) {
      std::vector<const Intervention*> asked = {nullptr};
      for (const size_t i : rows) asked.push_back(&result_.rows[i].intervention);
      const std::vector<Outcomes> added = source_.evaluate(items, asked);
      append(base_, added[0]);
      for (size_t r = 0; r < rows.size(); ++r) append(outcomes_[rows[r]], added[r + 1]);
    }
    for (const size_t i : rows) describe(rung, i);
  }

  // Values on all of validation of a row that may have left earlier; its entry in the log stays as it was.
  OneStep complete(size_t i) {
    Items items;
    items.part = "search-step";
    const Outcomes& done = outcomes_[i];
    items.pairs.assign(order_.pairs.begin() + static_cast<int64_t>(done.pairs.size()), order_.pairs.end());
    items.utility.assign(order_.utility.begin() + static_cast<int64_t>(done.utility.size()), order_.utility.end());
    const Intervention* asked = &result_.rows[i].intervention;
    if (!items.pairs.empty() || !items.utility.empty())
      append(outcomes_[i], source_.evaluate(items, {&asked, 1}).front());
    OneStep step;
    step.row = i;
    step.worst_axis_remaining = worst_of(axis_levels(study_, order_.pairs, base_.pairs, done.pairs, signs_));
    if (!order_.utility.empty()) step.drop_pp = drop_pp(base_.utility, done.utility);
    return step;
  }

  // Of the eligible rows, on the items that every row has seen.
  SearchBias bias(const std::vector<size_t>& eligible) const {
    SearchBias bias;
    bias.configurations = static_cast<int64_t>(eligible.size());
    bias.pairs = static_cast<int64_t>(order_.pairs.size());
    size_t common = base_.pairs.size();
    for (const size_t i : eligible) common = std::min(common, outcomes_[i].pairs.size());
    std::vector<double> mean(common, 0);  // over configurations, per pair
    double own_variance = 0, changed = 0;
    const double n = static_cast<double>(common), c = static_cast<double>(eligible.size());
    for (const size_t i : eligible) {
      double sum = 0, squares = 0;
      for (size_t p = 0; p < common; ++p) {
        const double d = *prefers_stereotype(base_.pairs[p], MarginScoring::kSum) -
                         *prefers_stereotype(outcomes_[i].pairs[p], MarginScoring::kSum);
        sum += d;
        squares += d * d;
        changed += d != 0;
        mean[p] += d / c;
      }
      own_variance += (squares / n - sum / n * (sum / n)) / c;
    }
    double sum = 0, squares = 0;
    for (const double d : mean) sum += d, squares += d * d;
    const double shared_variance = squares / n - sum / n * (sum / n);
    bias.discordance = changed / (n * c);
    // Variance of a mean of c values of equal variance and correlation r: v (r + (1 - r) / c).
    if (own_variance > 0 && c > 1)
      bias.correlation = std::clamp((shared_variance / own_variance - 1 / c) / (1 - 1 / c), 0.0, 1.0);
    bias.independent_pp = 100 * std::sqrt(bias.discordance / static_cast<double>(bias.pairs)) *
                          stats::expected_max_of_normals(bias.configurations);
    bias.correlated_pp = bias.independent_pp * std::sqrt(1 - bias.correlation);
    return bias;
  }

 private:
  void describe(int rung, size_t i) {
    SearchRow& row = result_.rows[i];
    const Outcomes& edited = outcomes_[i];
    const std::span<const int64_t> pairs = std::span(order_.pairs).first(base_.pairs.size());
    const std::span<const int64_t> utility = std::span(order_.utility).first(base_.utility.size());
    row.rung = rung;
    row.pairs = static_cast<int64_t>(pairs.size());
    row.utility_items = static_cast<int64_t>(utility.size());
    row.no_effect = same_outcomes(base_, edited);
    const Shift shift =
        measure_shift(study_, pairs, base_.pairs, edited.pairs, signs_, MarginScoring::kSum, log_options_, "search");
    row.shift_pp = shift.value_pp;
    row.shift_interval = shift.interval95;
    row.shift_se_pp = half_width_se(shift.interval95);
    if (rung == 1) row.first_shift_pp = row.shift_pp;
    if (!utility.empty()) {
      const Drop drop = measure_drop(study_, utility, base_.utility, edited.utility, log_options_, "search/utility");
      row.drop_pp = drop.value_pp;
      row.drop_interval = drop.interval95;
      // Zero when nothing changed: exact bounds would let any drop through on few items.
      row.drop_se_pp = 100 * std::sqrt(drop.discordance / std::max(1.0, drop.n_eff));
      row.drop_discordance = drop.discordance;
    }
    row.axes = axis_levels(study_, pairs, base_.pairs, edited.pairs, signs_);
    row.worst_axis_remaining = worst_of(row.axes);
  }

  OutcomeSource& source_;
  const Study& study_;
  const std::vector<int>& signs_;
  const DiagnosisOptions& options_;
  DiagnosisOptions log_options_;
  SearchResult& result_;
  RungItems order_;
  Outcomes base_;                   // on the items of the rungs so far, in their order
  std::vector<Outcomes> outcomes_;  // per row
};

std::vector<Standing> standings_of(const SearchResult& result, const std::vector<size_t>& rows) {
  std::vector<Standing> standings;
  for (const size_t i : rows) standings.push_back(standing_of(result.rows[i]));
  return standings;
}

std::vector<size_t> picked(const std::vector<size_t>& rows, const std::vector<size_t>& kept) {
  std::vector<size_t> chosen;
  for (const size_t i : kept) chosen.push_back(rows[i]);
  return chosen;
}

void measure_doses(OutcomeSource& source, SearchResult& result, const std::vector<size_t>& rows, int64_t tokens) {
  for (SearchRow& row : result.rows) row.dose_reason = "doses are measured for configurations of the last rung";
  if (source.study().neutral.empty()) {
    for (SearchRow& row : result.rows) row.dose_reason = "no neutral text was given";
    return;
  }
  std::vector<const Intervention*> asked;
  for (const size_t i : rows) asked.push_back(&result.rows[i].intervention);
  const std::vector<Dose> doses = source.doses(asked, tokens);
  for (size_t r = 0; r < rows.size(); ++r) {
    result.rows[rows[r]].dose = doses[r];
    result.rows[rows[r]].dose_reason.clear();
  }
}

// Rows one step of the grid away from `at`.
std::vector<OneStep> neighbours(const SearchResult& result, size_t at, const DiagnosisOptions& options) {
  const Configuration& c = result.rows[at].configuration;
  const auto adjacent = [](auto values, auto own, auto other) {
    values.push_back(own);  // a clipped breadth stands between the values it was asked with
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    const auto a = std::find(values.begin(), values.end(), own), b = std::find(values.begin(), values.end(), other);
    return b != values.end() && std::abs(a - b) == 1;
  };
  std::vector<int64_t> breadths;
  for (const SearchRow& row : result.rows)
    if (row.configuration.layers == c.layers && row.configuration.family == c.family)
      breadths.push_back(row.configuration.k);
  std::sort(breadths.begin(), breadths.end());
  breadths.erase(std::unique(breadths.begin(), breadths.end()), breadths.end());
  std::vector<OneStep> steps;
  for (size_t i = 0; i < result.rows.size(); ++i) {
    const Configuration& other = result.rows[i].configuration;
    if (other.random_ranking || other.family != c.family || other.score != c.score || other.sign != c.sign) continue;
    const bool lambda = other.lambda != c.lambda, k = other.k != c.k, layers = other.layers != c.layers;
    OneStep step;
    step.row = i;
    if (lambda && !k && !layers && adjacent(options.strengths, c.lambda, other.lambda))
      step.change = fmt::format("lambda {:g}", other.lambda);
    else if (k && !lambda && !layers && adjacent(breadths, c.k, other.k)) step.change = fmt::format("k {}", other.k);
    else if (layers && !lambda && !k) step.change = "layers " + other.layers;
    else continue;
    steps.push_back(std::move(step));
  }
  return steps;
}

// Measures what it needs with `run`; none with the reason where the game is undefined.
void solve_game(SearchResult& result, Search& run, const Study& study, const DiagnosisOptions& options) {
  std::vector<size_t> axes;
  if (!result.survivors.empty()) {
    const auto& levels = result.rows[result.survivors.front()].axes;  // the base's are the same in every row
    for (size_t a = 0; a < levels.size(); ++a)
      if (levels[a].remaining()) axes.push_back(a);
  }
  if (axes.empty()) {
    result.equilibrium_reason = "no axis shows a preference in its own direction on validation";
    return;
  }
  Game game;
  const bool with_drop = result.rows[result.survivors.front()].drop_pp.has_value();
  const bool with_perplexity = std::min(study.neutral_tokens, options.neutral_tokens) >= kPerplexityTokens &&
                               result.rows[result.survivors.front()].dose.has_value();
  if (with_drop) game.tau_J.push_back(options.thresholds.pooled_drop_pp);
  if (with_perplexity) game.tau_J.push_back(options.thresholds.perplexity_drop_percent);
  Equilibrium equilibrium;
  equilibrium.rows.push_back(std::nullopt);
  game.points.push_back({std::vector<double>(axes.size(), 1.0), std::vector<double>(game.tau_J.size(), 0.0)});
  for (const size_t i : result.survivors) {
    const SearchRow& row = result.rows[i];
    GamePoint point;
    for (const size_t a : axes) point.remaining_G.push_back(*row.axes[a].remaining());
    if (with_drop) point.drop_J.push_back(*row.drop_pp);
    if (with_perplexity) point.drop_J.push_back(100 * std::expm1(row.dose->log_perplexity_change));
    equilibrium.rows.push_back(i);
    game.points.push_back(std::move(point));
  }
  equilibrium.mixture = solve_mixture(game);
  equilibrium.ascent = dual_ascent(game);
  if (result.pure) {
    for (OneStep& step : neighbours(result, *result.pure, options)) {
      OneStep measured = run.complete(step.row);
      measured.change = step.change;
      const bool within = !measured.drop_pp || *measured.drop_pp <= options.thresholds.pooled_drop_pp;
      if (within && measured.worst_axis_remaining)
        equilibrium.best_one_step =
            std::max(equilibrium.best_one_step,
                     *result.rows[*result.pure].worst_axis_remaining - *measured.worst_axis_remaining);
      equilibrium.one_steps.push_back(std::move(measured));
    }
  }
  equilibrium.holds = result.pure.has_value() && equilibrium.ascent.gap <= kEquilibriumGap &&
                      equilibrium.best_one_step <= kEquilibriumGap;
  result.equilibrium = std::move(equilibrium);
}

// `model` and `profile` must outlive the candidates.
void choose_candidates(SearchResult& result, const RoutedModel& model, const RouterProfile& profile,
                       const DiagnosisOptions& options) {
  const std::vector<Standing> standings = standings_of(result, result.survivors);
  const double tau = options.thresholds.pooled_drop_pp;
  const auto best = choose_best(standings, tau), reach = choose_best(standings, std::nullopt);
  if (reach) result.reach = result.survivors[*reach];
  for (const size_t i : result.survivors) {
    const SearchRow& row = result.rows[i];
    if ((row.drop_pp && *row.drop_pp > tau) || !row.worst_axis_remaining) continue;
    if (!result.pure || *row.worst_axis_remaining < *result.rows[*result.pure].worst_axis_remaining) result.pure = i;
  }
  const auto add = [&](const std::optional<size_t>& at, const char* name, const char* role) {
    if (!at) return;
    const size_t i = result.survivors[*at];
    for (const SearchCandidate& other : result.candidates)
      if (other.row == i) return;
    const SearchRow& row = result.rows[i];
    const Configuration& c = row.configuration;
    SearchCandidate candidate;
    candidate.name = name;
    candidate.role = role;
    candidate.row = i;
    candidate.description = fmt::format("{} along {}{}, {} experts, lambda {:g}, {} layers", c.family,
                                        c.sign > 0 ? "" : "minus ", c.score, row.experts.size(), c.lambda, c.layers);
    candidate.family = c.family;
    candidate.breadth = static_cast<int64_t>(row.experts.size());
    candidate.strength = c.lambda;
    candidate.validation_shift_pp = row.shift_pp;
    candidate.validation_drop_discordance = row.drop_discordance;
    candidate.within_tau = !row.drop_pp || *row.drop_pp <= tau;
    candidate.dose = row.dose;
    candidate.dose_reason = row.dose_reason;
    candidate.intervention = row.intervention;
    candidate.intervention.name = name;
    if (c.family != "I4") {
      // exp(lambda) must stay finite in float32 where the strength stands in an exponent.
      if (c.family == "I2" || c.family == "I5") candidate.largest_strength = 60;
      candidate.direction = [c, experts = row.experts, &model, &profile, seed = options.seed](
                                int64_t draw, bool restricted, double strength) -> std::optional<Intervention> {
        const auto direction = random_direction(c, experts, model, restricted, seed, draw);
        if (direction.empty()) return std::nullopt;
        Configuration configuration = c;
        configuration.sign = 1;
        configuration.lambda = strength;
        return make_intervention(configuration, direction, profile, model.router.top_k);
      };
    }
    result.candidates.push_back(std::move(candidate));
  };
  add(best, "within-tau", "best within tau");
  add(reach, "reach", "reach");
}

}  // namespace

std::optional<double> AxisLevel::remaining() const {
  if (base_pp <= 0) return std::nullopt;
  return std::clamp(std::abs(left_pp / base_pp), 0.0, 2.0);
}

std::vector<AxisLevel> axis_levels(const Study& study, std::span<const int64_t> pairs, std::span<const Margins> base,
                                   std::span<const Margins> edited, const std::vector<int>& signs) {
  std::vector<AxisLevel> levels(study.axes.size());
  for (size_t i = 0; i < pairs.size(); ++i) {
    const size_t axis = static_cast<size_t>(study.axis_of[static_cast<size_t>(pairs[i])]);
    ++levels[axis].pairs;
    levels[axis].base_pp += signs[axis] * (*prefers_stereotype(base[i], MarginScoring::kSum) - 0.5);
    levels[axis].left_pp += signs[axis] * (*prefers_stereotype(edited[i], MarginScoring::kSum) - 0.5);
  }
  for (AxisLevel& level : levels) {
    const double to_pp = level.pairs > 0 ? 100.0 / static_cast<double>(level.pairs) : 0;
    level.base_pp *= to_pp;
    level.left_pp *= to_pp;
  }
  return levels;
}

Standing standing_of(const SearchRow& row) {
  Standing standing;
  standing.shift_pp = row.shift_pp;
  standing.shift_se_pp = row.shift_se_pp;
  double base = 0;
  for (const AxisLevel& axis : row.axes) base += axis.base_pp * static_cast<double>(axis.pairs);
  if (row.pairs > 0) standing.most_pp = most_useful_pp(base / static_cast<double>(row.pairs), row.pairs);
  standing.drop_pp = row.drop_pp;
  standing.drop_se_pp = row.drop_se_pp;
  standing.breadth = static_cast<int64_t>(row.experts.size());
  standing.lambda = row.configuration.lambda;
  if (row.dose) standing.dose_nats = row.dose->kl_nats;
  standing.no_effect = row.no_effect;
  standing.key = intervention_key(&row.intervention);
  return standing;
}

SearchResult search(OutcomeSource& source, const ExpertScores& scores, const RouterProfile& profile,
                    const std::vector<int>& signs, const DiagnosisOptions& options) {
  SearchResult result;
  const RoutedModel& model = source.model();
  for (Configuration& configuration : make_grid(options, model)) {
    SearchRow row;
    row.name = configuration_name(configuration);
    row.experts = chosen_experts(configuration, scores, model, options.seed);
    row.intervention = make_intervention(configuration, row.experts, profile, model.router.top_k);
    row.configuration = std::move(configuration);
    result.rows.push_back(std::move(row));
  }
  std::vector<size_t> eligible, controls;
  for (size_t i = 0; i < result.rows.size(); ++i)
    (result.rows[i].configuration.random_ranking ? controls : eligible).push_back(i);

  Search run(source, signs, options, result);
  const double tau = options.thresholds.pooled_drop_pp;
  for (int rung = 1; rung <= 3; ++rung) {
    std::vector<size_t> entered = eligible;
    entered.insert(entered.end(), controls.begin(), controls.end());
    run.measure(rung, entered);
    if (rung < 3) {
      // The last rung takes `survivors` of the grid; controls keep their own quarter, so that their cloud exists.
      const int64_t survivors = std::min<int64_t>(options.survivors, static_cast<int64_t>(eligible.size()));
      const int64_t quota = rung == 1 ? quarter(static_cast<int64_t>(eligible.size()), survivors) : survivors;
      eligible = picked(eligible, keep_best(standings_of(result, eligible), quota, tau));
      controls = picked(
          controls, keep_best(standings_of(result, controls), quarter(static_cast<int64_t>(controls.size()), 1), tau));
    }
    const SearchRow& one = result.rows[entered.front()];
    result.rungs.push_back({rung, one.pairs, one.utility_items, static_cast<int64_t>(entered.size()),
                            static_cast<int64_t>(eligible.size() + controls.size())});
  }
  result.survivors = eligible;
  result.random_survivors = controls;
  std::vector<size_t> last = eligible;
  last.insert(last.end(), controls.begin(), controls.end());
  measure_doses(source, result, last, options.neutral_tokens);

  result.front = picked(eligible, front_of(standings_of(result, eligible)));
  result.random_front = picked(controls, front_of(standings_of(result, controls)));
  std::vector<double> first;
  for (const SearchRow& row : result.rows)
    if (!row.configuration.random_ranking) first.push_back(row.first_shift_pp);
  const int64_t num_points = static_cast<int64_t>(first.size());
  for (int64_t budget = 1;; budget = std::min(2 * budget, num_points)) {
    result.expected_best.push_back({budget, stats::expected_best(first, budget).value()});
    if (budget == num_points) break;
  }
  choose_candidates(result, model, profile, options);
  std::vector<size_t> grid;
  for (size_t i = 0; i < result.rows.size(); ++i)
    if (!result.rows[i].configuration.random_ranking) grid.push_back(i);
  result.bias = run.bias(grid);
  solve_game(result, run, source.study(), options);
  return result;
}

int64_t candidates_of_class(const SearchResult& search, const std::string& control_class) {
  return std::count_if(search.candidates.begin(), search.candidates.end(),
                       [&](const SearchCandidate& candidate) { return candidate.control_class == control_class; });
}

void settle_candidates(SearchResult& search, std::vector<SearchCandidate> others, const DiagnosisOptions& options) {
  for (SearchCandidate& other : others) {
    FARE_CHECK(!other.row, "a candidate of another search has no row in the log");
    search.candidates.push_back(std::move(other));
  }
  for (SearchCandidate& candidate : search.candidates) {
    const stats::PowerLevels levels{
        options.thresholds.alpha / static_cast<double>(candidates_of_class(search, candidate.control_class)), 0.95};
    candidate.needed_items = stats::items_for_non_inferiority(candidate.validation_drop_discordance,
                                                              options.thresholds.pooled_drop_pp / 100, levels);
  }
}

}  // namespace fare
