#include "fare/benchmarks/context_split.h"

#include "fare/benchmarks/unicode_text.h"

namespace fare {

TextRequest split_context(std::string_view context, std::string_view continuation) {
  const std::string_view kept = strip_right(context);
  TextRequest request{std::string(kept), std::string(context.substr(kept.size()))};
  request.continuation += continuation;
  return request;
}

}  // namespace fare
