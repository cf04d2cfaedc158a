#include "fare/diagnosis/equilibrium.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "fare/core/error.h"
#include "fare/core/philox.h"

namespace fare {
namespace {

// The least v by brute force: at most G + J points carry weight in some optimum, so all supports of that size and all
// choices of tight rows are tried, each solved by elimination.
double by_enumeration(const Game& game) {
  const size_t n = game.points.size(), groups = game.points[0].remaining_G.size(), limits = game.tau_J.size();
  double best = HUGE_VAL;
  const auto solve = [](std::vector<std::vector<double>> a) -> std::optional<std::vector<double>> {
    const size_t m = a.size();
    for (size_t column = 0; column < m; ++column) {
      size_t pivot = column;
      for (size_t r = column; r < m; ++r)
        if (std::abs(a[r][column]) > std::abs(a[pivot][column])) pivot = r;
      if (std::abs(a[pivot][column]) < 1e-10) return std::nullopt;
      std::swap(a[pivot], a[column]);
      for (size_t r = 0; r < m; ++r) {
        if (r == column) continue;
        const double factor = a[r][column] / a[column][column];
        for (size_t c = column; c <= m; ++c) a[r][c] -= factor * a[column][c];
      }
    }
    std::vector<double> x(m);
    for (size_t r = 0; r < m; ++r) x[r] = a[r][m] / a[r][r];
    return x;
  };
  const auto try_support = [&](const std::vector<size_t>& support) {
    // Unknowns: the shares and v. One equation is sum = 1; the others are tight rows, chosen among groups and limits.
    const size_t unknowns = support.size() + 1, rows = groups + limits;
    for (size_t mask = 0; mask < (size_t{1} << rows); ++mask) {
      if (static_cast<size_t>(__builtin_popcountll(mask)) != unknowns - 1) continue;
      std::vector<std::vector<double>> a;
      a.emplace_back(unknowns + 1, 1.0);
      a[0][unknowns - 1] = 0;
      for (size_t r = 0; r < rows; ++r) {
        if (!(mask >> r & 1)) continue;
        std::vector<double> row;
        for (const size_t i : support)
          row.push_back(r < groups ? game.points[i].remaining_G[r] : game.points[i].drop_J[r - groups]);
        row.push_back(r < groups ? -1 : 0);
        row.push_back(r < groups ? 0 : game.tau_J[r - groups]);
        a.push_back(row);
      }
      const auto x = solve(a);
      if (!x) continue;
      bool feasible = true;
      for (size_t s = 0; s < support.size(); ++s) feasible = feasible && (*x)[s] >= -1e-9;
      double v = -HUGE_VAL;
      for (size_t r = 0; r < rows; ++r) {
        double sum = 0;
        for (size_t s = 0; s < support.size(); ++s)
          sum += (*x)[s] *
                 (r < groups ? game.points[support[s]].remaining_G[r] : game.points[support[s]].drop_J[r - groups]);
        if (r < groups) v = std::max(v, sum);
        else feasible = feasible && sum <= game.tau_J[r - groups] + 1e-9;
      }
      if (feasible) best = std::min(best, v);
    }
  };
  std::vector<size_t> support;
  const std::function<void(size_t)> choose = [&](size_t from) {
    if (!support.empty()) try_support(support);
    if (support.size() == groups + limits) return;
    for (size_t i = from; i < n; ++i) {
      support.push_back(i);
      choose(i + 1);
      support.pop_back();
    }
  };
  choose(0);
  return best;
}

Game random_game(uint64_t seed, size_t points, size_t groups, size_t limits) {
  const RandomStream stream(seed, "test/game");
  Game game;
  game.tau_J.assign(limits, 1.0);
  uint64_t draw = 0;
  game.points.push_back({std::vector<double>(groups, 1.0), std::vector<double>(limits, 0.0)});
  for (size_t i = 1; i < points; ++i) {
    GamePoint point;
    for (size_t g = 0; g < groups; ++g) point.remaining_G.push_back(2 * stream.uniform(draw++));
    for (size_t j = 0; j < limits; ++j) point.drop_J.push_back(8 * stream.uniform(draw++) - 1);
    game.points.push_back(point);
  }
  return game;
}

TEST(Equilibrium, TheLinearProgramAgreesWithEnumeration) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const Game game = random_game(seed, 6, 1 + seed % 3, seed % 3);
    const auto mixture = solve_mixture(game);
    ASSERT_TRUE(mixture.has_value()) << seed;
    EXPECT_NEAR(mixture->value, by_enumeration(game), 1e-8) << seed;
    double total = 0;
    std::vector<double> drop(game.tau_J.size(), 0);
    for (size_t i = 0; i < mixture->share.size(); ++i) {
      total += mixture->share[i];
      for (size_t j = 0; j < drop.size(); ++j) drop[j] += mixture->share[i] * game.points[i].drop_J[j];
    }
    EXPECT_NEAR(total, 1, 1e-9);
    for (size_t j = 0; j < drop.size(); ++j) EXPECT_LE(drop[j], game.tau_J[j] + 1e-9);
  }
}

