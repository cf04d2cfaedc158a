#include "fare/report/table.h"

#include "fare/report/html.h"

namespace fare {
namespace {

// TableCell of a field that may be null.
TableColumn nullable(std::string title, std::string key, bool is_numeric, std::function<std::string(const Node&)> show) {
  return {std::move(title),
          [key = std::move(key), show = std::move(show)](const Node& row) -> TableCell {
            if (row.at(key).is_null()) return {undefined_html(row.reason(key)), true};
            return {show(row), false};
          },
          is_numeric};
}

std::string show_any(const OrderedJson& value) {
  if (value.is_string()) return escape_html(value.get<std::string>());
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number()) return compact_text(value.get<double>());
  return escape_html(value.dump());
}

}  // namespace

TableColumn text_column(std::string title, std::string key) {
  return nullable(std::move(title), key, false, [key](const Node& row) { return escape_html(row.text(key)); });
}

TableColumn code_column(std::string title, std::string key) {
  return nullable(std::move(title), key, false,
                  [key](const Node& row) { return "<code>" + escape_html(row.text(key)) + "</code>"; });
}

TableColumn number_column(std::string title, std::string key, int digits) {
  return nullable(std::move(title), key, true,
                  [key, digits](const Node& row) { return number_html(row, key, digits); });
}

TableColumn range_column(std::string title, std::string key, int digits) {
  return nullable(std::move(title), key, true,
                  [key, digits](const Node& row) { return range_html(row, key, digits); });
}

TableColumn estimate_column(std::string title, std::string value_key, std::string range_key, int digits) {
  return nullable(std::move(title), value_key, true, [value_key, range_key, digits](const Node& row) {
    return value_with_range_html(row, value_key, range_key, digits);
  });
}

TableColumn flag_column(std::string title, std::string key) {
  return nullable(std::move(title), key, false, [key](const Node& row) { return row.at(key).flag() ? "yes" : "no"; });
}

std::string html_table(const std::string& caption, const std::vector<TableColumn>& columns, const std::vector<Node>& rows) {
  std::string out = "<div class=\"scroll\" tabindex=\"0\"><table>\n";
  if (!caption.empty()) out += "<caption>" + escape_html(caption) + "</caption>\n";
  out += "<thead><tr>";
  for (const TableColumn& column : columns)
    out += std::string("<th scope=\"col\"") + (column.is_numeric ? " class=\"num\"" : "") + ">" + escape_html(column.title) + "</th>";
  out += "</tr></thead>\n<tbody>\n";
  for (const Node& row : rows) {
    std::vector<TableCell> cells;
    for (const TableColumn& column : columns) cells.push_back(column.cell(row));
    out += "<tr>";
    for (size_t i = 0; i < cells.size();) {
      size_t end = i + 1;
      while (cells[i].is_undefined && end < cells.size() && cells[end].is_undefined &&
             cells[end].content == cells[i].content)
        ++end;
      out += "<td";
      if (end - i > 1) out += " colspan=\"" + std::to_string(end - i) + "\"";
      if (cells[i].is_undefined) out += " class=\"gap\"";
      else if (columns[i].is_numeric) out += " class=\"num\"";
      out += ">" + cells[i].content + "</td>";
      i = end;
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string html_plain_table(const std::string& caption, const std::vector<Node>& rows) {
  if (rows.empty()) return "<p>No rows.</p>\n";
  std::vector<TableColumn> columns;
  for (const auto& [key, value] : rows[0].json().items()) {
    if (key.ends_with("_reason")) continue;
    columns.push_back(nullable(key, key, value.is_number(), [key = key](const Node& row) {
      return show_any(row.at(key).json());
    }));
  }
  return html_table(caption, columns, rows);
}

}  // namespace fare
