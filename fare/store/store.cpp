#include "fare/store/store.h"

#include <algorithm>
#include <limits>
#include <string_view>

#include "fare/core/error.h"
#include "fare/store/sqlite.h"

namespace fare {
namespace {

constexpr int64_t kApplicationId = 0x46415245;  // "FARE"
constexpr int64_t kLayoutVersion = 1;
constexpr int kBusyMilliseconds = 10'000;

// Without a row number the table lies in the order of its key: equal rows are equal content, whatever the order in
// which they came.
constexpr const char* kSchema =
    "CREATE TABLE rows ("
    "model TEXT NOT NULL, intervention TEXT NOT NULL, task TEXT NOT NULL, item TEXT NOT NULL, scoring TEXT NOT NULL, "
    "seed INTEGER NOT NULL, unit TEXT NOT NULL, value_json TEXT NOT NULL, "
    "PRIMARY KEY (model, intervention, task, item, scoring, seed)) WITHOUT ROWID";

constexpr const char* kKeyIs =
    " FROM rows WHERE model=?1 AND intervention=?2 AND task=?3 AND item=?4 AND scoring=?5 AND seed=?6";
constexpr const char* kFilterIs =
    " FROM rows WHERE (?1 IS NULL OR model=?1) AND (?2 IS NULL OR intervention=?2) AND (?3 IS NULL OR task=?3)"
    " AND (?4 IS NULL OR scoring=?4) AND (?5 IS NULL OR seed=?5)";

int64_t stored_seed(uint64_t seed) {
  FARE_CHECK(seed <= uint64_t{std::numeric_limits<int64_t>::max()}, "a seed above 2^63 - 1 cannot be stored");
  return static_cast<int64_t>(seed);
}

void bind_key(SqlStatement& statement, const RowKey& key) {
  statement.reset();
  statement.bind(1, key.model);
  statement.bind(2, key.intervention);
  statement.bind(3, key.task);
  statement.bind(4, key.item);
  statement.bind(5, key.scoring);
  statement.bind(6, stored_seed(key.seed));
}

void bind_filter(SqlStatement& statement, const RowFilter& filter) {
  statement.reset();
  if (filter.model) statement.bind(1, *filter.model);
  if (filter.intervention) statement.bind(2, *filter.intervention);
  if (filter.task) statement.bind(3, *filter.task);
  if (filter.scoring) statement.bind(4, *filter.scoring);
  if (filter.seed) statement.bind(5, stored_seed(*filter.seed));
}

Row read_row(const SqlStatement& statement) {
  Row row;
  row.key = {statement.text(0), statement.text(1), statement.text(2),
             statement.text(3), statement.text(4), static_cast<uint64_t>(statement.integer(5))};
  row.value_json = statement.text(7);
  return row;
}

// A value as a message shows it.
std::string shortened(const std::string& value) { return value.size() <= 200 ? value : value.substr(0, 200) + ".."; }

int64_t pragma(sqlite3* db, const std::string& path, const char* sql) {
  SqlStatement statement(db, path, sql);
  return statement.step() ? statement.integer(0) : 0;
}

// The store of a rank that is not the first.
constexpr std::string_view kRankFile = "rows.rank", kStoreEnding = ".sqlite";
std::string rank_file(int rank) { return std::string(kRankFile) + std::to_string(rank) + std::string(kStoreEnding); }

std::vector<std::filesystem::path> rank_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kRankFile) && name.ends_with(kStoreEnding)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void remove_store(const std::filesystem::path& file) {
  std::error_code ignored;
  for (const char* ending : {"", "-wal", "-shm"}) std::filesystem::remove(file.string() + ending, ignored);
}

// Rows as texts that ranks exchange, and back: eight texts each.
constexpr size_t kTextsOfRow = 8;

void add_row(std::vector<std::string>& texts, const std::string& unit, const Row& row) {
  const RowKey& key = row.key;
  for (const std::string& text :
       {unit, key.model, key.intervention, key.task, key.item, key.scoring, std::to_string(key.seed), row.value_json})
    texts.push_back(text);
}

std::vector<UnitRows> units_from(const std::string& bytes) {
  std::vector<UnitRows> units;
  const std::vector<std::string> texts = split_texts(bytes);
  for (size_t i = 0; i + kTextsOfRow <= texts.size(); i += kTextsOfRow) {
    const std::string* t = &texts[i];
    if (units.empty() || units.back().unit != t[0]) units.push_back({t[0], {}});
    units.back().rows.push_back({{t[1], t[2], t[3], t[4], t[5], std::stoull(t[6])}, t[7]});
  }
  return units;
}

std::string immutable_uri(const std::string& path) {
  std::string uri = "file:";
  for (const char c : path) {
    if (c == '%') uri += "%25";
    else if (c == '?') uri += "%3f";
    else if (c == '#') uri += "%23";
    else uri += c;
  }
  return uri + "?immutable=1";
}

}  // namespace

