// How the program is one of several processes: `mpirun -n 4 fare ..` (docs/cluster.md).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "fare/core/ranks.h"

namespace fare::cli {

// The ranks that a launcher started this process as; the only rank where there is no launcher. Ranks but the first are
// silent from here on: their standard output and error go nowhere.
// Throws Error when a launcher started several processes and this build has no MPI, or MPI does not connect them.
std::unique_ptr<Ranks> join_ranks();

// Ends the run of every rank after one of them failed, with an exit status. The first rank says what happened; another
// waits until the first has had time to say the same, as all ranks read the same flags and files.
[[noreturn]] void fail_all(const Ranks& ranks, int status, const std::string& message);

// False for commands that only the first rank runs.
bool divides_work(std::string_view command);

}  // namespace fare::cli
