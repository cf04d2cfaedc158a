// The processes that share one run. Each is a rank; all go through the same code and divide what is costly.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace fare {

// One rank's view of all. Functions are called from one thread, by every rank in the same order.
class Ranks {
 public:
  virtual ~Ranks() = default;

  virtual int rank() const = 0;  // 0 .. size() - 1; rank 0 writes files and speaks
  virtual int size() const = 0;

  // A number that no rank got since the last exchange(): 0, 1, 2, ..
  virtual int64_t next() = 0;
  // Waits for all ranks. Gives, on every rank, what each handed in, by rank.
  virtual std::vector<std::string> exchange(const std::string& bytes) = 0;
};

// The only rank there is.
class OneRank final : public Ranks {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  int64_t next() override { return next_++; }
  std::vector<std::string> exchange(const std::string& bytes) override {
    next_ = 0;
    return {bytes};
  }

 private:
  int64_t next_ = 0;
};

// What rank 0 hands in, on every rank; that of the others is not looked at.
std::string from_first(Ranks& ranks, const std::string& bytes);

// Hands part i of costs.size() to one rank each, the costliest first (ties: the lower first), and `compute`s it there.
// `started`: how many parts were begun by any rank, this one included. Returns the parts this rank computed. Ranks are
// not waited for: exchange() must follow.
std::vector<size_t> claim_parts(Ranks& ranks, std::span<const double> costs,
                                const std::function<void(size_t part, int64_t started)>& compute);

// claim_parts, then every part's bytes on every rank.
std::vector<std::string> divide(Ranks& ranks, std::span<const double> costs,
                                const std::function<std::string(size_t part, int64_t started)>& compute);

// Several texts in one, and back. Throws BrokenInvariant when `bytes` is not from join_texts.
std::string join_texts(std::span<const std::string> texts);
std::vector<std::string> split_texts(const std::string& bytes);

}  // namespace fare
