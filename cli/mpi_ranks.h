// Ranks of an MPI job: `mpirun -n 4 fare ..`, or srun (docs/cluster.md).
#pragma once

#include <memory>

#include "fare/core/ranks.h"

namespace fare::cli {

// Joins the job; leaving the object ends this rank's part of it, and waits for the others to do so.
// Throws Error when MPI cannot be started with several threads.
std::unique_ptr<Ranks> join_mpi();

// Ends every rank of the job at once with this exit status.
[[noreturn]] void abort_mpi(int status);

}  // namespace fare::cli
