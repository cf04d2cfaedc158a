#include "fare/scoring/request_file.h"

#include <set>

#include "fare/core/json.h"
#include "fare/scoring/token_ids.h"

namespace fare {
namespace {

void read_spans(const Json& object, const std::string& path, const std::string& where, RequestLine& request) {
  const auto found = object.find("spans");
  if (found == object.end() || found->is_null()) return;
  if (!found->is_object()) throw FormatError(path, where, "field 'spans' must map names to lists of [begin, end)");
  const int64_t end_of_text = request.has_ids ? static_cast<int64_t>(request.continuation_ids.size())
                                              : static_cast<int64_t>(request.continuation.size());
  for (const auto& [name, ranges] : found->items()) {
    if (!ranges.is_array()) throw FormatError(path, where, "span '" + name + "' must be a list of [begin, end)");
    auto& list = request.spans[name];
    for (const Json& range : ranges) {
      if (!range.is_array() || range.size() != 2 || !range[0].is_number_integer() || !range[1].is_number_integer())
        throw FormatError(path, where, "span '" + name + "': " + range.dump() + " is not [begin, end)");
      const int64_t begin = range[0].get<int64_t>(), end = range[1].get<int64_t>();
      if (begin == end) throw FormatError(path, where, "span '" + name + "': " + range.dump() + " is empty");
      if (begin < 0 || begin > end || end > end_of_text)
        throw FormatError(path, where,
                          "span '" + name + "': " + range.dump() + " is out of range; the continuation has " +
                              std::to_string(end_of_text) + (request.has_ids ? " tokens" : " bytes"));
      list.emplace_back(begin, end);
    }
  }
}

}  // namespace

std::vector<RequestLine> read_requests(const std::filesystem::path& path) {
  std::vector<RequestLine> requests;
  std::set<std::string> ids;
  const std::string file = path.string();
  for_each_json_line(path, [&](const Json& object, size_t number) {
    const std::string where = "line " + std::to_string(number);
    RequestLine request;
    request.line = number;
    request.id = require<std::string>(object, "id", file, where);
    if (!ids.insert(request.id).second) throw FormatError(file, where, "the id '" + request.id + "' stands twice");
    const bool text = object.contains("context") || object.contains("continuation");
    request.has_ids = object.contains("context_ids") || object.contains("continuation_ids");
    if (text == request.has_ids)
      throw FormatError(file, where,
                        "give either 'context' and 'continuation' or 'context_ids' and 'continuation_ids'");
    if (request.has_ids) {
      for (const char* key : {"context_ids", "continuation_ids"})
        if (!object.contains(key)) throw FormatError(file, where, std::string("field '") + key + "' is missing");
      request.context_ids = read_token_ids(object, "context_ids", file, where);
      request.continuation_ids = read_token_ids(object, "continuation_ids", file, where);
    } else {
      request.context = require<std::string>(object, "context", file, where);
      request.continuation = require<std::string>(object, "continuation", file, where);
    }
    if (request.has_ids ? request.continuation_ids.empty() : request.continuation.empty())
      throw FormatError(file, where, "the continuation of '" + request.id + "' is empty; there is nothing to score");
    if (object.contains("cluster") && !object["cluster"].is_null())
      request.cluster = require<std::string>(object, "cluster", file, where);
    read_spans(object, file, where, request);
    requests.push_back(std::move(request));
  });
  if (requests.empty()) throw FormatError(file, "", "holds no requests");
  return requests;
}

}  // namespace fare
