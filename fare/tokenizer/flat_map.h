// A hash map from 64-bit keys to small values in one block of memory: built once, read often.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fare {

template <typename Value>
class FlatMap {
 public:
  // Makes room for `count` keys.
  void reserve(size_t count) {
    size_t capacity = 16;
    while (capacity < count * 2) capacity *= 2;
    if (capacity > slots_.size()) rehash(capacity);
  }

  const Value* find(uint64_t key) const {
    if (slots_.empty()) return nullptr;
    for (size_t i = place(key);; i = (i + 1) & mask_) {
      if (!slots_[i].used) return nullptr;
      if (slots_[i].key == key) return &slots_[i].value;
    }
  }

  // The value of `key`, made if it is new.
  Value& operator[](uint64_t key) {
    reserve(size_ + 1);
    for (size_t i = place(key);; i = (i + 1) & mask_) {
      if (!slots_[i].used) {
        slots_[i] = {key, Value{}, true};
        ++size_;
        return slots_[i].value;
      }
      if (slots_[i].key == key) return slots_[i].value;
    }
  }

  size_t size() const { return size_; }

 private:
  struct Slot {
    uint64_t key = 0;
    Value value{};
    bool used = false;
  };

  size_t place(uint64_t key) const {
    key *= 0x9E3779B97F4A7C15ull;
    return static_cast<size_t>(key ^ key >> 32) & mask_;
  }

  void rehash(size_t capacity) {
    std::vector<Slot> old = std::move(slots_);
    slots_.assign(capacity, Slot{});
    mask_ = capacity - 1;
    for (const Slot& slot : old) {
      if (!slot.used) continue;
      size_t i = place(slot.key);
      while (slots_[i].used) i = (i + 1) & mask_;
      slots_[i] = slot;
    }
  }

  std::vector<Slot> slots_;
  size_t mask_ = 0;
  size_t size_ = 0;
};

}  // namespace fare
