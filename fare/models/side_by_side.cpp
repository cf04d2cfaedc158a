#include "fare/models/side_by_side.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>

#include "fare/routing/parallel_rows.h"

namespace fare {
namespace {

constexpr int64_t kNarrow = 512;

}  // namespace

bool runs_side_by_side(const DecoderSpec& spec) { return spec.hidden_size <= kNarrow; }

void side_by_side(const DecoderSpec& spec, int64_t n, const std::function<void(int64_t i)>& body) {
  const int64_t threads = at::get_num_threads();
  if (!runs_side_by_side(spec) || threads <= 1 || at::in_parallel_region()) {
    for (int64_t i = 0; i < n; ++i) body(i);
    return;
  }
  // A single body, too, finds itself in a parallel region: what it computes does not depend on how many there are.
  const int64_t workers = std::max<int64_t>(2, std::min(threads, n));
  std::atomic<int64_t> next{0};
  std::exception_ptr failure;
  std::mutex guard;
  parallel_rows(0, workers, 1, [&](int64_t, int64_t) {
    for (int64_t i = next++; i < n; i = next++) {
      try {
        body(i);
      } catch (...) {
        const std::lock_guard lock(guard);
        if (!failure) failure = std::current_exception();
        next = n;
      }
    }
  });
  if (failure) std::rethrow_exception(failure);
}

}  // namespace fare
