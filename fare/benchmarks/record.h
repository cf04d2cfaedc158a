// Small helpers that loaders of public data share: fields of a record, configurations, duplicates.
#pragma once

#include <map>
#include <string>

#include "fare/benchmarks/task.h"

namespace fare {

// The text under `name`. Throws FormatError naming the file and place when it is missing, no text, or empty.
const std::string& text_field(const OrderedJson& object, const std::string& name, const std::string& path,
                              const std::string& where);

// What differs between the configurations of tasks; null fields are left out.
struct ConfigFields {
  std::string dataset_path;
  OrderedJson dataset_name;
  std::string split = "test";  // "test", "validation" or "train"
  OrderedJson doc_to_text, doc_to_target, doc_to_choice;
  std::string target_delimiter = " ";
  std::string output_type = "multiple_choice";
  OrderedJson decontamination_query;  // null: should_decontaminate is false
  OrderedJson generation_kwargs;      // of generate_until
};
// The configuration as the harness writes it. `metric_list` names the compat metrics, or all where there is none;
// pooled ones have the aggregation "pooled".
OrderedJson harness_config(const TaskInfo& info, const ConfigFields& fields);

// Remembers records by their content: the item that had it first, or null for a new one.
class Duplicates {
 public:
  OrderedJson seen_before(const std::string& content, const std::string& item);

 private:
  std::map<std::string, std::string> first_;
};

}  // namespace fare
