// The rules by which a search keeps, orders and chooses configurations (methods A5). Pure: numbers in, indices out.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fare {

// One configuration on the items of a rung. Shift: positive = less bias; drop: positive = worse; both in pp.
struct Standing {
  double shift_pp = 0;
  double shift_se_pp = 0;
  std::optional<double> most_pp;  // most_useful_pp of these items; none: no shift is too large
  std::optional<double> drop_pp;  // none without utility items
  double drop_se_pp = 0;
  int64_t breadth = 0;  // experts touched
  double lambda = 0;
  std::optional<double> dose_nats;
  bool no_effect = false;  // agrees with the base in every bit
  std::string key;         // equal keys: the same edits
};

// Size of the next rung: a quarter rounded up, at least `least`, at most all.
int64_t quarter(int64_t entered, int64_t least);

// Indices (ascending) of the `quota` standings that go on: three quarters of them (rounded up) by shift among those
// whose drop is at most tau plus one standard error of the drop on these items, the rest by shift alone; where the
// first list is short the second fills up. A configuration with the edits of a better-placed one is passed over, one
// without effect comes last, ties go to smaller breadth, then smaller lambda, then the lower index.
std::vector<size_t> keep_best(std::span<const Standing> standings, int64_t quota, double tau_pp);

// A shift beyond this has turned the preference round as far as it shows: `base_pp` (preference without the edit, along
// the signs, pp from 50%) plus one standard error of a share of `pairs` pairs. At least 0.
double most_useful_pp(double base_pp, int64_t pairs);

// The best by shift, what goes beyond `most_pp` counted back (overshoot is bias again, methods A5), with the drop at
// most `tau_pp` where one is given; none when no standing qualifies. Of those whose shift lies within one standard
// error of the best, the smallest breadth, then the smallest dose, then the largest shift. Configurations without
// effect are chosen only where nothing else qualifies.
std::optional<size_t> choose_best(std::span<const Standing> standings, std::optional<double> tau_pp);

// Indices that nothing beats in both shift and drop, by rising drop; of equals the first. Standings without a drop
// count as drop 0.
std::vector<size_t> front_of(std::span<const Standing> standings);

// `items` in the order in which rungs take them: shuffled within each group by the stream (seed, label), groups
// interleaved so that every beginning of the list holds them in proportion. `group_of[i]` belongs to items[i].
std::vector<int64_t> balanced_order(std::span<const int64_t> items, std::span<const int32_t> group_of, uint64_t seed,
                                    std::string_view label);

}  // namespace fare
