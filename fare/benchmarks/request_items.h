// Request files of another project (one line per answer choice), gathered into items.
#pragma once

#include <string>
#include <vector>

#include "fare/benchmarks/task.h"

namespace fare {

struct RequestItem {
  OrderedJson doc;
  std::vector<TextRequest> requests;  // in the order of the choices
  int64_t label = 0;                  // index of the right choice
  std::string where;                  // "line 12": of the first choice
};

// Items in file order. Lines whose doc_id is 1,000,000 or more ask for the same choice without the question and are
// left out. Throws IoError, FormatError (a missing field, choices out of order, labels of one item that differ).
std::vector<RequestItem> load_request_items(const DataFile& file, const LoadOptions& options, LoadedTask& task);

}  // namespace fare
