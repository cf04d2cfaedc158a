// Tokens and their ids, both ways.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace fare {

class Vocabulary {
 public:
  void reserve(size_t count) {
    ids_.reserve(count);
    tokens_.reserve(count);
  }
  // False when the token or the id is taken already (nothing is added then). `id` >= 0.
  bool add(std::string_view token, int32_t id);

  std::optional<int32_t> find(std::string_view token) const {
    const auto found = ids_.find(token);
    if (found == ids_.end()) return std::nullopt;
    return found->second;
  }
  // nullptr when no token has that id.
  const std::string* token(int32_t id) const {
    const auto found = tokens_.find(id);
    return found == tokens_.end() ? nullptr : found->second;
  }
  size_t size() const { return ids_.size(); }
  int32_t largest_id() const { return largest_id_; }  // -1 when empty

 private:
  std::deque<std::string> storage_;
  std::unordered_map<std::string_view, int32_t> ids_;
  std::unordered_map<int32_t, const std::string*> tokens_;
  int32_t largest_id_ = -1;
};

}  // namespace fare
