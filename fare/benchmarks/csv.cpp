#include "fare/benchmarks/csv.h"

#include <algorithm>

#include "fare/benchmarks/unicode_text.h"
#include "fare/core/error.h"

namespace fare {
namespace {

std::string at_line(size_t line) { return "line " + std::to_string(line); }

std::string_view without_mark(std::string_view text) {
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
  return text;
}

void check_utf8(std::string_view text, const std::string& path, size_t line) {
  if (!is_valid_utf8(text)) throw FormatError(path, at_line(line), "not valid UTF-8; save the file as UTF-8");
}

// Reads one record after another from the text; remembers the line it is on.
class CsvReader {
 public:
  CsvReader(std::string_view text, const std::string& path, char separator)
      : text_(text), path_(path), separator_(separator) {}

  bool done() const { return at_ == text_.size(); }

  CsvRecord next() {
    CsvRecord record;
    record.line = line_;
    while (true) {
      record.cells.push_back(done() || text_[at_] != '"' ? plain_cell() : quoted_cell());
      if (done()) return record;
      if (text_[at_] != separator_) break;
      ++at_;
    }
    line_end();
    return record;
  }

 private:
  std::string plain_cell() {
    const size_t begin = at_;
    while (!done() && text_[at_] != separator_ && text_[at_] != '\n' && text_[at_] != '\r') ++at_;
    return checked(std::string(text_.substr(begin, at_ - begin)), line_);
  }

  std::string quoted_cell() {
    const size_t opened = line_;
    std::string cell;
    for (++at_;; ++at_) {
      if (done()) throw FormatError(path_, at_line(opened), "a quoted cell is never closed; is the file cut short?");
      if (text_[at_] == '"') {
        ++at_;
        if (done() || text_[at_] != '"') break;
      }
      if (text_[at_] == '\n') ++line_;
      cell += text_[at_];
    }
    if (!done() && text_[at_] != separator_ && text_[at_] != '\n' && text_[at_] != '\r')
      throw FormatError(path_, at_line(line_), "text follows a closing quote; double the quotes inside a quoted cell");
    return checked(std::move(cell), opened);
  }

  void line_end() {
    if (!done() && text_[at_] == '\r') ++at_;
    if (!done() && text_[at_] == '\n') ++at_;
    ++line_;
  }

  std::string checked(std::string cell, size_t line) const {
    check_utf8(cell, path_, line);
    return cell;
  }

  std::string_view text_;
  const std::string& path_;
  char separator_;
  size_t at_ = 0;
  size_t line_ = 1;
};

}  // namespace

std::vector<CsvRecord> parse_csv(std::string_view text, const std::string& path, char separator) {
  std::vector<CsvRecord> records;
  CsvReader reader(without_mark(text), path, separator);
  while (!reader.done()) {
    CsvRecord record = reader.next();
    const bool empty_line = record.cells.size() == 1 && record.cells[0].empty();
    if (!empty_line) records.push_back(std::move(record));
  }
  return records;
}

std::vector<CsvRecord> parse_tsv(std::string_view text, const std::string& path) {
  std::vector<CsvRecord> records;
  text = without_mark(text);
  for (size_t line = 1; !text.empty(); ++line) {
    const size_t end = text.find('\n');
    std::string_view rest = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (!rest.empty() && rest.back() == '\r') rest.remove_suffix(1);
    if (rest.empty()) continue;
    check_utf8(rest, path, line);
    CsvRecord record;
    record.line = line;
    for (size_t tab = 0; tab != std::string_view::npos;) {
      tab = rest.find('\t');
      record.cells.emplace_back(rest.substr(0, tab));
      if (tab != std::string_view::npos) rest.remove_prefix(tab + 1);
    }
    records.push_back(std::move(record));
  }
  return records;
}

Table::Table(std::vector<CsvRecord> records, std::string path, const std::vector<std::string>& required)
    : path_(std::move(path)), rows_(std::move(records)) {
  if (rows_.empty()) throw FormatError(path_, "line 1", "the file is empty; a header line was expected");
  header_ = std::move(rows_.front().cells);
  rows_.erase(rows_.begin());
  for (size_t i = 0; i < header_.size(); ++i)
    if (std::find(header_.begin(), header_.begin() + static_cast<ptrdiff_t>(i), header_[i]) !=
        header_.begin() + static_cast<ptrdiff_t>(i))
      throw FormatError(path_, "line 1", "the column '" + header_[i] + "' is named twice");
  for (const auto& column : required)
    if (!has_column(column))
      throw FormatError(path_, "line 1", "the column '" + column + "' is missing" + did_you_mean(column, header_));
  for (const auto& row : rows_)
    if (row.cells.size() != header_.size())
      throw FormatError(path_, at_line(row.line),
                        std::to_string(row.cells.size()) + " cells, but the header has " +
                            std::to_string(header_.size()) + " columns");
}

bool Table::has_column(const std::string& column) const {
  return std::find(header_.begin(), header_.end(), column) != header_.end();
}

const std::string& Table::cell(size_t row, const std::string& column) const {
  const auto found = std::find(header_.begin(), header_.end(), column);
  FARE_CHECK(found != header_.end(), "no column '" + column + "' in " + path_);
  return rows_.at(row).cells[static_cast<size_t>(found - header_.begin())];
}

}  // namespace fare
