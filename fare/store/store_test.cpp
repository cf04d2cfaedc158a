#include "fare/store/store.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <random>
#include <thread>

#include "fare/core/file.h"
#include "fare/core/test_folder.h"

namespace fare {
namespace {

RowKey key(const std::string& task, const std::string& item, uint64_t seed = 0) {
  return {"m", "i", task, item, "sum", seed};
}

std::string numbered(std::string prefix, int number) { return prefix.append(std::to_string(number)); }

// Every row as text, in the order of the store.
std::string dump(const Store& store) {
  std::string text;
  store.for_each({}, [&](const Row& row, const std::string& unit) {
    text += row.key.text() + " unit=" + unit + " " + row.value_json + "\n";
  });
  return text;
}

TEST(Store, gives_back_what_was_put) {
  const TestFolder folder;
  Store store(folder / "rows.sqlite");
  EXPECT_EQ(store.count(), 0);
  store.put_unit("u1", {{key("t", "a"), "{\"x\":1.5}"}, {key("t", "b"), "null"}});
  store.put_unit("u2", {{key("t", "a", 7), std::string("with\0zero", 9)}});
  EXPECT_TRUE(store.has(key("t", "a")));
  EXPECT_FALSE(store.has(key("t", "c")));
  EXPECT_EQ(store.get(key("t", "a")), "{\"x\":1.5}");
  EXPECT_EQ(store.get(key("t", "a", 7)), std::string("with\0zero", 9));
  EXPECT_EQ(store.get(key("t", "a", 8)), std::nullopt);
  EXPECT_EQ(store.count(), 3);
  EXPECT_EQ(store.units(), (std::set<std::string>{"u1", "u2"}));
}

TEST(Store, rows_are_there_when_it_is_opened_again_and_readers_see_them_at_once) {
  const TestFolder folder;
  {
    Store store(folder / "rows.sqlite");
    store.put_unit("u", {{key("t", "a"), "1"}});
    const Store reader(folder / "rows.sqlite", Store::Mode::kReadOnly);
    EXPECT_EQ(reader.count(), 1);
    store.put_unit("v", {{key("t", "b"), "2"}});
    EXPECT_EQ(reader.count(), 2);
    EXPECT_TRUE(std::filesystem::exists(folder / "rows.sqlite-wal"))
        << "no write-ahead log: a kill inside a write could leave half of it";
  }
  EXPECT_EQ(Store(folder / "rows.sqlite").count(), 2);
  EXPECT_FALSE(std::filesystem::exists(folder / "rows.sqlite-wal")) << "a closed store is one file";
}

TEST(Store, iterates_in_the_order_of_the_key_whatever_the_order_of_writing) {
  const TestFolder folder;
  std::vector<Row> rows;
  for (const char* task : {"b", "a", "Z", "é"})
    for (const char* item : {"2", "10", "1"})
      for (const uint64_t seed : {11u, 2u}) rows.push_back({key(task, item, seed), "1"});
  Store forward(folder / "1.sqlite"), backward(folder / "2.sqlite");
  for (const auto& row : rows) forward.put_unit("u", {row});
  std::reverse(rows.begin(), rows.end());
  backward.put_unit("u", rows);
  EXPECT_EQ(dump(forward), dump(backward));
  std::vector<RowKey> keys;
  forward.for_each({}, [&](const Row& row, const std::string&) { keys.push_back(row.key); });
  EXPECT_TRUE(std::is_sorted(keys.begin(), keys.end()));
  EXPECT_EQ(keys.size(), 24u);
}

TEST(Store, filters_by_every_part) {
  const TestFolder folder;
  Store store(folder / "rows.sqlite");
  store.put_unit("u", {{{"m1", "", "t1", "a", "s1", 0}, "1"},
                       {{"m1", "i", "t1", "a", "s1", 0}, "2"},
                       {{"m2", "", "t2", "a", "s2", 5}, "3"}});
  const auto values = [&](const RowFilter& filter) {
    std::string text;
    store.for_each(filter, [&](const Row& row, const std::string&) { text += row.value_json; });
    EXPECT_EQ(store.count(filter), static_cast<int64_t>(text.size()));
    return text;
  };
  EXPECT_EQ(values({}), "123");
  EXPECT_EQ(values({.model = "m1"}), "12");
  EXPECT_EQ(values({.intervention = ""}), "13");
  EXPECT_EQ(values({.task = "t2"}), "3");
  EXPECT_EQ(values({.scoring = "s1"}), "12");
  EXPECT_EQ(values({.seed = 5}), "3");
  EXPECT_EQ(values({.model = "m1", .intervention = "i"}), "2");
  EXPECT_EQ(values({.model = "m3"}), "");
}

TEST(Store, a_key_with_another_value_is_an_error_that_stores_nothing_of_the_unit) {
  const TestFolder folder;
  Store store(folder / "rows.sqlite");
  store.put_unit("u", {{key("task9", "item9", 3), "0.25"}});
  store.put_unit("again", {{key("task9", "item9", 3), "0.25"}});
  const std::string message = message_of<FormatError>([&] {
    store.put_unit("v", {{key("t", "new"), "1"}, {key("task9", "item9", 3), "0.5"}});
  });
  for (const char* part : {"rows.sqlite", "task9", "item9", "seed=3", "0.25", "0.5"}) EXPECT_HAS(message, part);
  EXPECT_FALSE(store.has(key("t", "new")));
  EXPECT_EQ(store.count(), 1);
  EXPECT_EQ(store.units(), (std::set<std::string>{"u"}));
  store.put_unit("w", {{key("t", "later"), "1"}});
  EXPECT_EQ(store.count(), 2);
}

TEST(Store, merging_takes_new_rows_and_refuses_contradictions_whole) {
  const TestFolder folder;
  Store here(folder / "1.sqlite");
  here.put_unit("u", {{key("t", "a"), "1"}});
  {
    Store there(folder / "2.sqlite");
    there.put_unit("v", {{key("t", "a"), "1"}, {key("t", "b"), "2"}, {key("t", "c"), "3"}});
    Store wrong(folder / "3.sqlite");
    wrong.put_unit("w", {{key("t", "0"), "9"}, {key("t", "b"), "other"}});
  }
  EXPECT_EQ(here.merge(folder / "2.sqlite"), 2);
  EXPECT_EQ(here.merge(folder / "2.sqlite"), 0);
  const std::string before = dump(here);
  const std::string message = message_of<FormatError>([&] { here.merge(folder / "3.sqlite"); });
  EXPECT_HAS(message, "item=b");
  EXPECT_HAS(message, "3.sqlite");
  EXPECT_EQ(dump(here), before);
  EXPECT_HAS(message_of<UsageError>([&] { here.merge(folder / "1.sqlite"); }), "itself");
  EXPECT_HAS(message_of<IoError>([&] { here.merge(folder / "absent.sqlite"); }), "absent.sqlite");
}

TEST(Store, what_is_no_run_store_is_refused_and_left_as_it_is) {
  const TestFolder folder;
  const std::string text(5000, 'x');
  write_file(folder / "text", text);
  EXPECT_HAS(message_of<FormatError>([&] { Store store(folder / "text"); }), "not a run store");
  EXPECT_EQ(read_file(folder / "text"), text);
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((folder / "other").c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "CREATE TABLE rows (x)", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  const std::string other = read_file(folder / "other");
  EXPECT_HAS(message_of<FormatError>([&] { Store store(folder / "other"); }), "not a run store");
  EXPECT_EQ(read_file(folder / "other"), other);
  { Store store(folder / "newer"); }
  ASSERT_EQ(sqlite3_open((folder / "newer").c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "PRAGMA user_version = 2", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  EXPECT_HAS(message_of<FormatError>([&] { Store store(folder / "newer"); }), "layout 2");
  EXPECT_HAS(message_of<IoError>([&] { Store store(folder / "absent/rows.sqlite"); }), "absent/rows.sqlite");
  EXPECT_HAS(message_of<IoError>([&] { Store store(folder.path()); }), "is a folder");
  EXPECT_HAS(message_of<IoError>([&] { Store store(folder / "none", Store::Mode::kReadOnly); }), "no such file");
}

TEST(Store, a_full_disk_is_an_io_error_and_keeps_what_was_stored) {
  // A file-size limit stands in for the full disk.
  const TestFolder folder;
  Store store(folder / "rows.sqlite");
  store.put_unit("u", {{key("t", "a"), "1"}});
  struct rlimit old {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  auto* const old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { 100'000, old.rlim_max };
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  std::vector<Row> many;
  for (int i = 0; i < 1000; ++i) many.push_back({key("t", numbered("many", i)), std::string(500, 'x')});
  const std::string message = message_of<IoError>([&] { store.put_unit("v", many); });
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_HAS(message, "rows.sqlite");
  EXPECT_HAS(message, "kept");
  EXPECT_EQ(store.count(), 1);
  store.put_unit("v", many);
  EXPECT_EQ(store.count(), 1001);
}

// Runs `body` in a child that may not write where others may not; returns its exit status.
int as_nobody(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::seteuid(65534) != 0) ::_exit(99);
    int status = 98;
    try {
      status = body();
    } catch (...) {
    }
    ::_exit(status);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}

TEST(Store, a_read_only_folder_refuses_writing_and_can_still_be_read) {
  const TestFolder folder;
  const auto inner = folder / "100% read#only?";
  std::filesystem::create_directory(inner);
  {
    Store store(inner / "rows.sqlite");
    store.put_unit("u", {{key("t", "a"), "1"}});
  }
  ::chmod((inner / "rows.sqlite").c_str(), 0444);
  ::chmod(inner.c_str(), 0555);
  const int written = as_nobody([&] {
    try {
      Store store(inner / "rows.sqlite");
      store.put_unit("v", {{key("t", "b"), "1"}});
    } catch (const IoError& error) {
      const std::string message = error.what();
      return message.find("rows.sqlite") != std::string::npos && message.find("read-only") != std::string::npos ? 0 : 1;
    }
    return 2;
  });
  EXPECT_EQ(written, 0);
  const int created = as_nobody([&] {
    try {
      Store store(inner / "new.sqlite");
    } catch (const IoError&) {
      return 0;
    }
    return 2;
  });
  EXPECT_EQ(created, 0);
  const int read = as_nobody([&] { return Store(inner / "rows.sqlite", Store::Mode::kReadOnly).count() == 1 ? 0 : 3; });
  EXPECT_EQ(read, 0);
  ::chmod(inner.c_str(), 0755);
}

TEST(Store, threads_may_share_it) {
  const TestFolder folder;
  Store store(folder / "rows.sqlite");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&store, t] {
      for (int i = 0; i < 50; ++i) {
        const RowKey mine = key(numbered("t", t), std::to_string(i));
        store.put_unit(numbered("u", t * 50 + i), {{mine, std::to_string(i)}});
        EXPECT_EQ(store.get(mine), std::to_string(i));
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(store.count(), 200);
  EXPECT_EQ(store.units().size(), 200u);
}

// The work of the kill test: 60 units of 40 rows, each computed and stored when it is not there yet.
constexpr int kUnits = 60;
constexpr int kRowsOfUnit = 40;

void write_missing_units(Store& store) {
  const auto done = store.units();
  for (int u = 0; u < kUnits; ++u) {
    const std::string unit = numbered("unit", u);
    if (done.contains(unit)) continue;
    std::vector<Row> rows;
    for (int i = 0; i < kRowsOfUnit; ++i)
      rows.push_back({key(numbered("task", (u * 7 + i) % 5), numbered(unit + "/", i)),
                      std::string(static_cast<size_t>(50 + (u * 31 + i * 17) % 900), static_cast<char>('a' + i % 26))});
    store.put_unit(unit, rows);
    ::usleep(300);
  }
}

TEST(Store, a_run_killed_at_any_moment_continues_to_the_same_rows) {
  const TestFolder folder;
  std::string wanted;
  int64_t whole_us = 0;
  {
    const auto begin = std::chrono::steady_clock::now();
    Store store(folder / "uninterrupted.sqlite");
    write_missing_units(store);
    whole_us = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin).count();
    wanted = dump(store);
    EXPECT_EQ(store.count(), kUnits * kRowsOfUnit);
  }
  std::mt19937_64 random(20260101);
  const auto path = folder / "killed.sqlite";
  int killed = 0;
  int64_t before = 0;
  for (int attempt = 0; attempt < 400 && killed < 20; ++attempt) {
    if (killed < 20 && before == kUnits * kRowsOfUnit) {  // finished too early: the next kills hit a fresh store
      EXPECT_EQ(dump(Store(path)), wanted);
      for (const char* ending : {"", "-wal", "-shm"}) std::filesystem::remove(path.string() + ending);
      before = 0;
    }
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      try {
        Store store(path);
        write_missing_units(store);
      } catch (...) {
        ::_exit(1);
      }
      ::_exit(0);
    }
    ::usleep(static_cast<useconds_t>(random() % static_cast<uint64_t>(whole_us / 4 + 2000)));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) ++killed;
    else ASSERT_EQ(WEXITSTATUS(status), 0);
    Store store(path);
    const int64_t now = store.count();
    EXPECT_EQ(now % kRowsOfUnit, 0) << "part of a unit is stored";
    EXPECT_GE(now, before) << "finished rows were lost";
    EXPECT_EQ(static_cast<int64_t>(store.units().size()) * kRowsOfUnit, now);
    before = now;
  }
  EXPECT_EQ(killed, 20);
  Store store(path);
  write_missing_units(store);
  EXPECT_EQ(dump(store), wanted);
}

}  // namespace
}  // namespace fare