std::string RowKey::text() const {
  return "model=" + model + " intervention=" + intervention + " task=" + task + " item=" + item +
         " scoring=" + scoring + " seed=" + std::to_string(seed);
}

struct Store::Connection {
  sqlite3* db = nullptr;
  std::string path;
  std::unique_ptr<SqlStatement> select, insert;

  Connection(const std::filesystem::path& file, Mode mode) : path(file.string()) {
    try {
      open(file, mode);
    } catch (...) {
      close();
      throw;
    }
  }
  ~Connection() { close(); }

  void close() {
    select.reset();
    insert.reset();
    sqlite3_close(db);
    db = nullptr;
  }

  void open(const std::filesystem::path& file, Mode mode) {
    std::error_code ignored;
    if (mode == Mode::kReadOnly && !std::filesystem::exists(file, ignored))
      throw IoError(path + ": no such file; a run folder holds its rows there");
    if (std::filesystem::is_directory(file, ignored)) throw IoError(path + ": is a folder, not a run store");
    if (mode == Mode::kReadWrite) {
      connect(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
      if (!is_empty()) check_layout();
      prepare_for_writing();
    } else {
      connect(path, SQLITE_OPEN_READONLY);
      try {
        check_layout();
      } catch (const IoError&) {
        // Beside a write-ahead log readers need a place to meet; an archive that nobody can write has none and needs
        // none.
        if (std::filesystem::exists(path + "-wal", ignored)) throw;
        sqlite3_close(db);
        db = nullptr;
        connect(immutable_uri(path), SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
      }
    }
    check_layout();
    select = std::make_unique<SqlStatement>(db, path, (std::string("SELECT value_json") + kKeyIs).c_str());
    if (mode == Mode::kReadWrite)
      insert = std::make_unique<SqlStatement>(
          db, path, "INSERT INTO rows VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING");
  }

  void connect(const std::string& name, int flags) {
    check_sqlite(db, sqlite3_open_v2(name.c_str(), &db, flags | SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_EXRESCODE, nullptr),
                 path);
    sqlite3_busy_timeout(db, kBusyMilliseconds);
  }

  bool is_empty() {
    return pragma(db, path, "SELECT count(*) FROM sqlite_master") == 0 && pragma(db, path, "PRAGMA user_version") == 0;
  }

  void check_layout() {
    if (pragma(db, path, "PRAGMA application_id") != kApplicationId)
      throw FormatError(path, "", "is an SQLite file but not a run store of FARE");
    const int64_t version = pragma(db, path, "PRAGMA user_version");
    if (version != kLayoutVersion)
      throw FormatError(path, "",
                        "has layout " + std::to_string(version) + ", this program reads layout " +
                            std::to_string(kLayoutVersion) + "; use the version that wrote it");
  }

  void prepare_for_writing() {
    // Write-ahead log: a reader never waits, and a killed writer leaves either all of a unit or nothing of it.
    execute_sql(db, path, "PRAGMA journal_mode = WAL");
    execute_sql(db, path, "PRAGMA synchronous = NORMAL");
    // The lock is taken before looking again, so that two processes cannot both fill an empty file. Taking it also
    // shows whether the file may be written at all.
    execute_sql(db, path, "BEGIN IMMEDIATE");
    try {
      if (is_empty()) {
        execute_sql(db, path, kSchema);
        execute_sql(db, path, ("PRAGMA application_id = " + std::to_string(kApplicationId)).c_str());
        execute_sql(db, path, ("PRAGMA user_version = " + std::to_string(kLayoutVersion)).c_str());
      }
      execute_sql(db, path, "COMMIT");
    } catch (...) {
      roll_back();
      throw;
    }
  }

  void roll_back() { sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr); }

  // Runs `act` as one transaction.
  template <typename Act>
  void transaction(const Act& act) {
    execute_sql(db, path, "BEGIN IMMEDIATE");
    try {
      act();
      execute_sql(db, path, "COMMIT");
    } catch (...) {
      insert->reset();
      select->reset();
      roll_back();
      throw;
    }
  }
};

Store::Store(const std::filesystem::path& path, Mode mode)
    : path_(path), connection_(std::make_unique<Connection>(path, mode)) {}

Store::Store(const std::filesystem::path& folder, Ranks& ranks)
    : ranks_(&ranks), path_(folder / (ranks.rank() == 0 ? "rows.sqlite" : rank_file(ranks.rank()))) {
  std::string rows;
  if (ranks.rank() == 0) {
    connection_ = std::make_unique<Connection>(path_, Mode::kReadWrite);
    for (const std::filesystem::path& file : rank_files(folder)) {
      { const Store settled(file); }  // one that was killed while it was made becomes a store without rows
      merge(file);
      remove_store(file);
    }
    if (ranks.size() > 1) rows = all_rows();
  }
  rows = from_first(ranks, rows);
  if (ranks.rank() == 0) return;
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);  // where the ranks' machines share no files
  if (failed) throw IoError(folder.string() + ": cannot be made: " + failed.message());
  remove_store(path_);
  connection_ = std::make_unique<Connection>(path_, Mode::kReadWrite);
  put_units(units_from(rows));
}

