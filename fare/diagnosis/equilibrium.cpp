#include "fare/diagnosis/equilibrium.h"

#include <fmt/format.h>
#include <glpk.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "fare/core/error.h"

namespace fare {
namespace {

constexpr int64_t kFirstSteps = 500, kMostSteps = 512000;

void check_game(const Game& game) {
  if (game.points.empty() || game.points.front().remaining_G.empty())
    throw UsageError("equilibrium: a game needs at least one point and one group");
  for (size_t i = 0; i < game.points.size(); ++i) {
    const GamePoint& point = game.points[i];
    if (point.remaining_G.size() != game.points.front().remaining_G.size() || point.drop_J.size() != game.tau_J.size())
      throw UsageError(fmt::format("equilibrium: point {} has {} groups and {} drops; the game has {} and {}", i,
                                   point.remaining_G.size(), point.drop_J.size(),
                                   game.points.front().remaining_G.size(), game.tau_J.size()));
    const auto finite = [](double value) { return std::isfinite(value); };
    if (!std::all_of(point.remaining_G.begin(), point.remaining_G.end(), finite) ||
        !std::all_of(point.drop_J.begin(), point.drop_J.end(), finite))
      throw NumericError(fmt::format("equilibrium: point {} holds a number that is not finite", i));
  }
}

double largest(const std::vector<double>& values) { return *std::max_element(values.begin(), values.end()); }

// One run of `steps` steps.
DualAscent ascend(const Game& game, const std::vector<std::vector<double>>& violation,
                  const std::vector<double>& scale_J, int64_t steps) {
  const size_t num_groups = game.points.front().remaining_G.size(), num_limits = game.tau_J.size();
  const double eta_w = std::sqrt(std::log(static_cast<double>(num_groups)) / static_cast<double>(steps));
  const double eta_mu = 0.5 * std::sqrt(static_cast<double>(kFirstSteps) / static_cast<double>(steps));
  std::vector<double> w(num_groups, 1.0 / static_cast<double>(num_groups)), mu(num_limits, 0);
  std::vector<double> mean_w(num_groups, 0), mean_mu(num_limits, 0), share(game.points.size(), 0);
  const auto lagrangian = [&](size_t i, const std::vector<double>& weight, const std::vector<double>& price) {
    double value = 0;
    for (size_t g = 0; g < num_groups; ++g) value += weight[g] * game.points[i].remaining_G[g];
    for (size_t j = 0; j < num_limits; ++j) value += price[j] * violation[i][j];
    return value;
  };
  const auto best_reply = [&](const std::vector<double>& weight, const std::vector<double>& price) {
    size_t best = 0;
    double least = lagrangian(0, weight, price);
    for (size_t i = 1; i < game.points.size(); ++i)
      if (const double value = lagrangian(i, weight, price); value < least) best = i, least = value;
    return std::pair(best, least);
  };
  double highest_mu = 0;
  const double weight = 1.0 / static_cast<double>(steps);
  for (int64_t n = 0; n < steps; ++n) {
    for (size_t g = 0; g < num_groups; ++g) mean_w[g] += weight * w[g];
    for (size_t j = 0; j < num_limits; ++j) mean_mu[j] += weight * mu[j];
    const size_t reply = best_reply(w, mu).first;
    share[reply] += weight;
    double total = 0;
    for (size_t g = 0; g < num_groups; ++g) total += w[g] *= std::exp(eta_w * game.points[reply].remaining_G[g]);
    for (double& each : w) each /= total;
    for (size_t j = 0; j < num_limits; ++j) {
      mu[j] = std::max(0.0, mu[j] + eta_mu * violation[reply][j]);
      highest_mu = std::max(highest_mu, mu[j]);
    }
  }
  DualAscent result;
  std::vector<double> bias(num_groups, 0), over(num_limits, 0);
  for (size_t i = 0; i < share.size(); ++i) {
    for (size_t g = 0; g < num_groups; ++g) bias[g] += share[i] * game.points[i].remaining_G[g];
    for (size_t j = 0; j < num_limits; ++j) over[j] += share[i] * violation[i][j];
  }
  result.value = largest(bias) + highest_mu * (over.empty() ? 0.0 : std::max(0.0, largest(over)));
  result.dual_value = best_reply(mean_w, mean_mu).second;
  result.gap = result.value - result.dual_value;
  result.share = std::move(share);
  result.weight_G = std::move(mean_w);
  for (size_t j = 0; j < num_limits; ++j) result.price_J.push_back(mean_mu[j] / scale_J[j]);
  result.steps = steps;
  return result;
}

}  // namespace

std::optional<Mixture> solve_mixture(const Game& game) {
  check_game(game);
  const int num_points = static_cast<int>(game.points.size());
  const int num_groups = static_cast<int>(game.points.front().remaining_G.size()),
            num_limits = static_cast<int>(game.tau_J.size());
  glp_term_out(GLP_OFF);
  const std::unique_ptr<glp_prob, decltype(&glp_delete_prob)> problem(glp_create_prob(), &glp_delete_prob);
  glp_prob* const lp = problem.get();
  glp_set_obj_dir(lp, GLP_MIN);
  // Columns: a share per point, then v. Rows: sum_i q_i b_ig - v <= 0; sum_i q_i u_ij <= tau_j; sum_i q_i = 1.
  glp_add_cols(lp, num_points + 1);
  for (int i = 1; i <= num_points; ++i) glp_set_col_bnds(lp, i, GLP_LO, 0, 0);
  glp_set_col_bnds(lp, num_points + 1, GLP_FR, 0, 0);
  glp_set_obj_coef(lp, num_points + 1, 1);
  glp_add_rows(lp, num_groups + num_limits + 1);
  std::vector<int> index(static_cast<size_t>(num_points) + 2);
  std::vector<double> value(index.size());
  const auto set_row = [&](int row, bool with_v, auto&& coefficient) {
    int count = 0;
    for (int i = 0; i < num_points; ++i) {
      index[static_cast<size_t>(++count)] = i + 1;
      value[static_cast<size_t>(count)] = coefficient(game.points[static_cast<size_t>(i)]);
    }
    if (with_v) {
      index[static_cast<size_t>(++count)] = num_points + 1;
      value[static_cast<size_t>(count)] = -1;
    }
    glp_set_mat_row(lp, row, count, index.data(), value.data());
  };
  for (int g = 0; g < num_groups; ++g) {
    set_row(g + 1, true, [&](const GamePoint& point) { return point.remaining_G[static_cast<size_t>(g)]; });
    glp_set_row_bnds(lp, g + 1, GLP_UP, 0, 0);
  }
  for (int j = 0; j < num_limits; ++j) {
    set_row(num_groups + j + 1, false, [&](const GamePoint& point) { return point.drop_J[static_cast<size_t>(j)]; });
    glp_set_row_bnds(lp, num_groups + j + 1, GLP_UP, 0, game.tau_J[static_cast<size_t>(j)]);
  }
  set_row(num_groups + num_limits + 1, false, [](const GamePoint&) { return 1.0; });
  glp_set_row_bnds(lp, num_groups + num_limits + 1, GLP_FX, 1, 1);

  glp_smcp parameters;
  glp_init_smcp(&parameters);
  parameters.msg_lev = GLP_MSG_OFF;
  parameters.presolve = GLP_ON;  // finds an empty set of mixtures without a first phase
  const int code = glp_simplex(lp, &parameters);
  if (code == GLP_ENOPFS) return std::nullopt;
  if (code != 0) throw NumericError(fmt::format("equilibrium: the linear program was given up (code {})", code));
  const int status = glp_get_status(lp);
  if (status == GLP_NOFEAS || status == GLP_INFEAS) return std::nullopt;
  if (status != GLP_OPT)
    throw NumericError(fmt::format("equilibrium: the linear program ended with status {}", status));
  Mixture mixture;
  for (int i = 1; i <= num_points; ++i) mixture.share.push_back(std::max(0.0, glp_get_col_prim(lp, i)));
  mixture.value = glp_get_obj_val(lp);
  return mixture;
}

DualAscent dual_ascent(const Game& game, double gap_wanted) {
  check_game(game);
  std::vector<double> scale_J(game.tau_J.size(), 0);
  for (const GamePoint& point : game.points)
    for (size_t j = 0; j < scale_J.size(); ++j)
      scale_J[j] = std::max(scale_J[j], std::abs(point.drop_J[j] - game.tau_J[j]));
  for (double& scale : scale_J)
    if (scale == 0) scale = 1;
  std::vector<std::vector<double>> violation;
  for (const GamePoint& point : game.points) {
    violation.emplace_back();
    for (size_t j = 0; j < scale_J.size(); ++j)
      violation.back().push_back((point.drop_J[j] - game.tau_J[j]) / scale_J[j]);
  }
  DualAscent best = ascend(game, violation, scale_J, kFirstSteps);
  for (int64_t steps = 4 * kFirstSteps; best.gap > gap_wanted && steps <= kMostSteps; steps *= 4) {
    DualAscent longer = ascend(game, violation, scale_J, steps);
    if (longer.gap < best.gap) best = std::move(longer);
  }
  return best;
}

}  // namespace fare
