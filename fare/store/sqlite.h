// The little of SQLite's interface that the store needs, with errors as exceptions that name the file.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace fare {

// One prepared statement. bind() starts a new use; step() gives rows.
class SqlStatement {
 public:
  SqlStatement(sqlite3* db, const std::string& path, const char* sql);
  ~SqlStatement() { sqlite3_finalize(statement_); }
  SqlStatement(const SqlStatement&) = delete;
  SqlStatement& operator=(const SqlStatement&) = delete;

  void reset();
  void bind(int index, const std::string& text);  // copied; indices from 1
  void bind(int index, int64_t value);
  bool step();  // true: a row is there; false: done
  void run();   // step() to the end, then reset()
  std::string text(int column) const;
  int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }

 private:
  void check(int code) const;

  sqlite3* db_;
  const std::string& path_;
  sqlite3_stmt* statement_ = nullptr;
};

// Throws the error of a result code that is neither OK nor ROW nor DONE: FormatError for a file that is damaged or no
// database, IoError for everything the system refused.
void check_sqlite(sqlite3* db, int code, const std::string& path);

void execute_sql(sqlite3* db, const std::string& path, const char* sql);

}  // namespace fare
