#include "fare/store/sqlite.h"

#include "fare/core/error.h"

namespace fare {

void check_sqlite(sqlite3* db, int code, const std::string& path) {
  if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE) return;
  const std::string why = db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
      throw FormatError(path, "", "the run store is damaged (" + why + "); keep a copy and start a new run folder");
    case SQLITE_NOTADB: throw FormatError(path, "", "is not a run store (" + why + ")");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      throw IoError(path + ": another process is writing to this run store; wait for it or use another --out");
    case SQLITE_FULL:
      throw IoError(path +
                    ": cannot be written: the disk is full; rows stored before are kept, make room and start again");
    case SQLITE_READONLY:
    case SQLITE_PERM:
      throw IoError(path + ": cannot be written: the file or its folder is read-only; rows stored before are kept");
    case SQLITE_CANTOPEN:
      throw IoError(path + ": cannot be opened (" + why + "); does the folder exist, and may it be written?");
    default: throw IoError(path + ": cannot be read or written (" + why + "); rows stored before are kept");
  }
}

void execute_sql(sqlite3* db, const std::string& path, const char* sql) {
  check_sqlite(db, sqlite3_exec(db, sql, nullptr, nullptr, nullptr), path);
}

SqlStatement::SqlStatement(sqlite3* db, const std::string& path, const char* sql) : db_(db), path_(path) {
  check(sqlite3_prepare_v2(db, sql, -1, &statement_, nullptr));
}

void SqlStatement::check(int code) const { check_sqlite(db_, code, path_); }

void SqlStatement::reset() {
  sqlite3_reset(statement_);  // repeats the error of the last step, which was reported then
  sqlite3_clear_bindings(statement_);
}

void SqlStatement::bind(int index, const std::string& text) {
  check(sqlite3_bind_text64(statement_, index, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}

void SqlStatement::bind(int index, int64_t value) { check(sqlite3_bind_int64(statement_, index, value)); }

bool SqlStatement::step() {
  const int code = sqlite3_step(statement_);
  check(code);
  return code == SQLITE_ROW;
}

void SqlStatement::run() {
  while (step()) {
  }
  reset();
}

std::string SqlStatement::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return bytes == nullptr ? "" : std::string(bytes, static_cast<size_t>(sqlite3_column_bytes(statement_, column)));
}

}  // namespace fare