TEST(Equilibrium, HandCases) {
  // Half of either point removes half of either group's bias; each alone leaves one group untouched.
  Game two{{{{1, 1}, {0}}, {{0, 1}, {0}}, {{1, 0}, {0}}}, {1}};
  auto mixture = solve_mixture(two);
  ASSERT_TRUE(mixture);
  EXPECT_NEAR(mixture->value, 0.5, 1e-9);
  EXPECT_NEAR(mixture->share[1], 0.5, 1e-9);
  // A point that costs 4 pp may be played a quarter of the time at tau 1.
  Game costly{{{{1}, {0}}, {{0}, {4}}}, {1}};
  mixture = solve_mixture(costly);
  EXPECT_NEAR(mixture->value, 0.75, 1e-9);
  EXPECT_NEAR(mixture->share[1], 0.25, 1e-9);
  // Without a point within tolerance there is no mixture.
  EXPECT_FALSE(solve_mixture({{{{0}, {4}}, {{1}, {2}}}, {1}}));
  EXPECT_THROW(solve_mixture({}), UsageError);
  EXPECT_THROW(solve_mixture({{{{1, 1}, {0}}, {{1}, {0}}}, {1}}), UsageError);
  EXPECT_THROW(dual_ascent({{{{NAN}, {0}}}, {1}}), NumericError);
}

TEST(Equilibrium, DualAscentClosesTheGapAroundTheProgramsValue) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const Game game = random_game(seed, 5 + seed % 40, 1 + seed % 9, 1 + seed % 2);
    const double exact = solve_mixture(game)->value;
    const DualAscent ascent = dual_ascent(game);
    EXPECT_LE(ascent.gap, kEquilibriumGap) << seed << " after " << ascent.steps;
    EXPECT_LE(ascent.dual_value, exact + 1e-9) << seed << ": the dual value bounds every mixture";
    EXPECT_GE(ascent.gap, -1e-9) << seed;
    EXPECT_NEAR(ascent.value, exact, 2 * kEquilibriumGap) << seed;
  }
  // The answer does not depend on the unit of the drop.
  Game costly{{{{1}, {0}}, {{0.1}, {4}}}, {1}}, rescaled{{{{1}, {0}}, {{0.1}, {0.04}}}, {0.01}};
  EXPECT_NEAR(dual_ascent(costly).dual_value, dual_ascent(rescaled).dual_value, 1e-9);
  EXPECT_NEAR(dual_ascent(costly).value, 0.775, 0.02);
  EXPECT_NEAR(dual_ascent(rescaled).price_J[0], 100 * dual_ascent(costly).price_J[0], 1e-6);
}

}  // namespace
}  // namespace fare
