#include "fare/store/computed_rows.h"

#include "fare/core/error.h"

namespace fare {

std::string ComputedRows::at(const RowKey& key) const {
  if (store_ != nullptr) {
    auto text = store_->get(key);
    FARE_CHECK(text.has_value(), "a finished unit misses a row: " + key.text());
    return *std::move(text);
  }
  const auto found = rows_.find(key);
  FARE_CHECK(found != rows_.end(), "a computed unit misses a row: " + key.text());
  return found->second;
}

}  // namespace fare
