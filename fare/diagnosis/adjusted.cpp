#include "fare/diagnosis/adjusted.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <set>

#include "fare/stats/bootstrap.h"
#include "fare/stats/moments.h"

namespace fare {
namespace {

constexpr size_t kColumns = 5;       // intercept, distance, log frequency, length, demographic
constexpr double kExplained = 1e-9;  // share of a column's variance that must be left after the ones before it

// Coefficients by elimination of the normal equations, in the order of `used`; none when a pivot vanishes.
std::optional<std::vector<double>> solve(const std::vector<std::vector<double>>& gram, const std::vector<double>& right,
                                         std::span<const size_t> used) {
  const size_t n = used.size();
  std::vector<std::vector<double>> a(n, std::vector<double>(n + 1));
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) a[i][j] = gram[used[i]][used[j]];
    a[i][n] = right[used[i]];
  }
  for (size_t i = 0; i < n; ++i) {
    if (a[i][i] <= kExplained * gram[used[i]][used[i]]) return std::nullopt;
    for (size_t r = i + 1; r < n; ++r) {
      const double factor = a[r][i] / a[i][i];
      for (size_t c = i; c <= n; ++c) a[r][c] -= factor * a[i][c];
    }
  }
  std::vector<double> x(n);
  for (size_t i = n; i-- > 0;) {
    x[i] = a[i][n];
    for (size_t j = i + 1; j < n; ++j) x[i] -= a[i][j] * x[j];
    x[i] /= a[i][i];
  }
  return x;
}

// Sums of products, from totals in the order the columns were given.
void unpack(std::span<const double> totals, std::vector<std::vector<double>>& gram, std::vector<double>& right) {
  gram.assign(kColumns, std::vector<double>(kColumns));
  right.assign(kColumns, 0);
  size_t next = 0;
  for (size_t i = 0; i < kColumns; ++i)
    for (size_t j = i; j < kColumns; ++j) gram[i][j] = gram[j][i] = totals[next++];
  for (size_t i = 0; i < kColumns; ++i) right[i] = totals[next++];
}

}  // namespace

std::vector<std::optional<SpanTraits>> span_traits(const Measurer& measurer,
                                                   std::span<const EncodedPair* const> pairs) {
  const Study& study = measurer.study();
  const Model& model = measurer.scorer().model();
  const int64_t vocabulary = model.spec().vocab_size;
  std::vector<double> count(static_cast<size_t>(vocabulary), 0);
  double total = 0;
  const auto add = [&](const Request& request) {
    for (const auto* ids : {&request.context, &request.continuation})
      for (const int32_t id : *ids) ++count[static_cast<size_t>(id)], ++total;
  };
  for (const EncodedPair& pair : study.pairs) add(pair.stereo), add(pair.anti);
  for (const EncodedUtility& item : study.utility) add(item.choices.front());
  for (const Request& text : study.neutral) add(text);
  std::vector<std::optional<SpanTraits>> traits;
  for (const EncodedPair* pair : pairs) {
    auto& one = traits.emplace_back();
    std::vector<int32_t> sides[2];
    for (const int side : {0, 1}) {
      const Request& request = side == 0 ? pair->stereo : pair->anti;
      const std::vector<int32_t> fed = fed_part(request, measurer.scorer().max_length(), vocabulary).ids;
      for (const int32_t p : side == 0 ? pair->alignment.differs_stereo : pair->alignment.differs_anti)
        sides[side].push_back(fed[static_cast<size_t>(p)]);
    }
    if (sides[0].empty() || sides[1].empty()) continue;
    one.emplace();
    double tokens = 0;
    for (const auto& side : sides)
      for (const int32_t id : side) {
        one->log_frequency +=
            std::log((1 + count[static_cast<size_t>(id)]) / (total + static_cast<double>(vocabulary)));
        ++tokens;
      }
    one->log_frequency /= tokens;
    one->length = tokens / 2;
    const at::NoGradGuard no_grad;
    one->distance = (model.embed(sides[0]).mean(0) - model.embed(sides[1]).mean(0)).norm().item<double>();
  }
  return traits;
}

