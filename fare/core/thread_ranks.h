// For tests: ranks that are threads of one process.
#pragma once

#include <barrier>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fare/core/ranks.h"

namespace fare {

class ThreadRanks {
 public:
  explicit ThreadRanks(int size) : handed_(static_cast<size_t>(size)), meet_(size) {}

  // Runs `act` once for each rank, all at the same time. A rank that throws must be the only one that waits for nobody.
  void run(const std::function<void(Ranks&)>& act) {
    std::vector<std::thread> threads;
    std::exception_ptr failure;
    std::mutex guard;
    for (size_t r = 0; r < handed_.size(); ++r)
      threads.emplace_back([&, r] {
        Member member(*this, static_cast<int>(r));
        try {
          act(member);
        } catch (...) {
          const std::lock_guard lock(guard);
          failure = std::current_exception();
          meet_.arrive_and_drop();
        }
      });
    for (std::thread& thread : threads) thread.join();
    if (failure) std::rethrow_exception(failure);
  }

 private:
  class Member final : public Ranks {
   public:
    Member(ThreadRanks& all, int rank) : all_(all), rank_(rank) {}
    int rank() const override { return rank_; }
    int size() const override { return static_cast<int>(all_.handed_.size()); }
    int64_t next() override {
      const std::lock_guard lock(all_.guard_);
      return all_.next_++;
    }
    std::vector<std::string> exchange(const std::string& bytes) override {
      all_.handed_[static_cast<size_t>(rank_)] = bytes;
      all_.meet_.arrive_and_wait();
      const std::vector<std::string> result = all_.handed_;
      if (rank_ == 0) all_.next_ = 0;
      all_.meet_.arrive_and_wait();
      return result;
    }

   private:
    ThreadRanks& all_;
    int rank_;
  };

  std::mutex guard_;
  int64_t next_ = 0;
  std::vector<std::string> handed_;
  std::barrier<> meet_;
};

}  // namespace fare
