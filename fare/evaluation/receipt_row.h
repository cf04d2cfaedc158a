// The row that holds a unit's receipt, as sums from which units add up.
#pragma once

#include "fare/core/json.h"
#include "fare/routing/receipt.h"
#include "fare/store/store.h"

namespace fare {

inline constexpr char kUnitItem[] = "unit";  // the `scoring` of such a row

Json receipt_sums(const Receipt& receipt);
Receipt receipt_from(const Json& sums);

// The value of a row that a finished unit must have. Throws BrokenInvariant when it is not there.
Json stored_row(Store& store, const RowKey& key);

}  // namespace fare
