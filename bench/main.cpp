// Runs the micro-benchmarks: `micro [--threads N] [Google Benchmark flags]`. N threads (default: all that this process
// may use) for tensors and for the bootstrap.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>

#include "fare/models/tensor_pool.h"

int main(int argc, char** argv) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], "--threads") != 0) continue;
    const int threads = std::atoi(argv[i + 1]);
    if (threads < 1) {
      std::cerr << "--threads " << argv[i + 1] << ": must be a whole number from 1\n";
      return 2;
    }
    at::set_num_threads(threads);
    std::copy(argv + i + 2, argv + argc, argv + i);
    argc -= 2;
    break;
  }
  fare::use_tensor_pool();  // as the program does
  const at::NoGradGuard no_grad;
  at::manual_seed(0);
  benchmark::AddCustomContext("tensor_threads", std::to_string(at::get_num_threads()));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
