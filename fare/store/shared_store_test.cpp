// One store for several ranks: division, sharing, and what a killed run leaves.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <mutex>
#include <stdexcept>

#include "fare/core/error.h"
#include "fare/core/test_folder.h"
#include "fare/core/thread_ranks.h"
#include "fare/store/store.h"

namespace fare {
namespace {

constexpr size_t kParts = 12;

UnitRows unit_of(size_t part, const std::string& value = "") {
  const std::string name = std::to_string(part);
  UnitRows unit{"unit" + name, {}};
  for (const char* item : {"a", "b"})
    unit.rows.push_back({{"m", "", name, item, "sum", part}, value + "{\"x\":" + name + "}"});
  return unit;
}

std::string dump(const Store& store) {
  std::string text;
  store.for_each(
      {}, [&](const Row& row, const std::string& unit) { text += row.key.text() + unit + row.value_json + "\n"; });
  return text;
}

std::string wanted() {
  const TestFolder folder;
  Store store(folder / "rows.sqlite");
  for (size_t part = 0; part < kParts; ++part) store.put_units({unit_of(part)});
  return dump(store);
}

// Computes what is not stored; `stop_after` parts of any rank, the run dies. Returns how many parts were computed.
int run(const TestFolder& folder, int size, int stop_after = 1000) {
  ThreadRanks ranks(size);
  std::mutex guard;
  int computed = 0;
  ranks.run([&](Ranks& own) {
    Store store(folder.path(), own);
    const auto finished = store.units();
    std::vector<size_t> todo;
    for (size_t part = 0; part < kParts; ++part)
      if (!finished.contains(unit_of(part).unit)) todo.push_back(part);
    const std::vector<double> costs(todo.size(), 1);
    int mine = 0;
    store.compute_units(costs, [&](size_t i, int64_t) {
      if (mine++ == stop_after) throw std::runtime_error("killed");
      const std::lock_guard lock(guard);
      ++computed;
      return std::vector<UnitRows>{unit_of(todo[i])};
    });
    EXPECT_EQ(dump(store), wanted()) << "rank " << own.rank() << " cannot read everything";
  });
  return computed;
}

std::vector<std::string> files(const TestFolder& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

TEST(SharedStore, has_the_same_rows_for_any_number_of_ranks) {
  for (const int size : {1, 2, 3, 4}) {
    const TestFolder folder;
    EXPECT_EQ(run(folder, size), static_cast<int>(kParts));
    EXPECT_EQ(files(folder), std::vector<std::string>{"rows.sqlite"}) << "ranks tidy up";
    EXPECT_EQ(dump(Store(folder / "rows.sqlite")), wanted());
    EXPECT_EQ(run(folder, size), 0) << "finished units are not computed again";
  }
}

TEST(SharedStore, keeps_what_the_ranks_of_a_dead_run_finished) {
  for (const int again : {1, 2, 4}) {
    const TestFolder folder;
    EXPECT_THROW(run(folder, 3, 2), std::runtime_error);  // each rank had finished two parts
    EXPECT_EQ(files(folder), (std::vector<std::string>{"rows.rank1.sqlite", "rows.rank2.sqlite", "rows.sqlite"}));
    EXPECT_EQ(run(folder, again), static_cast<int>(kParts) - 6) << again << " ranks";
    EXPECT_EQ(files(folder), std::vector<std::string>{"rows.sqlite"});
    EXPECT_EQ(dump(Store(folder / "rows.sqlite")), wanted());
  }
}

TEST(SharedStore, takes_over_a_rank_file_that_was_only_begun) {
  const TestFolder folder;
  std::ofstream(folder / "rows.rank1.sqlite").flush();
  EXPECT_EQ(run(folder, 2), static_cast<int>(kParts));
  EXPECT_EQ(files(folder), std::vector<std::string>{"rows.sqlite"});
}

TEST(SharedStore, refuses_rank_files_with_other_values) {
  const TestFolder folder;
  run(folder, 1);
  Store(folder / "rows.rank1.sqlite").put_units({unit_of(3, " ")});
  const std::string message = message_of<FormatError>([&] { run(folder, 1); });
  EXPECT_HAS(message, "task=3");
  EXPECT_HAS(message, "rows.rank1.sqlite");
  EXPECT_TRUE(std::filesystem::exists(folder / "rows.rank1.sqlite"));
}

}  // namespace
}  // namespace fare
