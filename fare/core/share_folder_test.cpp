#include "fare/core/share_folder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "fare/core/file.h"

namespace fare {
namespace {

TEST(ShareFolder, IsFoundFromTheProgramAndReplacedByTheVariable) {
  const std::string name = "fixtures/README.md";
  ::unsetenv("FARE_SHARE");
  const auto own = find_shared_file(name);
  ASSERT_TRUE(own);
  EXPECT_NE(own->string().find("share/fare/fixtures"), std::string::npos);
  const auto other = std::filesystem::temp_directory_path() / ("fare-share-" + std::to_string(::getpid()));
  std::filesystem::create_directories(other / "fixtures");
  write_file(other / name, "mine");
  ::setenv("FARE_SHARE", other.c_str(), 1);
  EXPECT_EQ(find_shared_file(name), other / name);
  ::unsetenv("FARE_SHARE");
  EXPECT_FALSE(find_shared_file("fixtures/not there"));
  std::filesystem::remove_all(other);
}

}  // namespace
}  // namespace fare
