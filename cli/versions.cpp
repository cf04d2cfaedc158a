#include "cli/versions.h"

#include <torch/version.h>

namespace fare::cli {
std::map<std::string, std::string> versions() {
  return {{"fare", FARE_VERSION}, {"libtorch", TORCH_VERSION}, {"compiler", __VERSION__}};
}

std::string commit() { return FARE_COMMIT; }

}  // namespace fare::cli
