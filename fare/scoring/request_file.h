// Reads a file of log-likelihood requests (docs/requests.md), whole and with line numbers, before any model is opened.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace fare {

// One line of the file, in text or in token ids.
struct RequestLine {
  size_t line = 0;
  std::string id, cluster;
  bool has_ids = false;
  std::string context, continuation;                   // text
  std::vector<int32_t> context_ids, continuation_ids;  // ids
  // Byte ranges of `continuation`, or token ranges of `continuation_ids`.
  std::map<std::string, std::vector<std::pair<int64_t, int64_t>>> spans;
};

// Throws FormatError with the line: broken JSON, a missing or duplicate id, neither or both kinds of content, an empty
// continuation, a span out of range; and for a file without requests.
std::vector<RequestLine> read_requests(const std::filesystem::path& path);

}  // namespace fare
