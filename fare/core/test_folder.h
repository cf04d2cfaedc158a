// For tests: a temporary folder, and the message of an expected error.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <string>

#include "fare/core/error.h"

namespace fare {

// A fresh folder, removed at the end of the test.
class TestFolder {
 public:
  TestFolder() : TestFolder("test") {}
  explicit TestFolder(const std::string& name) {
    static std::atomic<int> next{0};
    path_ = std::filesystem::temp_directory_path() /
            ("fare-" + name + "-" + std::to_string(::getpid()) + "-" + std::to_string(next++));
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// The message of the error of exactly this kind that `act` throws; a test failure when it throws none or another.
template <typename Kind, typename Act>
std::string message_of(Act act) {
  try {
    act();
  } catch (const Kind& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another kind of error: " << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

#define EXPECT_HAS(text, part) EXPECT_NE(std::string(text).find(part), std::string::npos) << "message: " << (text)

}  // namespace fare
