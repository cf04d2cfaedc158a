// A task described by its user in a TOML file, without code. Format with examples: docs/task-toml.md.
#pragma once

#include <filesystem>
#include <string>

#include "fare/benchmarks/task.h"

namespace fare {

// Reads and checks the description; the data file it names is read when the task is loaded. Throws IoError, FormatError
// naming file, line and key: broken TOML, a key that is missing, unknown or of another type, a name that is taken.
Task toml_task(const std::filesystem::path& path);

// `pattern` with every {field} replaced by that field of the record: texts as they are, numbers and truth values in
// decimal and as true, false; {a.b} goes into objects, {a.0} into lists; {{ and }} stand for braces.
// Throws FormatError naming `path` and `where` for a field that is missing or is no single value, or for a lone brace.
std::string fill_pattern(const std::string& pattern, const OrderedJson& record, const std::string& path,
                         const std::string& where);

}  // namespace fare
