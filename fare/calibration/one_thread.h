// LibTorch on one thread, while cells or replicates run side by side on threads of their own.
#pragma once

#include <ATen/Parallel.h>

namespace fare {

// For the thread that makes it; puts back what was set.
class OneThread {
 public:
  OneThread() : before_(at::get_num_threads()) { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

}  // namespace fare
