// What `fare validate` found in one file: rows for a reader and the same as JSON for a program.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "fare/core/json.h"

namespace fare::cli {

struct Finding {
  std::string title;                                      // "model folder"
  std::vector<std::pair<std::string, std::string>> rows;  // name, text
  OrderedJson fields = OrderedJson::object();             // docs/validate.md

  void row(const std::string& name, const std::string& text) { rows.emplace_back(name, text); }
  void note(const std::string& text) {
    row("note", text);
    fields["notes"].push_back(text);
  }
};

}  // namespace fare::cli
