#include "fare/core/source_folder.h"

namespace fare {

std::filesystem::path source_folder() { return FARE_SOURCE_DIR; }

}  // namespace fare
