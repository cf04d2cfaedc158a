#include "fare/diagnosis/control_study_test.h"

#include "fare/lab/control_model.h"

namespace fare {

void write_control_model(const ControlOptions& options, const std::filesystem::path& folder) {
  make_control_model(options, folder);
}

}  // namespace fare
