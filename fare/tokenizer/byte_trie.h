// Strings by their bytes: which of them begin at a place of a text.
#pragma once

#include <cstdint>
#include <string_view>

#include "fare/tokenizer/flat_map.h"

namespace fare {

class ByteTrie {
 public:
  // False when `key` is empty or there already; `value` >= 0.
  bool add(std::string_view key, int32_t value) {
    if (key.empty()) return false;
    uint64_t node = 0;
    for (const char byte : key) {
      uint32_t& child = children_[edge(node, byte)];
      if (child == 0) {
        child = static_cast<uint32_t>(++num_nodes_);
      }
      node = child;
    }
    int32_t& held = values_[node];  // stored plus one: 0 = none
    if (held != 0) return false;
    held = value + 1;
    starts_[static_cast<unsigned char>(key[0])] = true;
    return true;
  }

  bool empty() const { return num_nodes_ == 0; }
  bool may_start_with(char byte) const { return starts_[static_cast<unsigned char>(byte)]; }

  // Calls `use(length, value)` for every key that is a prefix of `text`, shortest first.
  template <typename Use>
  void for_each_prefix(std::string_view text, Use&& use) const {
    uint64_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      const uint32_t* child = children_.find(edge(node, text[i]));
      if (child == nullptr) return;
      node = *child;
      const int32_t* held = values_.find(node);
      if (held != nullptr && *held != 0) use(i + 1, *held - 1);
    }
  }

 private:
  static uint64_t edge(uint64_t node, char byte) { return node << 8 | static_cast<unsigned char>(byte); }

  FlatMap<uint32_t> children_;
  FlatMap<int32_t> values_;
  size_t num_nodes_ = 0;
  bool starts_[256] = {};
};

}  // namespace fare
