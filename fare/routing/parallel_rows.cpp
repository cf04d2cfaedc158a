#include "fare/routing/parallel_rows.h"

#include <ATen/Parallel.h>

namespace fare {

void parallel_rows(int64_t begin, int64_t end, int64_t grain,
                   const std::function<void(int64_t from, int64_t to)>& body) {
  at::parallel_for(begin, end, grain, body);
}

}  // namespace fare
