// A folder that goes away with its owner.
#pragma once

#include <filesystem>

namespace fare {

struct TemporaryFolder {
  std::filesystem::path path;
  TemporaryFolder();  // throws IoError
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
};

}  // namespace fare
