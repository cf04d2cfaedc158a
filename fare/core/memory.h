// How much memory this process may use.
#pragma once

#include <cstdint>

namespace fare {

// Bytes; what the system or a container's limit (cgroup v2) allows, whichever is less. 0 where the system does not say.
struct MachineMemory {
  int64_t total_bytes = 0;
  int64_t available_bytes = 0;  // without pushing others out of memory; pages of files that can be dropped count
};
MachineMemory machine_memory();

}  // namespace fare
