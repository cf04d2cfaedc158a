#include "cli/mpi_ranks.h"

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>

#include "fare/core/error.h"

namespace fare::cli {
namespace {

using namespace std::chrono_literals;

constexpr int kClaim = 1, kNumber = 2;      // tags: a rank asks for a number, and gets it
constexpr size_t kPiece = size_t{1} << 28;  // bytes of one message at most; MPI counts in int

// Waits without keeping a core busy, unlike MPI's own waiting.
void finish(MPI_Request request) {
  int done = 0;
  for (auto pause = 20us; MPI_Test(&request, &done, MPI_STATUS_IGNORE), done == 0;
       pause = std::min<std::chrono::microseconds>(2 * pause, 1ms))
    std::this_thread::sleep_for(pause);
}

// Rank 0 hands out the numbers from a thread of its own, so that nobody waits for its computation.
class MpiRanks final : public Ranks {
 public:
  MpiRanks() {
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided);
    if (provided < MPI_THREAD_MULTIPLE)
      throw Error(
          "this MPI library does not let several threads call it (MPI_THREAD_MULTIPLE); run fare without mpirun");
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    MPI_Comm_dup(MPI_COMM_WORLD, &claims_);  // so that claims and exchanges cannot meet
    if (rank_ == 0 && size_ > 1) server_ = std::thread([this] { serve(); });
  }
  ~MpiRanks() override {
    MPI_Request all_here = MPI_REQUEST_NULL;
    MPI_Ibarrier(MPI_COMM_WORLD, &all_here);
    finish(all_here);
    stop_ = true;
    if (server_.joinable()) server_.join();
    MPI_Comm_free(&claims_);
    MPI_Finalize();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  int64_t next() override {
    if (rank_ == 0) return take(round_);
    int64_t number = 0;
    MPI_Send(&round_, 1, MPI_INT64_T, 0, kClaim, claims_);
    MPI_Request answer = MPI_REQUEST_NULL;
    MPI_Irecv(&number, 1, MPI_INT64_T, 0, kNumber, claims_, &answer);
    finish(answer);
    return number;
  }

  std::vector<std::string> exchange(const std::string& bytes) override {
    ++round_;
    const size_t n = static_cast<size_t>(size_);
    uint64_t own = bytes.size();
    std::vector<uint64_t> sizes(n);
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Iallgather(&own, 1, MPI_UINT64_T, sizes.data(), 1, MPI_UINT64_T, MPI_COMM_WORLD, &request);
    finish(request);
    std::vector<std::string> all(n);
    for (size_t r = 0; r < n; ++r) {
      all[r] = static_cast<int>(r) == rank_ ? bytes : std::string(sizes[r], '\0');
      for (size_t at = 0; at < all[r].size(); at += kPiece) {
        const size_t count = std::min(kPiece, all[r].size() - at);
        MPI_Ibcast(all[r].data() + at, static_cast<int>(count), MPI_BYTE, static_cast<int>(r), MPI_COMM_WORLD,
                   &request);
        finish(request);
      }
    }
    return all;
  }

 private:
  // Ranks may be one exchange apart: each round counts for itself.
  int64_t take(int64_t round) {
    const std::lock_guard lock(guard_);
    numbers_.erase(numbers_.begin(), numbers_.lower_bound(round - 1));
    return numbers_[round]++;
  }

  void serve() {
    while (!stop_) {
      int there = 0;
      MPI_Status from;
      MPI_Iprobe(MPI_ANY_SOURCE, kClaim, claims_, &there, &from);
      if (there == 0) {
        std::this_thread::sleep_for(200us);
        continue;
      }
      int64_t round = 0;
      MPI_Recv(&round, 1, MPI_INT64_T, from.MPI_SOURCE, kClaim, claims_, MPI_STATUS_IGNORE);
      const int64_t number = take(round);
      MPI_Send(&number, 1, MPI_INT64_T, from.MPI_SOURCE, kNumber, claims_);
    }
  }

  int rank_ = 0, size_ = 1;
  int64_t round_ = 0;  // exchanges so far
  MPI_Comm claims_ = MPI_COMM_NULL;
  std::mutex guard_;
  std::map<int64_t, int64_t> numbers_;  // of a round, the next to give
  std::atomic<bool> stop_{false};
  std::thread server_;
};

}  // namespace

std::unique_ptr<Ranks> join_mpi() { return std::make_unique<MpiRanks>(); }

void abort_mpi(int status) {
  MPI_Abort(MPI_COMM_WORLD, status);
  std::_Exit(status);
}

}  // namespace fare::cli
