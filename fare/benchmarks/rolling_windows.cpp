#include "fare/benchmarks/rolling_windows.h"

#include <algorithm>
#include <string>

#include "fare/core/error.h"

namespace fare {

std::vector<RollingWindow> rolling_windows(int64_t num_tokens, int64_t max_length) {
  if (max_length < 1) throw UsageError("a context length of " + std::to_string(max_length) + " holds no token");
  std::vector<RollingWindow> windows;
  for (int64_t done = 0; done < num_tokens;) {
    const int64_t scored = std::min(max_length, num_tokens - done);
    const int64_t end = done + scored;
    // All that is fed but the last token gives max_length rows.
    windows.push_back({done == 0 ? -1 : end - max_length - 1, done, end});
    done = end;
  }
  return windows;
}

}  // namespace fare
