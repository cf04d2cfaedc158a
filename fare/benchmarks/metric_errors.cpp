#include "fare/benchmarks/metric_errors.h"

#include "fare/core/error.h"
#include "fare/stats/clusters.h"

namespace fare {
namespace {

OrderedJson number_or_null(const stats::Outcome<double>& number) {
  return number ? OrderedJson(*number) : OrderedJson(nullptr);
}

}  // namespace

OrderedJson metric_errors(const TaskInfo& task, std::span<const Document> documents,
                          std::span<const SampleMetrics> samples) {
  FARE_CHECK(documents.size() == samples.size(), "one list of metrics per document");
  OrderedJson errors = OrderedJson::object();
  for (const auto& info : task.metrics) {
    if (info.profile != Profile::kFair || info.pooled) continue;
    std::vector<double> values;
    std::vector<std::string> clusters;
    for (size_t d = 0; d < documents.size(); ++d) {
      for (const auto& metric : samples[d]) {
        if (metric.name != info.name || metric.filter != info.filter || !metric.value) continue;
        values.push_back(*metric.value);
        clusters.push_back(documents[d].cluster);
      }
    }
    const auto grouped = stats::cluster_by_name(clusters);
    const auto error = stats::clustered_error(values, grouped);
    OrderedJson entry{{"n", values.size()}, {"clusters", grouped.num_clusters}};
    if (error) {
      entry["se_naive"] = error->se_naive;
      entry["se_cr1"] = error->se_cr1;
      entry["cr1_over_naive"] = number_or_null(error->ratio());
      entry["icc"] = number_or_null(error->anova.icc);
      if (!error->ratio()) entry["cr1_over_naive_reason"] = error->ratio().reason;
      if (!error->anova.icc) entry["icc_reason"] = error->anova.icc.reason;
    } else {
      for (const char* name : {"se_naive", "se_cr1", "cr1_over_naive", "icc"}) entry[name] = nullptr;
      entry["reason"] = error.reason;
    }
    errors[info.filter == "none" ? info.name : info.name + "," + info.filter] = std::move(entry);
  }
  return errors;
}

}  // namespace fare
