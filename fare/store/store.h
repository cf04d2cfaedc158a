// The rows of a run: one per finished item, in one SQLite file that survives being killed at any moment.
#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "fare/core/ranks.h"

namespace fare {

// What a row is about. The texts are content hashes or names chosen by the caller; together they are the primary key.
struct RowKey {
  std::string model;         // fingerprint of the checkpoint
  std::string intervention;  // hash of the intervention; "" without one
  std::string task;
  std::string item;  // hash of input ids and spans
  std::string scoring;
  uint64_t seed = 0;  // at most 2^63 - 1

  auto operator<=>(const RowKey&) const = default;
  std::string text() const;  // "model=.. intervention=.. ..", for messages
};

struct Row {
  RowKey key;
  std::string value_json;  // stored and compared as bytes
};

// The rows of a unit of work, stored whole or not at all.
struct UnitRows {
  std::string unit;
  std::vector<Row> rows;
};

// Rows that agree with every part that is set; an empty filter means all.
struct RowFilter {
  std::optional<std::string> model, intervention, task, scoring;
  std::optional<uint64_t> seed;
};

// Opened by one process at a time for writing (others wait up to ten seconds, then get an IoError); any number may
// read. All functions may be called from any thread. Every function may throw IoError (folder missing or read-only,
// full disk, disk error: rows stored before stay) or FormatError (not a run store, a damaged file, a newer layout),
// naming the path.
class Store {
 public:
  enum class Mode { kReadWrite, kReadOnly };  // kReadWrite makes the file when there is none

  explicit Store(const std::filesystem::path& path, Mode mode = Mode::kReadWrite);
  // The store of a run that several ranks share, each calling this in turn. Rank 0 keeps `folder`/rows.sqlite, into
  // which it first takes rows.rankN.sqlite: what ranks of a run that was killed had finished. The others keep a copy of
  // all rows in such a file; it goes when the object does, unless it holds rows that no other rank has. `ranks` must
  // outlive this.
  Store(const std::filesystem::path& folder, Ranks& ranks);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  const std::filesystem::path& path() const { return path_; }

  bool has(const RowKey& key) const;
  std::optional<std::string> get(const RowKey& key) const;  // its value_json
  int64_t count(const RowFilter& filter = {}) const;

  // Units of which rows are stored: a unit is stored whole or not at all, so these are finished. Reads every row; ask
  // once.
  std::set<std::string> units() const;

  // Stores all rows of a unit of work, or none. Rows that are there with the same value are left as they are; a row
  // that is there with another value is a FormatError naming the key and both values, and nothing is stored. When the
  // function returns, the rows survive the death of the process.
  void put_unit(const std::string& unit, const std::vector<Row>& rows) { put_units({{unit, rows}}); }
  // Several units as one transaction: all or none.
  void put_units(const std::vector<UnitRows>& units);

  // Divides parts of work over the ranks, the costliest first, and returns when every part's units are stored and can
  // be read on every rank. `compute` gives the units of a part, which are stored together; `started` counts the parts
  // begun so far on all ranks. What was finished when `compute` throws, here or on another rank, is kept.
  void compute_units(std::span<const double> costs,
                     const std::function<std::vector<UnitRows>(size_t part, int64_t started)>& compute);
  Ranks& ranks() const { return *ranks_; }

  // Takes over every row of another store, under the rule of put_unit, as one transaction. Returns how many were new.
  int64_t merge(const std::filesystem::path& other);

  // Calls `use` for each row in the order of the key (byte order of the texts, then seed). `use` may read this store.
  void for_each(const RowFilter& filter, const std::function<void(const Row&, const std::string& unit)>& use) const;

 private:
  struct Connection;
  bool insert(const std::string& unit, const Row& row, const std::string& source) const;
  std::string all_rows() const;

  OneRank alone_;
  Ranks* ranks_ = &alone_;
  int64_t num_unshared_ = 0;  // units that other ranks do not have yet
  std::filesystem::path path_;
  mutable std::recursive_mutex mutex_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace fare
