#include "cli/process.h"

#include <malloc.h>
#include <unistd.h>

#include <cstdlib>

namespace fare::cli {
namespace {

constexpr int kLargestKeptBlock = 64 << 20;
constexpr int kKeptBytes = 256 << 20;

}  // namespace

void settle_process(char** argv) {
  ::mallopt(M_MMAP_THRESHOLD, kLargestKeptBlock);
  ::mallopt(M_TRIM_THRESHOLD, kKeptBytes);
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  ::setenv("GOMP_SPINCOUNT", "1000", 1);
  ::execv("/proc/self/exe", argv);  // only returns on failure; then the run goes on as it is
}

}  // namespace fare::cli
