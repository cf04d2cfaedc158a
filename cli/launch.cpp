#include "cli/launch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string_view>
#include <thread>

#include "fare/core/error.h"
#ifdef FARE_WITH_MPI
#include "cli/mpi_ranks.h"
#endif

namespace fare::cli {
namespace {

constexpr std::string_view kDivided[] = {"diagnose", "eval", "generate", "mask", "probe", "score"};
constexpr auto kFirstSpeaks = std::chrono::seconds(2);
int g_spoken_error = STDERR_FILENO;  // where a silent rank can still say why it died

// Processes that the launcher started together with this one: mpirun, other MPI launchers, srun.
int processes_launched() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"})
    if (const char* text = std::getenv(name); text != nullptr && *text != '\0') return std::max(1, std::atoi(text));
  return 1;
}

void be_silent() {
  g_spoken_error = ::dup(STDERR_FILENO);
  const int nowhere = ::open("/dev/null", O_WRONLY);
  ::dup2(nowhere, STDOUT_FILENO);
  ::dup2(nowhere, STDERR_FILENO);
  ::close(nowhere);
}

}  // namespace

std::unique_ptr<Ranks> join_ranks() {
  const int launched = processes_launched();
  if (launched == 1) return std::make_unique<OneRank>();
#ifdef FARE_WITH_MPI
  std::unique_ptr<Ranks> ranks = join_mpi();
  if (ranks->size() != launched)
    throw Error(fmt::format(
        "{} processes were started together, but MPI connects {}: with srun add --mpi=pmix, or use the mpirun of the "
        "MPI that fare was built with",
        launched, ranks->size()));
  if (ranks->rank() > 0) be_silent();
  return ranks;
#else
  throw Error(fmt::format(
      "{} processes were started together, but this build of fare has no MPI; install an MPI (libopenmpi-dev), "
      "configure again with -DFARE_MPI=ON, or start one process",
      launched));
#endif
}

void fail_all(const Ranks& ranks, int status, const std::string& message) {
  if (ranks.rank() > 0) {
    std::this_thread::sleep_for(kFirstSpeaks);
    const std::string text = fmt::format("rank {}: {}", ranks.rank(), message);
    if (::write(g_spoken_error, text.data(), text.size()) < 0) std::_Exit(status);
  } else {
    std::fputs(message.c_str(), stderr);
  }
  std::fflush(nullptr);
#ifdef FARE_WITH_MPI
  abort_mpi(status);
#else
  std::_Exit(status);
#endif
}

bool divides_work(std::string_view command) {
  return std::find(std::begin(kDivided), std::end(kDivided), command) != std::end(kDivided);
}

}  // namespace fare::cli
