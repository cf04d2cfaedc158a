// The sections of report.json that say what was diagnosed: model card, data, splits, thresholds.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/options.h"
#include "fare/diagnosis/sensitivity.h"
#include "fare/diagnosis/study.h"
#include "fare/models/model.h"

namespace fare {

OrderedJson model_json(const Model& model);                                                // "model"
OrderedJson data_json(const Study& study, const Sensitivity& sensitivity, int64_t limit);  // "data"
OrderedJson splits_json(const Study& study, uint64_t seed);                                // "splits"

// The bytes of thresholds.json: margins, split of every item, test families, candidates. What is decided before the
// test split is opened.
struct TestFamily {
  std::string name;
  int64_t size = 0;
  std::string members;
};
std::string thresholds_text(const DiagnosisOptions& options, const Study& study, const std::string& fingerprint,
                            const std::vector<TestFamily>& families, const OrderedJson& candidates);
// Opens the test split of a run once: writes thresholds.json into `folder`, or checks that the one that is there is the
// same, byte for byte. Run folders beside this one that hold a report are looked at too: where one was opened for the
// same model and items with the same seed and other margins, opening is refused. Returns a sentence per other earlier
// opening, for the headline. Throws ModelMismatch where it must not be opened.
std::vector<std::string> settle_opening(const std::filesystem::path& folder, const std::string& text);

// "thresholds" of report.json.
struct Need {
  std::string what;
  int64_t needed = 0, have = 0;
};
OrderedJson thresholds_json(const DiagnosisOptions& options, const std::string& file_text,
                            const std::vector<TestFamily>& families, const std::vector<Need>& needs);

}  // namespace fare
