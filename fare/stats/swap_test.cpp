#include "fare/stats/swap_test.h"

#include <cmath>

#include "fare/core/error.h"
#include "fare/core/parallel.h"
#include "fare/core/philox.h"

namespace fare::stats {
namespace {

constexpr int64_t kDrawsPerTask = 64;
constexpr double kTie = 1e-12;
constexpr double kMostUndefined = 0.01;

}  // namespace

std::vector<SwapTest> swap_tests(const UnitTable& arms, int64_t num_statistics, const Statistics& statistics,
                                 const ResampleOptions& options) {
  if (arms.num_columns % 2 != 0) throw UsageError("swap test: the two arms of a table have unequal numbers of columns");
  const auto width = static_cast<size_t>(arms.num_columns), half = width / 2;
  const auto count = static_cast<size_t>(num_statistics);
  const auto evaluate = [&](const auto& exchanged, std::vector<double>& totals,
                            std::vector<std::optional<double>>& values) {
    totals.assign(width, 0.0);
    for (int64_t u = 0; u < arms.num_units(); ++u) {
      const double* row = &arms.cells[static_cast<size_t>(u) * width];
      const size_t first = exchanged(static_cast<uint64_t>(u)) ? half : 0;
      for (size_t k = 0; k < half; ++k) {
        totals[k] += row[first + k];
        totals[half + k] += row[half - first + k];
      }
    }
    values.assign(count, std::nullopt);
    statistics(totals, values);
  };
  std::vector<double> totals;
  std::vector<std::optional<double>> observed;
  evaluate([](uint64_t) { return false; }, totals, observed);

  const int64_t tasks = (options.replicates + kDrawsPerTask - 1) / kDrawsPerTask;
  std::vector<int64_t> extreme(static_cast<size_t>(tasks) * count, 0), undefined(extreme.size(), 0);
  parallel_for(tasks, options.num_threads, [&](int64_t task) {
    std::vector<double> sums;
    std::vector<std::optional<double>> values;
    for (int64_t r = task * kDrawsPerTask; r < std::min(options.replicates, (task + 1) * kDrawsPerTask); ++r) {
      const RandomStream stream(options.seed, options.label, static_cast<uint32_t>(r));
      evaluate([&](uint64_t u) { return stream.bit(u) != 0; }, sums, values);
      for (size_t i = 0; i < count; ++i) {
        const size_t at = static_cast<size_t>(task) * count + i;
        if (!values[i]) ++undefined[at];
        else if (observed[i] && std::abs(*values[i]) >= std::abs(*observed[i]) - kTie) ++extreme[at];
      }
    }
  });
  std::vector<SwapTest> tests(count);
  for (size_t i = 0; i < count; ++i) {
    SwapTest& test = tests[i];
    for (size_t task = 0; task < static_cast<size_t>(tasks); ++task) {
      test.extreme += extreme[task * count + i];
      test.num_undefined += undefined[task * count + i];
    }
    if (!observed[i]) test.p = Outcome<double>::undefined("the statistic is undefined on these items");
    else if (static_cast<double>(test.num_undefined) > kMostUndefined * static_cast<double>(options.replicates))
      test.p = Outcome<double>::undefined(std::to_string(test.num_undefined) + " of " +
                                          std::to_string(options.replicates) + " draws are undefined");
    else
      test.p = static_cast<double>(1 + test.extreme) / static_cast<double>(1 + options.replicates - test.num_undefined);
  }
  return tests;
}

}  // namespace fare::stats
