#include "fare/core/memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace fare {

MachineMemory machine_memory() {
  MachineMemory memory;
  std::ifstream info("/proc/meminfo");
  for (std::string line; std::getline(info, line);) {
    const auto kilobytes = [&] { return std::stoll(line.substr(line.find(':') + 1)) * 1024; };
    if (line.starts_with("MemTotal:")) memory.total_bytes = kilobytes();
    if (line.starts_with("MemAvailable:")) memory.available_bytes = kilobytes();
  }
  int64_t limit = std::numeric_limits<int64_t>::max();
  std::ifstream group("/sys/fs/cgroup/memory.max");  // "max" where there is none
  if (group >> limit) {
    memory.total_bytes = std::min(memory.total_bytes, limit);
    memory.available_bytes = std::min(memory.available_bytes, limit);
  }
  return memory;
}

}  // namespace fare
