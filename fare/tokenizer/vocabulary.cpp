#include "fare/tokenizer/vocabulary.h"

#include <algorithm>

namespace fare {

bool Vocabulary::add(std::string_view token, int32_t id) {
  if (ids_.contains(token) || tokens_.contains(id)) return false;
  const std::string& kept = storage_.emplace_back(token);
  ids_.emplace(kept, id);
  tokens_.emplace(id, &kept);
  largest_id_ = std::max(largest_id_, id);
  return true;
}

}  // namespace fare
