// Threads for code that knows no torch. Results must not depend on the thread count: write to your own slot.
#pragma once

#include <cstdint>
#include <functional>

namespace fare {

// Physical cores this process may use (CPU affinity and cgroup quota respected), at least 1.
int physical_cores();

// Calls `body(i)` once for each i in [0, n), on up to `num_threads` threads. The first exception is rethrown.
void parallel_for(int64_t n, int num_threads, const std::function<void(int64_t)>& body);

}  // namespace fare
