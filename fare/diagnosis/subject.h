// The sections of report.json that say what was diagnosed: model card, data, splits, thresholds.
#pragma once

#include "fare/core/json.h"
#include "fare/diagnosis/options.h"
#include "fare/diagnosis/sensitivity.h"
#include "fare/diagnosis/study.h"
#include "fare/models/model.h"

namespace fare {

OrderedJson model_json(const Model& model);                                     // "model"
OrderedJson data_json(const Study& study, const Sensitivity& sensitivity, int64_t limit);  // "data"
OrderedJson splits_json(const Study& study, uint64_t seed);                     // "splits"

// The bytes of thresholds.json: margins, split of every item, test families, candidates. What is decided before the test
// split is opened.
struct TestFamily {
  std::string name;
  int64_t size = 0;
  std::string members;
};
std::string thresholds_text(const DiagnosisOptions& options, const Study& study,
                            const std::vector<TestFamily>& families, const OrderedJson& candidates);
// "thresholds" of report.json.
struct Need {
  std::string what;
  int64_t needed = 0, have = 0;
};
OrderedJson thresholds_json(const DiagnosisOptions& options, const std::string& file_text,
                            const std::vector<TestFamily>& families, const std::vector<Need>& needs);

}  // namespace fare
