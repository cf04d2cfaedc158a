#include "fare/scoring/request.h"

#include "fare/core/error.h"

namespace fare {

FedRequest fed_part(const Request& request, int64_t max_length, int64_t vocab_size) {
  const std::string name = "request '" + request.id + "'";
  if (request.continuation.empty()) throw UsageError(name + ": the continuation has no tokens");
  if (request.context.empty())
    throw UsageError(name + ": the context is empty; give a prefix token (--prefix-token ID) to condition on");
  const int64_t num_context = static_cast<int64_t>(request.context.size());
  const int64_t num_continuation = static_cast<int64_t>(request.continuation.size());
  if (num_continuation > max_length)
    throw UsageError(name + ": the continuation has " + std::to_string(num_continuation) +
                     " tokens, more than the context length " + std::to_string(max_length) + "; raise --max-length");
  for (const auto* part : {&request.context, &request.continuation})
    for (const int32_t id : *part)
      if (id < 0 || id >= vocab_size)
        throw UsageError(name + ": token id " + std::to_string(id) + " lies outside the vocabulary of " +
                         std::to_string(vocab_size));
  FedRequest fed;
  fed.truncated = std::max<int64_t>(0, num_context + num_continuation - (max_length + 1));
  fed.num_context = num_context - fed.truncated;
  fed.ids.assign(request.context.begin() + fed.truncated, request.context.end());
  fed.ids.insert(fed.ids.end(), request.continuation.begin(), request.continuation.end() - 1);
  return fed;
}

}  // namespace fare
