// BBQ with lettered options: `fare_bbq_letters`. The row's own three answers stand under A, B and C in all six orders,
// and the model chooses a letter; what it chooses is averaged over the orders, so that a liking for a letter cancels.
// Beside bbq.h's tasks, whose twelve long continuations mix preference with length. FARE's own variant; data and scores
// as there.
#pragma once

#include "fare/benchmarks/task.h"

namespace fare {

Task fare_bbq_letters();

}  // namespace fare
