#include "fare/benchmarks/request_items.h"

#include "fare/benchmarks/python_json.h"
#include "fare/benchmarks/record.h"
#include "fare/benchmarks/unicode_text.h"
#include "fare/core/error.h"
#include "fare/core/file.h"

namespace fare {
namespace {

constexpr int64_t kWithoutQuestion = 1'000'000;

int64_t whole_number(const OrderedJson& object, const char* name, const std::string& path, const std::string& where) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number_integer())
    throw FormatError(path, where, std::string("field '") + name + "' must be a whole number");
  return found->get<int64_t>();
}

}  // namespace

std::vector<RequestItem> load_request_items(const DataFile& wanted, const LoadOptions& options, LoadedTask& task) {
  LoadedFile file = load_data_file(wanted, options.data, options.accept_changed_data);
  std::vector<RequestItem> items;
  int64_t current = -1;
  for_each_line(file.content, [&](std::string_view line, size_t number) {
    if (strip(line).empty()) return;
    const std::string where = "line " + std::to_string(number);
    OrderedJson record = python_json_loads(line, file.path, where);
    if (!record.is_object()) throw FormatError(file.path, where, "expected an object");
    const int64_t doc_id = whole_number(record, "doc_id", file.path, where);
    if (doc_id >= kWithoutQuestion) return;
    const int64_t label = whole_number(record, "label", file.path, where);
    const auto request = record.find("request");
    if (request == record.end() || !request->is_object() || !record.contains("doc") || !record["doc"].is_object())
      throw FormatError(file.path, where, "fields 'doc' and 'request' must be objects");
    if (doc_id != current) {
      if (doc_id != static_cast<int64_t>(items.size()))
        throw FormatError(file.path, where, "doc_id " + std::to_string(doc_id) + " is out of order");
      current = doc_id;
      items.push_back({std::move(record["doc"]), {}, label, where});
    }
    RequestItem& item = items.back();
    if (whole_number(record, "idx", file.path, where) != static_cast<int64_t>(item.requests.size()))
      throw FormatError(file.path, where, "the choices of an item must follow each other");
    if (label != item.label) throw FormatError(file.path, where, "the choices of an item have different labels");
    item.requests.push_back(
        {text_field(*request, "context", file.path, where), text_field(*request, "continuation", file.path, where)});
  });
  for (const RequestItem& item : items)
    if (item.label < 0 || item.label >= static_cast<int64_t>(item.requests.size()))
      throw FormatError(file.path, item.where,
                        "label " + std::to_string(item.label) + " is none of the " +
                            std::to_string(item.requests.size()) + " choices");
  file.content.clear();
  check_num_records(file, wanted, static_cast<int64_t>(items.size()), options.accept_changed_data);
  task.files.push_back(std::move(file));
  return items;
}

}  // namespace fare
