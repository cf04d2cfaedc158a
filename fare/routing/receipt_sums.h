// A receipt as sums from which the receipts of units of work add up: what a store keeps and ranks exchange.
#pragma once

#include "fare/core/json.h"
#include "fare/routing/receipt.h"

namespace fare {

Json receipt_sums(const Receipt& receipt);
Receipt receipt_from(const Json& sums);

}  // namespace fare
