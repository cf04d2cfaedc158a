// ATen's parallel_for, compiled where it can use threads: it is a header, and without the OpenMP flag its loop runs on
// one.
#pragma once

#include <cstdint>
#include <functional>

namespace fare {

// Calls body(from, to) for parts of [begin, end) of at least `grain` each, on at most at::get_num_threads() threads; on
// one inside another such loop. What `body` throws is thrown here once all parts have ended.
void parallel_rows(int64_t begin, int64_t end, int64_t grain,
                   const std::function<void(int64_t from, int64_t to)>& body);

}  // namespace fare
