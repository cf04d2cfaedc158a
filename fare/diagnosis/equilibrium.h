// The game between fairness and utility over evaluated configurations (methods A5): mixtures of them, dual ascent and
// the certificate. Pure: numbers in, numbers out. G groups or axes, J tolerances. b: remaining bias of a group, in [0,
// 2]; 1 = unchanged. u: drop, in the unit of its tau.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fare {

// What one configuration does. The game needs one that keeps every tolerance; the base model (all b 1, all u 0) always
// does.
struct GamePoint {
  std::vector<double> remaining_G;
  std::vector<double> drop_J;
};

struct Game {
  std::vector<GamePoint> points;
  std::vector<double> tau_J;
};

// A randomised router: how often each point is played.
struct Mixture {
  std::vector<double> share;  // per point; sums to 1
  double value = 0;           // max_g of the mean remaining bias
};

// min over mixtures of max_g mean b_g subject to mean u_j <= tau_j: a linear program over the simplex, solved exactly
// (GLPK). None when no mixture keeps every tolerance. Throws UsageError on a game without points or groups, or of
// unequal lengths; NumericError naming the point when a number is not finite, or when the solver gives up.
std::optional<Mixture> solve_mixture(const Game& game);

// Dual ascent: theta_n = argmin sum_g w_g b_g + sum_j mu_j v_j, then w_g <- w_g exp(eta_w b_g) / Z and
// mu_j <- max(0, mu_j + eta_mu v_j), with v_j = (u_j - tau_j) / largest |u_j - tau_j| over the points; w starts
// uniform, mu at 0. The averaged iterates are judged: a first run of 500 steps with eta_w = sqrt(ln G / N) and eta_mu =
// 0.5, then runs of four times as many with eta_mu halved, until the gap is closed or 512,000 steps are reached (a
// fixed large step keeps mu swinging around its limit; measured in units of the largest violation no problem's scale
// decides).
struct DualAscent {
  std::vector<double> share;     // of the averaged strategy
  double value = 0;              // its max_g b_g plus the largest mu_j of any step times its worst violation of v_j
  double dual_value = 0;         // min over points of the Lagrangian at the averaged w and mu: no mixture does better
  double gap = 0;                // value - dual_value, >= 0 up to rounding
  std::vector<double> weight_G;  // averaged w
  std::vector<double> price_J;   // averaged mu, per unit of u_j
  int64_t steps = 0;
};
inline constexpr double kEquilibriumGap = 0.01;
DualAscent dual_ascent(const Game& game, double gap_wanted = kEquilibriumGap);

}  // namespace fare
