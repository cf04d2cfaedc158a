#include "fare/stats/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "fare/core/parallel.h"
#include "fare/stats/distributions.h"
#include "fare/stats/draws.h"
#include "fare/stats/inputs.h"
#include "fare/stats/moments.h"

namespace fare::stats {
namespace {

constexpr double kTie = 1e-12;              // The same multiset summed in another order differs in the last bits.
constexpr double kMostUndefined = 0.01;     // Share of undefined replicates above which no interval is given.
constexpr int64_t kReplicatesPerTask = 64;  // Work handed to a thread at once; no influence on results.

void check_options(const ResampleOptions& options) {
  if (options.replicates < 1 || options.replicates > int64_t{1} << 32) {
    throw UsageError("bootstrap: replicates is " + std::to_string(options.replicates) + "; accepted: 1 to 2^32");
  }
}

void check_table(const UnitTable& table) {
  if (table.num_columns < 1 || table.cells.empty()) throw UsageError("bootstrap: no units to resample");
  if (table.cells.size() % table.num_columns != 0) throw UsageError("bootstrap: the last unit lacks columns");
  require_finite(table.cells, "bootstrap: units");
  if (table.num_strata < 1) throw UsageError("bootstrap: there must be at least one stratum");
  if (table.stratum.empty()) {
    if (table.num_strata != 1) throw UsageError("bootstrap: several strata need the stratum of each unit");
    return;
  }
  require_same_length(table.stratum.size(), "strata", table.num_units(), "units");
  for (const int32_t s : table.stratum) {
    if (s < 0 || s >= table.num_strata) throw UsageError("bootstrap: stratum " + std::to_string(s) + " does not exist");
  }
}

// Units of each stratum, in order.
std::vector<std::vector<uint32_t>> members_of(const UnitTable& table) {
  std::vector<std::vector<uint32_t>> members(table.num_strata);
  for (int64_t u = 0; u < table.num_units(); ++u) {
    members[table.stratum.empty() ? 0 : table.stratum[u]].push_back(static_cast<uint32_t>(u));
  }
  return members;
}

// Adds the rows of the drawn units, column by column left to right. Fixed widths let the compiler keep sums in
// registers.
template <int kColumns>
void add_rows(const double* cells, std::span<const uint32_t> drawn, double* totals) {
  double sums[kColumns] = {};
  for (const uint32_t u : drawn) {
    for (int k = 0; k < kColumns; ++k) sums[k] += cells[u * uint64_t{kColumns} + k];
  }
  for (int k = 0; k < kColumns; ++k) totals[k] = sums[k];
}

void add_rows(const UnitTable& table, std::span<const uint32_t> drawn, double* totals) {
  const double* cells = table.cells.data();
  switch (table.num_columns) {
    case 1: return add_rows<1>(cells, drawn, totals);
    case 2: return add_rows<2>(cells, drawn, totals);
    case 3: return add_rows<3>(cells, drawn, totals);
    case 4: return add_rows<4>(cells, drawn, totals);
    default: break;
  }
  const auto columns = static_cast<uint64_t>(table.num_columns);
  std::fill_n(totals, columns, 0.0);
  for (const uint32_t u : drawn) {
    const double* row = cells + u * columns;
    for (uint64_t k = 0; k < columns; ++k) totals[k] += row[k];
  }
}

void require_defined_finite(std::span<const std::optional<double>> values) {
  for (size_t s = 0; s < values.size(); ++s) {
    if (values[s] && !std::isfinite(*values[s])) {
      throw NumericError("bootstrap: statistic " + std::to_string(s) + " is " + std::to_string(*values[s]) +
                         "; an undefined value must be left empty");
    }
  }
}

void run_replicates(int64_t replicates, int num_threads, const std::function<void(int64_t first, int64_t last)>& body) {
  const int64_t tasks = (replicates + kReplicatesPerTask - 1) / kReplicatesPerTask;
  parallel_for(tasks, num_threads, [&](int64_t task) {
    const int64_t first = task * kReplicatesPerTask;
    body(first, std::min(replicates, first + kReplicatesPerTask));
  });
}

void keep(Distribution& out, std::span<const std::optional<double>> values, size_t offset, size_t stride) {
  for (size_t i = offset; i < values.size(); i += stride) {
    if (values[i]) out.replicates.push_back(*values[i]);
    else ++out.num_undefined;
  }
  out.sorted = out.replicates;
  std::ranges::sort(out.sorted);
}

std::string missing_interval(const Distribution& d) {
  if (!d.estimate) return d.estimate.reason;
  const auto all = static_cast<double>(d.replicates.size()) + static_cast<double>(d.num_undefined);
  if (d.sorted.empty() || static_cast<double>(d.num_undefined) > kMostUndefined * all) {
    return std::to_string(d.num_undefined) + " of " + std::to_string(static_cast<int64_t>(all)) +
           " bootstrap replicates are undefined";
  }
  return "";
}

}  // namespace

UnitTable cluster_table(const std::vector<std::span<const double>>& columns, const Clusters& clusters) {
  UnitTable table;
  table.num_columns = static_cast<int64_t>(columns.size()) + 1;
  table.cells.assign(clusters.num_clusters * table.num_columns, 0.0);
  for (size_t k = 0; k < columns.size(); ++k) {
    const auto sums = cluster_sums(columns[k], clusters);
    for (size_t c = 0; c < sums.size(); ++c) table.cells[c * table.num_columns + k] = sums[c];
  }
  const auto sizes = clusters.sizes();
  for (size_t c = 0; c < sizes.size(); ++c) table.cells[(c + 1) * table.num_columns - 1] = sizes[c];
  return table;
}

UnitTable item_table(const std::vector<std::span<const double>>& columns) {
  return cluster_table(columns, one_cluster_per_item(columns.empty() ? 0 : static_cast<int64_t>(columns[0].size())));
}

Outcome<double> Distribution::replicate_mean() const { return stats::mean(replicates); }

Outcome<double> Distribution::replicate_sd() const { return sample_sd(replicates); }

Outcome<double> Distribution::quantile(double p) const {
  if (const auto why = missing_interval(*this); !why.empty()) return Outcome<double>::undefined(why);
  return quantile_sorted(sorted, p);
}

Outcome<Interval> Distribution::percentile(double confidence) const {
  require_open_unit(confidence, "confidence");
  if (const auto why = missing_interval(*this); !why.empty()) return Outcome<Interval>::undefined(why);
  const double tail = (1 - confidence) / 2;
  return Interval{quantile_sorted(sorted, tail), quantile_sorted(sorted, 1 - tail)};
}

Outcome<Interval> Distribution::basic(double confidence) const {
  const auto inner = percentile(confidence);
  if (!inner) return inner;
  return Interval{2 * *estimate - inner->high, 2 * *estimate - inner->low};
}

Outcome<BcaInterval> Distribution::bca(double confidence) const {
  require_open_unit(confidence, "confidence");
  using Out = Outcome<BcaInterval>;
  if (const auto why = missing_interval(*this); !why.empty()) return Out::undefined(why);
  if (sorted.back() - sorted.front() <= kTie) return Out::undefined("the replicates do not vary; use exact bounds");

  BcaInterval out;
  double below = 0;
  for (const double value : sorted) {
    if (std::abs(value - *estimate) <= kTie) below += 0.5;
    else if (value < *estimate) below += 1;
  }
  out.p0 = below / static_cast<double>(sorted.size());
  if (out.p0 <= 0 || out.p0 >= 1) return Out::undefined("no bias correction: the estimate lies outside all replicates");
  out.z0 = normal_quantile(out.p0);

  if (leave_one_out.empty()) return Out::undefined("no leave-one-out values");
  const double centre = *stats::mean(leave_one_out);
  double squares = 0, cubes = 0;
  for (const double value : leave_one_out) {
    const double gap = centre - value;
    squares += gap * gap;
    cubes += gap * gap * gap;
  }
  if (std::sqrt(squares) <= kTie * std::max(1.0, std::abs(centre))) {
    return Out::undefined("no acceleration: the leave-one-out values do not vary");
  }
  out.a = cubes / (6 * std::pow(squares, 1.5));

  const double tail = (1 - confidence) / 2;
  const auto corrected = [&](double z) -> std::optional<double> {
    const double denominator = 1 - out.a * (out.z0 + z);
    if (denominator <= 0) return std::nullopt;
    return normal_cdf(out.z0 + (out.z0 + z) / denominator);
  };
  const auto low = corrected(normal_quantile(tail));
  const auto high = corrected(normal_quantile(1 - tail));
  if (!low || !high) return Out::undefined("no acceleration: its denominator is not positive");
  out.alpha1 = *low;
  out.alpha2 = *high;
  out.interval = {quantile_sorted(sorted, out.alpha1), quantile_sorted(sorted, out.alpha2)};
  return out;
}

Outcome<LabelledInterval> Distribution::interval(IntervalKind kind, double confidence) const {
  std::string note;
  if (kind == IntervalKind::kBca) {
    const auto corrected = bca(confidence);
    if (corrected) return LabelledInterval{corrected->interval, IntervalKind::kBca, ""};
    note = corrected.reason;
  }
  const auto plain = percentile(confidence);
  if (!plain) return Outcome<LabelledInterval>::undefined(plain.reason);
  return LabelledInterval{*plain, IntervalKind::kPercentile, note};
}

std::vector<Distribution> bootstrap(const UnitTable& table, int64_t num_statistics, const Statistics& statistics,
                                    const ResampleOptions& options) {
  check_options(options);
  check_table(table);
  const auto members = members_of(table);
  const bool one_stratum = table.stratum.empty();
  const auto width = static_cast<size_t>(num_statistics);
  const StreamAddress address(options.seed, options.label);

  const auto evaluate = [&](std::span<const double> totals, std::span<std::optional<double>> values) {
    std::ranges::fill(values, std::nullopt);
    statistics(totals, values);
    require_defined_finite(values);
  };

  std::vector<std::optional<double>> all(width * options.replicates);
  run_replicates(options.replicates, options.num_threads, [&](int64_t first, int64_t last) {
    std::vector<uint32_t> drawn(table.num_units());
    std::vector<double> totals(table.num_totals());
    for (int64_t r = first; r < last; ++r) {
      for (size_t s = 0; s < members.size(); ++s) {
        const std::span<uint32_t> part(drawn.data(), members[s].size());
        draw_indices(address, static_cast<uint32_t>(r), static_cast<uint32_t>(s), members[s].size(), part);
        if (!one_stratum) {
          for (uint32_t& u : part) u = members[s][u];
        }
        add_rows(table, part, totals.data() + s * table.num_columns);
      }
      evaluate(totals, std::span(all).subspan(r * width, width));
    }
  });

  // The data as they are, then without each unit.
  std::vector<double> totals(table.num_totals());
  for (size_t s = 0; s < members.size(); ++s) add_rows(table, members[s], totals.data() + s * table.num_columns);
  std::vector<std::optional<double>> estimates(width);
  evaluate(totals, estimates);
  std::vector<std::optional<double>> without(width);
  std::vector<Distribution> out(width);
  std::vector<double> rest = totals;
  for (int64_t u = 0; u < table.num_units(); ++u) {
    const int64_t s = one_stratum ? 0 : table.stratum[u];
    for (int64_t k = 0; k < table.num_columns; ++k) {
      rest[s * table.num_columns + k] = totals[s * table.num_columns + k] - table.cells[u * table.num_columns + k];
    }
    evaluate(rest, without);
    std::copy_n(totals.begin() + s * table.num_columns, table.num_columns, rest.begin() + s * table.num_columns);
    for (size_t i = 0; i < width; ++i) {
      if (without[i]) out[i].leave_one_out.push_back(*without[i]);
    }
  }
  for (size_t i = 0; i < width; ++i) {
    if (estimates[i]) out[i].estimate = *estimates[i];
    else out[i].estimate = Outcome<double>::undefined("the statistic is undefined on these items");
    keep(out[i], all, i, width);
  }
  return out;
}

std::optional<double> weighted_ratio_sum(std::span<const double> totals, std::span<const RatioTerm> terms) {
  if (terms.empty()) return std::nullopt;
  double all = 0;
  for (const auto& term : terms) all += totals[term.denominator];
  if (all == 0) return std::nullopt;
  double result = 0;
  for (const auto& term : terms) {
    const double denominator = totals[term.denominator];
    // With its share as weight the denominator cancels: (D / all) * (N / D).
    if (!term.weight) {
      if (denominator != 0) result += term.factor * totals[term.numerator] / all;
    } else if (*term.weight != 0) {
      if (denominator == 0) return std::nullopt;
      result += term.factor * *term.weight * totals[term.numerator] / denominator;
    }
  }
  return result;
}

Distribution bootstrap_mean(std::span<const double> d, const ResampleOptions& options) {
  return bootstrap_cluster_mean(d, one_cluster_per_item(static_cast<int64_t>(d.size())), options);
}

Distribution bootstrap_cluster_mean(std::span<const double> d, const Clusters& clusters,
                                    const ResampleOptions& options) {
  return std::move(bootstrap_cluster_means({d}, clusters, options)[0]);
}

std::vector<Distribution> bootstrap_cluster_means(const std::vector<std::span<const double>>& columns,
                                                  const Clusters& clusters, const ResampleOptions& options) {
  const size_t count = columns.size();
  const auto means = [count](std::span<const double> totals, std::span<std::optional<double>> values) {
    if (totals[count] > 0)
      for (size_t k = 0; k < count; ++k) values[k] = totals[k] / totals[count];
  };
  return bootstrap(cluster_table(columns, clusters), static_cast<int64_t>(count), means, options);
}

StratifiedBootstrap bootstrap_stratified(std::span<const double> d, std::span<const std::string> stratum_of_item,
                                         const ResampleOptions& options) {
  require_same_length(d.size(), "values", stratum_of_item.size(), "strata");
  std::map<std::string, int32_t> order;  // std::string compares bytes as unsigned char
  for (const auto& name : stratum_of_item) order.emplace(name, 0);
  StratifiedBootstrap out;
  for (auto& [name, index] : order) {
    index = static_cast<int32_t>(out.strata.size());
    out.strata.push_back(name);
  }
  UnitTable table = item_table({d});
  table.num_strata = static_cast<int64_t>(out.strata.size());
  for (const auto& name : stratum_of_item) table.stratum.push_back(order.at(name));
  const auto both = [](std::span<const double> totals, std::span<std::optional<double>> values) {
    double all = 0, items = 0, means = 0;
    for (size_t s = 0; s < totals.size(); s += 2) {
      all += totals[s];
      items += totals[s + 1];
      if (totals[s + 1] == 0) return;  // a stratum without items: only when its one item is left out
      means += totals[s] / totals[s + 1];
    }
    values[0] = all / items;
    values[1] = means / (static_cast<double>(totals.size()) / 2);
  };
  auto results = bootstrap(table, 2, both, options);
  out.micro = std::move(results[0]);
  out.macro = std::move(results[1]);
  return out;
}

Distribution bootstrap_two_stage(const std::vector<std::vector<double>>& samples, const ResampleOptions& options) {
  check_options(options);
  if (samples.empty()) throw UsageError("bootstrap: no clusters to resample");
  double all = 0, items = 0;
  std::vector<double> sums;
  for (const auto& cluster : samples) {
    if (cluster.empty()) throw UsageError("bootstrap: a cluster has no items; leave it out");
    require_finite(cluster, "bootstrap: items");
    sums.push_back(sum(cluster));
    all += sums.back();
    items += static_cast<double>(cluster.size());
  }
  Distribution out;
  out.estimate = all / items;
  if (samples.size() > 1) {
    for (size_t c = 0; c < samples.size(); ++c) {
      out.leave_one_out.push_back((all - sums[c]) / (items - static_cast<double>(samples[c].size())));
    }
  }
  const StreamAddress address(options.seed, options.label);
  std::vector<std::optional<double>> values(options.replicates);
  run_replicates(options.replicates, options.num_threads, [&](int64_t first, int64_t last) {
    std::vector<uint32_t> clusters(samples.size());
    std::vector<uint32_t> inside;
    for (int64_t r = first; r < last; ++r) {
      draw_indices(address, static_cast<uint32_t>(r), 0, samples.size(), clusters);
      double total = 0, count = 0;
      for (size_t position = 0; position < clusters.size(); ++position) {
        const auto& cluster = samples[clusters[position]];
        inside.resize(cluster.size());
        draw_indices(address, static_cast<uint32_t>(r), static_cast<uint32_t>(position) + 1, cluster.size(), inside);
        for (const uint32_t i : inside) total += cluster[i];
        count += static_cast<double>(cluster.size());
      }
      values[r] = total / count;
    }
  });
  keep(out, values, 0, 1);
  return out;
}

}  // namespace fare::stats
