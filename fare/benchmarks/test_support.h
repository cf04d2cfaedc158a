// Shared by this floor's tests: where public data and design vectors lie, and scratch files.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "fare/core/file.h"
#include "fare/core/json.h"
#include "fare/core/source_folder.h"
#include "fare/core/test_folder.h"

namespace fare::testing {

inline std::filesystem::path folder(const char* variable, const char* beside_source) {
  if (const char* chosen = std::getenv(variable); chosen != nullptr && *chosen != '\0') return chosen;
  return source_folder() / ".." / "shared" / beside_source;
}
inline std::filesystem::path data_folder() { return folder("FARE_DATA", "data"); }

// The published test vectors of that name, or nothing where the file is not at hand.
inline std::optional<Json> vectors(const std::string& name) {
  const auto path = folder("FARE_DESIGN", "design") / "statistics-vectors.json";
  if (!std::filesystem::exists(path)) return std::nullopt;
  static const Json all = Json::parse(read_file(path));
  return all.at("vectors").at(name);
}

inline std::filesystem::path scratch(const std::string& name) {
  static const TestFolder folder("benchmarks");
  return folder / name;
}

}  // namespace fare::testing

#define FARE_NEED_DATA(relative)                                             \
  if (!std::filesystem::exists(::fare::testing::data_folder() / (relative))) \
  GTEST_SKIP() << (relative) << " is not there; set FARE_DATA to the folder of public data (docs/data.md)"

#define FARE_NEED_VECTORS(variable, name)               \
  const auto variable = ::fare::testing::vectors(name); \
  if (!variable) GTEST_SKIP() << "statistics-vectors.json is not there; set FARE_DESIGN to the folder that holds it"
