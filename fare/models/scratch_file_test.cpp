#include "fare/models/scratch_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "fare/checkpoint/test_safetensors.h"
#include "fare/core/error.h"

namespace fare {
namespace {

TEST(ScratchFile, KeepsTensorsAndLeavesNothing) {
  const TestFolder folder;
  at::Tensor first, second;
  {
    ScratchFile file(folder.path(), 2 * ScratchFile::room_for(5 * 7 * 4));
    const at::Tensor a = at::randn({5, 7}), b = at::randn({70}).to(at::kBFloat16);
    const at::Tensor kept_a = file.keep(a), kept_b = file.keep(b);
    EXPECT_TRUE(at::equal(kept_a, a));
    EXPECT_TRUE(at::equal(kept_b, b));
    EXPECT_NE(kept_a.const_data_ptr(), a.const_data_ptr());
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(ScratchFile, SaysWhereThereIsNoRoom) {
  const TestFolder folder;
  const auto message_of = [](const std::filesystem::path& path, int64_t bytes) -> std::string {
    try {
      const ScratchFile file(path, bytes);
    } catch (const IoError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message_of(folder.path() / "missing", 100).find("missing: no room for a scratch file of 1 MB"),
            std::string::npos);
  rlimit usual;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &usual), 0);
  rlimit small = usual;
  small.rlim_cur = 1 << 20;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string within = message_of(folder.path(), 1 << 19), beyond = message_of(folder.path(), 1 << 22);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &usual), 0);
  EXPECT_EQ(within, "");
  EXPECT_NE(beyond.find(folder.path().string()), std::string::npos) << beyond;
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace fare
