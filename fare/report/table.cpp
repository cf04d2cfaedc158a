#include "fare/report/table.h"

#include <map>

#include "fare/report/html.h"

namespace fare {
namespace {

// TableCell of a field that may be null.
TableColumn nullable(std::string title, std::string key, bool is_numeric,
                     std::function<std::string(const Node&)> show) {
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

// The end of the run of cells from `i` on that are undefined for the same reason; i + 1 for any other cell.
size_t end_of_gap(const std::vector<TableCell>& row, size_t i) {
  size_t end = i + 1;
  while (row[i].is_undefined && end < row.size() && row[end].is_undefined && row[end].content == row[i].content) ++end;
  return end;
}

// Reasons that stand in several single cells are said once under the table and marked by a letter in the cells.
class Notes {
 public:
  explicit Notes(const std::vector<std::vector<TableCell>>& cells) {
    std::map<std::string, int> times;
    std::vector<std::string> order;
    for (const auto& row : cells)
      for (size_t i = 0; i < row.size();) {
        const size_t end = end_of_gap(row, i);
        if (row[i].is_undefined && end - i == 1 && ++times[row[i].content] == 2) order.push_back(row[i].content);
        i = end;
      }
    for (const std::string& reason : order) letters_.emplace_back(reason, name(letters_.size()));
  }

  std::string cell(const std::string& reason) const {
    for (const auto& [known, letter] : letters_)
      if (known == reason) return "<span class=\"undef marked\">undefined (" + letter + ")</span>";
    return reason;
  }

  std::string list() const {
    std::string out;
    for (const auto& [reason, letter] : letters_) out += (out.empty() ? "(" : " · (") + letter + ") " + reason;
    return out.empty() ? "" : "<p class=\"small\">" + out + "</p>\n";
  }

 private:
  static std::string name(size_t i) {
    const std::string last(1, static_cast<char>('a' + i % 26));
    return i < 26 ? last : name(i / 26 - 1) + last;
  }

  std::vector<std::pair<std::string, std::string>> letters_;  // reason (HTML) -> letter
};

}  // namespace

TableColumn text_column(std::string title, const std::string& key) {
  return nullable(std::move(title), key, false, [key](const Node& row) { return escape_html(row.text(key)); });
}

TableColumn code_column(std::string title, const std::string& key) {
  return nullable(std::move(title), key, false,
                  [key](const Node& row) { return "<code>" + escape_html(row.text(key)) + "</code>"; });
}

TableColumn number_column(std::string title, const std::string& key, int digits) {
  return nullable(std::move(title), key, true,
                  [key, digits](const Node& row) { return number_html(row, key, digits); });
}

TableColumn range_column(std::string title, const std::string& key, int digits) {
  return nullable(std::move(title), key, true, [key, digits](const Node& row) { return range_html(row, key, digits); });
}

TableColumn estimate_column(std::string title, const std::string& value_key, const std::string& range_key, int digits) {
  return nullable(std::move(title), value_key, true, [value_key, range_key, digits](const Node& row) {
    return value_with_range_html(row, value_key, range_key, digits);
  });
}

TableColumn flag_column(std::string title, const std::string& key) {
  return nullable(std::move(title), key, false, [key](const Node& row) { return row.at(key).flag() ? "yes" : "no"; });
}

TableColumn stop_column(std::string title, const std::string& key) {
  return {std::move(title),
          [key](const Node& row) -> TableCell {
            if (row.at(key).is_null()) return {"<small>" + escape_html(row.reason(key)) + "</small>", false};
            return {number_html(row, key, 0), false};
          },
          false};
}

TableColumn test_column() {
  return nullable("p, p BH (family)", "p", true, [](const Node& row) {
    std::string text = number_html(row, "p", -1) + ", " + number_html(row, "p_bh", -1);
    if (const auto family = row.number_or_null("family_size")) text += " (" + compact_text(*family) + ")";
    return text;
  });
}

TableColumn sample_column() {
  return nullable("n (effective)", "n", true, [](const Node& row) {
    return number_html(row, "n", -1) + " (" + number_html(row, "n_eff", -1) + ")";
  });
}

std::string html_table(const std::string& caption, const std::vector<TableColumn>& columns,
                       const std::vector<Node>& rows) {
  std::vector<std::vector<TableCell>> cells;
  for (const Node& row : rows) {
    cells.emplace_back();
    for (const TableColumn& column : columns) cells.back().push_back(column.cell(row));
  }
  Notes notes(cells);
  std::string out = "<div class=\"block\">\n";
  if (!caption.empty()) out += "<p class=\"caption\">" + escape_html(caption) + "</p>\n";
  out += "<div class=\"scroll\" tabindex=\"0\"><table" +
         (caption.empty() ? "" : " aria-label=\"" + escape_html(caption) + "\"") + ">\n<thead><tr>";
  for (const TableColumn& column : columns)
    out += std::string("<th scope=\"col\"") + (column.is_numeric ? " class=\"num\"" : "") + ">" +
           escape_html(column.title) + "</th>";
  out += "</tr></thead>\n<tbody>\n";
  for (const auto& row : cells) {
    out += "<tr>";
    for (size_t i = 0; i < row.size();) {
      const size_t end = end_of_gap(row, i);
      out += "<td";
      if (end - i > 1) out += " colspan=\"" + std::to_string(end - i) + "\"";
      if (row[i].is_undefined) out += " class=\"gap\"";
      else if (columns[i].is_numeric) out += " class=\"num\"";
      out += ">" + (row[i].is_undefined && end - i == 1 ? notes.cell(row[i].content) : row[i].content) + "</td>";
      i = end;
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n" + notes.list() + "</div>\n";
}

std::string html_plain_table(const std::string& caption, const std::vector<Node>& rows) {
  if (rows.empty()) return "<p>No rows.</p>\n";
  std::vector<TableColumn> columns;
  for (const auto& [key, value] : rows[0].json().items()) {
    if (key.ends_with("_reason")) continue;
    columns.push_back(
        nullable(key, key, value.is_number(), [key = key](const Node& row) { return show_any(row.at(key).json()); }));
  }
  return html_table(caption, columns, rows);
}

}  // namespace fare
