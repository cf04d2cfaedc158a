#include "fare/report/sections.h"

#include <algorithm>

#include "fare/report/html.h"

namespace fare {

std::string section(const std::string& id, const std::string& title, const std::string& body) {
  return "<section id=\"" + escape_html(id) + "\">\n<h2>" + escape_html(title) + "</h2>\n" + body + "</section>\n";
}

const Node* find_row(const std::vector<Node>& rows, const std::vector<std::pair<std::string, std::string>>& fields) {
  const auto fits = [&](const Node& row) {
    return std::all_of(fields.begin(), fields.end(), [&](const auto& field) {
      const auto& value = row.at(field.first).json();
      return value.is_string() && value == field.second;
    });
  };
  const auto found = std::find_if(rows.begin(), rows.end(), fits);
  return found == rows.end() ? nullptr : &*found;
}

}  // namespace fare