Store::~Store() {
  if (ranks_->rank() == 0 || num_unshared_ > 0) return;
  connection_.reset();
  remove_store(path_);
}

bool Store::has(const RowKey& key) const { return get(key).has_value(); }

std::optional<std::string> Store::get(const RowKey& key) const {
  const std::lock_guard lock(mutex_);
  SqlStatement& select = *connection_->select;
  bind_key(select, key);
  std::optional<std::string> value;
  if (select.step()) value = select.text(0);
  select.reset();
  return value;
}

int64_t Store::count(const RowFilter& filter) const {
  const std::lock_guard lock(mutex_);
  SqlStatement statement(connection_->db, connection_->path, (std::string("SELECT count(*)") + kFilterIs).c_str());
  bind_filter(statement, filter);
  return statement.step() ? statement.integer(0) : 0;
}

std::set<std::string> Store::units() const {
  const std::lock_guard lock(mutex_);
  SqlStatement statement(connection_->db, connection_->path, "SELECT DISTINCT unit FROM rows");
  std::set<std::string> units;
  while (statement.step()) units.insert(statement.text(0));
  return units;
}

// Returns whether the row is new.
bool Store::insert(const std::string& unit, const Row& row, const std::string& source) const {
  SqlStatement& insert = *connection_->insert;
  bind_key(insert, row.key);
  insert.bind(7, unit);
  insert.bind(8, row.value_json);
  insert.run();
  if (sqlite3_changes(connection_->db) == 1) return true;
  const auto stored = get(row.key);
  if (stored != row.value_json)
    throw FormatError(connection_->path, "row " + row.key.text(),
                      "has the value " + shortened(stored.value_or("")) + " but " + source + " has " +
                          shortened(row.value_json) +
                          " for the same key; equal keys must have equal values, so the two "
                          "were not computed by the same program on the same input");
  return false;
}

void Store::put_units(const std::vector<UnitRows>& units) {
  const std::lock_guard lock(mutex_);
  FARE_CHECK(connection_->insert != nullptr, connection_->path + ": opened for reading only");
  connection_->transaction([&] {
    for (const UnitRows& unit : units)
      for (const Row& row : unit.rows) insert(unit.unit, row, "unit " + unit.unit);
  });
}

std::string Store::all_rows() const {
  std::vector<std::string> texts;
  for_each({}, [&](const Row& row, const std::string& unit) { add_row(texts, unit, row); });
  return join_texts(texts);
}

void Store::compute_units(std::span<const double> costs,
                          const std::function<std::vector<UnitRows>(size_t, int64_t)>& compute) {
  std::vector<std::string> texts;  // of this rank's rows, for the others
  claim_parts(*ranks_, costs, [&](size_t part, int64_t started) {
    const std::vector<UnitRows> units = compute(part, started);
    put_units(units);
    if (ranks_->size() == 1) return;
    num_unshared_ += static_cast<int64_t>(units.size());
    for (const UnitRows& unit : units)
      for (const Row& row : unit.rows) add_row(texts, unit.unit, row);
  });
  const std::vector<std::string> all = ranks_->exchange(join_texts(texts));
  for (size_t r = 0; r < all.size(); ++r)
    if (static_cast<int>(r) != ranks_->rank()) put_units(units_from(all[r]));
  num_unshared_ = 0;
}

int64_t Store::merge(const std::filesystem::path& other) {
  const std::lock_guard lock(mutex_);
  FARE_CHECK(connection_->insert != nullptr, connection_->path + ": opened for reading only");
  std::error_code ignored;
  if (std::filesystem::equivalent(path_, other, ignored))
    throw UsageError(other.string() + ": a run store cannot be merged into itself");
  const Store source(other, Mode::kReadOnly);
  int64_t num_new = 0;
  connection_->transaction([&] {
    source.for_each({}, [&](const Row& row, const std::string& unit) {
      if (insert(unit, row, other.string())) ++num_new;
    });
  });
  return num_new;
}

void Store::for_each(const RowFilter& filter, const std::function<void(const Row&, const std::string&)>& use) const {
  const std::lock_guard lock(mutex_);
  const std::string sql = "SELECT model, intervention, task, item, scoring, seed, unit, value_json" +
                          std::string(kFilterIs) + " ORDER BY model, intervention, task, item, scoring, seed";
  SqlStatement statement(connection_->db, connection_->path, sql.c_str());
  bind_filter(statement, filter);
  while (statement.step()) use(read_row(statement), statement.text(6));
}

}  // namespace fare
