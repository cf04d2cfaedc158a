#include "fare/calibration/temporary_folder.h"

#include <stdlib.h>

#include "fare/core/error.h"

namespace fare {

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "fare-calibration-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr)
    throw IoError(name + ": a temporary folder cannot be made; set TMPDIR to one that can be written");
  path = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

}  // namespace fare
