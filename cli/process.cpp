#include "cli/process.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string_view>
#include <utility>

#include "fare/models/tensor_pool.h"

namespace fare::cli {
namespace {

// Blocks of this size and more are mapped alone and given back when freed; the large tensors have a pool of their own.
constexpr int kMappedBlock = 128 << 10;
constexpr int kKeptBytes = 16 << 20;

// Settings that libraries read when they are loaded or first used; what the user has set stays.
// Threads that wait: libgomp. Prepared products: one for each shape is kept, half a megabyte each, by oneDNN for the
// process and by ATen for each thread; there are as many shapes as experts have row counts.
constexpr std::pair<const char*, const char*> kSettings[] = {
    {"GOMP_SPINCOUNT", "1000"}, {"LRU_CACHE_CAPACITY", "128"}, {"ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128"}};

// Starting twice costs a fifth of a second: only the commands that run a model gain by it.
constexpr std::string_view kRunModels[] = {"diagnose", "eval", "generate", "mask", "probe", "score"};

}  // namespace

void settle_process(char** argv) {
  ::mallopt(M_MMAP_THRESHOLD, kMappedBlock);
  ::mallopt(M_TRIM_THRESHOLD, kKeptBytes);
  use_tensor_pool();
  const std::string_view command = argv[0] != nullptr && argv[1] != nullptr ? argv[1] : "";
  if (std::find(std::begin(kRunModels), std::end(kRunModels), command) == std::end(kRunModels)) return;
  bool changed = false;
  for (const auto& [name, value] : kSettings) {
    const bool waits = std::string_view(name) == "GOMP_SPINCOUNT" && std::getenv("OMP_WAIT_POLICY") != nullptr;
    if (std::getenv(name) != nullptr || waits) continue;
    ::setenv(name, value, 1);
    changed = true;
  }
  if (changed) ::execv("/proc/self/exe", argv);  // only returns on failure; then the run goes on as it is
}

}  // namespace fare::cli
