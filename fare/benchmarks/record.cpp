#include "fare/benchmarks/record.h"

#include <algorithm>

#include "fare/core/error.h"

namespace fare {

const std::string& text_field(const OrderedJson& object, const std::string& name, const std::string& path,
                              const std::string& where) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string() || found->get_ref<const std::string&>().empty())
    throw FormatError(path, where, "field '" + name + "' must be a text that is not empty");
  return found->get_ref<const std::string&>();
}

OrderedJson harness_config(const TaskInfo& info, const ConfigFields& fields) {
  const bool any_compat = std::any_of(info.metrics.begin(), info.metrics.end(),
                                      [](const auto& m) { return m.profile == Profile::kCompat; });
  OrderedJson metrics = OrderedJson::array();
  for (const MetricInfo& metric : info.metrics) {
    if (any_compat && metric.profile == Profile::kFair) continue;
    OrderedJson entry{{"metric", metric.name}, {"aggregation", metric.pooled ? "pooled" : "mean"}};
    if (metric.higher_is_better) entry["higher_is_better"] = *metric.higher_is_better;
    if (std::find(metrics.begin(), metrics.end(), entry) == metrics.end()) metrics.push_back(std::move(entry));
  }
  OrderedJson config{{"task", info.name}, {"dataset_path", fields.dataset_path}};
  if (!fields.dataset_name.is_null()) config["dataset_name"] = fields.dataset_name;
  config[fields.split + "_split"] = fields.split;
  config["doc_to_text"] = fields.doc_to_text;
  config["doc_to_target"] = fields.doc_to_target;
  config["doc_to_choice"] = fields.doc_to_choice;
  config["description"] = "";
  config["target_delimiter"] = fields.target_delimiter;
  config["fewshot_delimiter"] = "\n\n";
  config["num_fewshot"] = info.num_fewshot;
  config["metric_list"] = std::move(metrics);
  config["output_type"] = fields.output_type;
  config["generation_kwargs"] = fields.generation_kwargs;
  config["repeats"] = 1;
  config["should_decontaminate"] = !fields.decontamination_query.is_null();
  config["doc_to_decontamination_query"] = fields.decontamination_query;
  config["metadata"] = {{"version", info.version}};
  OrderedJson out = OrderedJson::object();
  for (const auto& [key, value] : config.items())
    if (!value.is_null()) out[key] = value;
  return out;
}

OrderedJson Duplicates::seen_before(const std::string& content, const std::string& item) {
  const auto [first, is_new] = first_.emplace(content, item);
  return is_new ? OrderedJson(nullptr) : OrderedJson(first->second);
}

}  // namespace fare
