// HTML tables of records. Neighbouring cells of a row that are undefined for the same reason become one cell; a reason
// that stands in several cells is said once below the table.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fare/report/node.h"

namespace fare {

struct TableCell {
  std::string content;        // HTML
  bool is_undefined = false;  // `content` then is the "undefined: reason" phrase
};

struct TableColumn {
  std::string title;  // plain text, escaped by html_table()
  std::function<TableCell(const Node& row)> cell;
  bool is_numeric = false;  // right-aligned
};

TableColumn text_column(std::string title, const std::string& key);
TableColumn code_column(std::string title, const std::string& key);                     // a text set in code style
TableColumn number_column(std::string title, const std::string& key, int digits = -1);  // -1: compact
TableColumn range_column(std::string title, const std::string& key, int digits);        // [low, high]
TableColumn estimate_column(std::string title, const std::string& value_key, const std::string& range_key, int digits);
// The stage at which something stops; null is said plainly by its reason ("every answer is yes").
TableColumn stop_column(std::string title, const std::string& key);
TableColumn flag_column(std::string title, const std::string& key);  // yes / no
TableColumn test_column();    // "p, p BH (family)" of the fields p, p_bh, family_size
TableColumn sample_column();  // "n (effective)" of the fields n, n_eff

// `caption` is plain text, may be empty. The table scrolls sideways inside its own box where it is too wide.
std::string html_table(const std::string& caption, const std::vector<TableColumn>& columns,
                       const std::vector<Node>& rows);

// A table of whatever fields the rows have (first row decides), for parts whose fields are not fixed.
std::string html_plain_table(const std::string& caption, const std::vector<Node>& rows);

}  // namespace fare
