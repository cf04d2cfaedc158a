#include "fare/models/tensor_pool.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <unordered_map>

namespace fare {
namespace {

constexpr size_t kGrain = 4096;              // places begin at its multiples
constexpr size_t kGrowth = size_t{4} << 20;  // the region grows by multiples of this
constexpr size_t kHugePage = size_t{2} << 20;

size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

class TensorPool final : public c10::Allocator {
 public:
  // Address space for the region, not yet memory: as much as there is memory, or what the system grants of it.
  TensorPool() {
    const auto memory = static_cast<size_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    for (reserved_ = round_up(memory, kGrowth); reserved_ >= kGrowth; reserved_ = round_up(reserved_ / 2, kGrowth)) {
      void* address =
          ::mmap(nullptr, reserved_ + kHugePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (address != MAP_FAILED) {
        region_ = reinterpret_cast<std::byte*>(round_up(reinterpret_cast<uintptr_t>(address), kHugePage));
        ::madvise(region_, reserved_, MADV_HUGEPAGE);  // advice: a refusal changes nothing
        return;
      }
      if (reserved_ == kGrowth) break;
    }
    reserved_ = 0;
  }

  static TensorPool& instance() {
    static auto* pool = new TensorPool;  // tensors may be freed after every static object is gone
    return *pool;
  }

  bool usable() const { return region_ != nullptr; }

  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes < kPooledBytes ? c10::alloc_cpu(bytes) : take(bytes);
    return {data, data, &give_back, c10::DeviceType::CPU};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }

  TensorPoolState state() {
    const std::lock_guard lock(guard_);
    return {used_, peak_, top_};
  }

 private:
  static void give_back(void* address) {
    TensorPool& pool = instance();
    auto* byte = static_cast<std::byte*>(address);
    const bool ours = std::less_equal<>()(pool.region_, byte) && std::less<>()(byte, pool.region_ + pool.reserved_);
    ours ? pool.release(byte) : c10::free_cpu(address);
  }

  void* take(size_t asked) {
    const size_t bytes = round_up(asked, kGrain);
    const std::lock_guard lock(guard_);
    auto place = std::find_if(free_.begin(), free_.end(), [&](const auto& range) { return range.second >= bytes; });
    if (place == free_.end()) place = grow(bytes, asked);
    const auto [begin, available] = *place;
    free_.erase(place);
    if (available > bytes) free_.emplace(begin + bytes, available - bytes);
    size_of_.emplace(begin, bytes);
    used_ += bytes;
    peak_ = std::max(peak_, used_);
    return region_ + begin;
  }

  // Makes the free place at the end of the region at least `bytes` large.
  std::map<size_t, size_t>::iterator grow(size_t bytes, size_t asked) {
    auto last = free_.empty() ? free_.end() : std::prev(free_.end());
    const size_t begin = last != free_.end() && last->first + last->second == top_ ? last->first : top_;
    const size_t top = round_up(begin + bytes, kGrowth);
    TORCH_CHECK_WITH(OutOfMemoryError,
                     top <= reserved_ && ::mprotect(region_ + top_, top - top_, PROT_READ | PROT_WRITE) == 0,
                     "no memory for a tensor of ", asked, " bytes");
    top_ = top;
    return free_.insert_or_assign(begin, top - begin).first;
  }

  void release(std::byte* address) {
    const std::lock_guard lock(guard_);
    const auto found = size_of_.find(static_cast<size_t>(address - region_));
    size_t begin = found->first, bytes = found->second;
    size_of_.erase(found);
    used_ -= bytes;
    const auto after = free_.lower_bound(begin);
    if (after != free_.begin()) {
      if (const auto before = std::prev(after); before->first + before->second == begin) {
        begin = before->first;
        bytes += before->second;
        free_.erase(before);
      }
    }
    if (after != free_.end() && begin + bytes == after->first) {
      bytes += after->second;
      free_.erase(after);
    }
    free_.emplace(begin, bytes);
  }

  std::mutex guard_;
  std::byte* region_ = nullptr;
  size_t reserved_ = 0;
  size_t top_ = 0;                              // bytes of the region that may be touched
  std::map<size_t, size_t> free_;               // begin -> bytes; no two touch
  std::unordered_map<size_t, size_t> size_of_;  // of the places in use
  size_t used_ = 0, peak_ = 0;
};

}  // namespace

void use_tensor_pool() {
  if (TensorPool::instance().usable()) c10::SetCPUAllocator(&TensorPool::instance(), 1);
}

TensorPoolState tensor_pool_state() { return TensorPool::instance().state(); }

}  // namespace fare