AdjustedEffect adjusted_effect(const std::vector<Observation>& observations, int64_t layer,
                               const DiagnosisOptions& options) {
  AdjustedEffect effect;
  effect.layer = layer;
  effect.n = static_cast<int64_t>(observations.size());
  std::vector<std::vector<double>> x(kColumns);
  std::vector<double> y;
  std::vector<std::string> names;
  for (const Observation& one : observations) {
    x[0].push_back(1);
    x[1].push_back(one.traits.distance);
    x[2].push_back(one.traits.log_frequency);
    x[3].push_back(one.traits.length);
    x[4].push_back(one.demographic);
    y.push_back(one.divergence);
    names.push_back(one.cluster);
  }
  effect.clusters = static_cast<int64_t>(std::set<std::string>(names.begin(), names.end()).size());
  if (effect.n < static_cast<int64_t>(kColumns) + 1 || effect.clusters < 2) {
    effect.reason =
        fmt::format("{} observations in {} clusters are too few for five coefficients", effect.n, effect.clusters);
    return effect;
  }
  for (size_t c = 1; c <= 3; ++c) {
    const double mean = *stats::mean(x[c]), sd = *stats::sample_sd(x[c]);
    const double unit = sd > 1e-12 * (1 + std::abs(mean)) ? sd : 0;
    for (double& value : x[c]) value = unit > 0 ? (value - mean) / unit : 0;
  }
  std::vector<std::vector<double>> columns;
  for (size_t i = 0; i < kColumns; ++i)
    for (size_t j = i; j < kColumns; ++j) {
      auto& column = columns.emplace_back();
      for (size_t t = 0; t < y.size(); ++t) column.push_back(x[i][t] * x[j][t]);
    }
  for (size_t i = 0; i < kColumns; ++i) {
    auto& column = columns.emplace_back();
    for (size_t t = 0; t < y.size(); ++t) column.push_back(x[i][t] * y[t]);
  }
  std::vector<std::span<const double>> views(columns.begin(), columns.end());
  const stats::UnitTable table = stats::cluster_table(views, stats::cluster_by_name(names));
  std::vector<double> totals;
  for (const auto& column : columns) {
    double sum = 0;
    for (const double value : column) sum += value;
    totals.push_back(sum);
  }
  std::vector<std::vector<double>> gram;
  std::vector<double> right;
  unpack(totals, gram, right);
  std::vector<size_t> used;
  for (size_t c = 0; c < kColumns; ++c) {
    used.push_back(c);
    if (gram[c][c] <= 0 || !solve(gram, right, used)) used.pop_back();
  }
  const auto all = solve(gram, right, used);
  if (!all) {
    effect.reason = "the regression has no unique solution";
    return effect;
  }
  for (size_t i = 0; i < used.size(); ++i) {
    const double value = (*all)[i];
    if (used[i] == 1) effect.distance = value;
    if (used[i] == 2) effect.log_frequency = value;
    if (used[i] == 3) effect.length = value;
    if (used[i] == 4) effect.demographic = value;
  }
  if (!effect.demographic) {
    effect.reason = "distance, frequency and length tell demographic pairs and nulls apart, so nothing is left to ask";
    return effect;
  }
  stats::ResampleOptions resample;
  resample.seed = options.seed;
  resample.label = fmt::format("bootstrap/cluster/sensitivity/adjusted/{}", layer);
  resample.replicates = options.bootstrap_replicates;
  resample.num_threads = options.num_threads;
  const auto interval = stats::bootstrap(
                            table, 1,
                            [&](std::span<const double> sums, std::span<std::optional<double>> values) {
                              thread_local std::vector<std::vector<double>> a;
                              thread_local std::vector<double> b;
                              unpack(sums, a, b);
                              if (const auto found = solve(a, b, used)) values[0] = found->back();
                            },
                            resample)
                            .front()
                            .percentile(0.95);
  if (interval) effect.demographic95 = *interval;
  else effect.reason = interval.reason;
  return effect;
}

}  // namespace fare
