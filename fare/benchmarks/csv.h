// Comma- and tab-separated tables, as the public data sets write them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace fare {

struct CsvRecord {
  std::vector<std::string> cells;
  size_t line = 0;  // the line (from 1) on which the record begins
};

// Splits comma-separated text with quotes: quoted cells may hold commas, line breaks (kept as they are) and doubled
// quotes. Accepts a byte-order mark, CRLF, and a missing last line end; empty lines are skipped. A quote inside an
// unquoted cell is an ordinary character. `path` names the file in errors.
// Throws FormatError with the line when a quote is never closed, when text follows a closing quote, or on invalid
// UTF-8.
std::vector<CsvRecord> parse_csv(std::string_view text, const std::string& path, char separator = ',');

// Splits tab-separated text without quoting: every character between tabs belongs to the cell. Accepts a byte-order
// mark and CRLF; empty lines are skipped. Throws FormatError on invalid UTF-8.
std::vector<CsvRecord> parse_tsv(std::string_view text, const std::string& path);

// Records under a header line, addressed by column name.
class Table {
 public:
  // The first record is the header. Throws FormatError when it is missing, names a column twice, lacks one of
  // `required`, or when a record has another number of cells than the header (with the line).
  Table(std::vector<CsvRecord> records, std::string path, const std::vector<std::string>& required);

  size_t num_rows() const { return rows_.size(); }
  size_t line(size_t row) const { return rows_[row].line; }
  const std::string& path() const { return path_; }
  bool has_column(const std::string& column) const;
  // Throws BrokenInvariant for a column that the header lacks (ask has_column first, or name it in `required`).
  const std::string& cell(size_t row, const std::string& column) const;

 private:
  std::string path_;
  std::vector<std::string> header_;
  std::vector<CsvRecord> rows_;
};

}  // namespace fare
