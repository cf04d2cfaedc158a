#include "fare/scoring/encode.h"

#include "fare/core/error.h"

namespace fare {

std::vector<Request> encode_requests(const std::vector<RequestLine>& lines, const std::string& file, const Model& model,
                                     int64_t max_length, std::optional<int32_t> prefix_token) {
  std::vector<Request> requests;
  for (const RequestLine& line : lines) {
    const std::string where = "line " + std::to_string(line.line);
    Request request;
    request.id = line.id;
    request.context = line.context_ids;
    request.continuation = line.continuation_ids;
    request.spans = line.spans;
    if (request.context.empty() && prefix_token) request.context = {*prefix_token};
    try {
      fed_part(request, max_length, model.spec().vocab_size);
    } catch (const UsageError& error) {
      throw FormatError(file, where, error.what());
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace fare
