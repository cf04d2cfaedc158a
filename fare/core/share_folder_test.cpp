#include "fare/core/share_folder.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "fare/core/file.h"
#include "fare/core/test_folder.h"

namespace fare {
namespace {

TEST(ShareFolder, IsFoundFromTheProgramAndReplacedByTheVariable) {
  const std::string name = "fixtures/README.md";
  ::unsetenv("FARE_SHARE");
  const auto own = find_shared_file(name);
  ASSERT_TRUE(own);
  EXPECT_NE(own->string().find("share/fare/fixtures"), std::string::npos);
  const TestFolder other("share");
  std::filesystem::create_directories(other / "fixtures");
  write_file(other / name, "mine");
  ::setenv("FARE_SHARE", other.path().c_str(), 1);
  EXPECT_EQ(find_shared_file(name), other / name);
  ::unsetenv("FARE_SHARE");
  EXPECT_FALSE(find_shared_file("fixtures/not there"));
}

}  // namespace
}  // namespace fare
