#include "fare/routing/route_table.h"

#include <algorithm>

#include "fare/core/error.h"

namespace fare {

void require_same_tokens(const RouteTable& table, std::span<const int64_t> offsets, std::span<const int32_t> token_ids,
                         const std::string& file) {
  const std::string advice =
      "; routes can only be replayed on the requests, tokenizer and --max-length they were traced with";
  if (table.offsets.size() != offsets.size())
    throw ModelMismatch(file + ": holds routes of " + std::to_string(std::max<size_t>(table.offsets.size(), 1) - 1) +
                        " requests, this run has " + std::to_string(std::max<size_t>(offsets.size(), 1) - 1) + advice);
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    const int64_t stored = table.offsets[i + 1] - table.offsets[i], fed = offsets[i + 1] - offsets[i];
    if (stored != fed)
      throw ModelMismatch(file + ": request " + std::to_string(i) + " has " + std::to_string(stored) +
                          " tokens there, " + std::to_string(fed) + " in this run" + advice);
    for (int64_t t = 0; t < fed; ++t)
      if (table.token_ids[table.offsets[i] + t] != token_ids[offsets[i] + t])
        throw ModelMismatch(file + ": token " + std::to_string(t) + " of request " + std::to_string(i) + " is " +
                            std::to_string(table.token_ids[table.offsets[i] + t]) + " there, " +
                            std::to_string(token_ids[offsets[i] + t]) + " in this run" + advice);
  }
}

}  // namespace fare
