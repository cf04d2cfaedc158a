#include "fare/benchmarks/registry.h"

#include <set>

#include "fare/benchmarks/python_json.h"
#include "fare/benchmarks/test_support.h"
#include "fare/core/error.h"
#include "fare/core/sha256.h"

namespace fare {
namespace {

using testing::message_of;

TEST(Registry, FindsTasksByNameAndOffersTheNearest) {
  EXPECT_EQ(find_task("truthfulqa_mc1").info.name, "truthfulqa_mc1");
  EXPECT_EQ(find_task("crows_pairs_english_race_color").info.name, "crows_pairs_english_race_color");
  EXPECT_EQ(find_task("fare_crows_pairs").info.name, "fare_crows_pairs");
  EXPECT_NE(message_of<UsageError>([] { find_task("truthfulqa_mc3"); }).find("did you mean 'truthfulqa_mc1'"), std::string::npos);
  EXPECT_NE(message_of<UsageError>([] { find_task("truthfulqa"); }).find("is a group of tasks"), std::string::npos);
}

TEST(Registry, ThePrefixMayBeLeftOutWhereNothingElseHasTheRest) {
  const std::vector<std::string> known{"fare_stereoset", "fare_crows_pairs", "crows_pairs"};
  EXPECT_EQ(known_name("stereoset", known), "fare_stereoset");
  EXPECT_EQ(known_name("fare_stereoset", known), "fare_stereoset");
  EXPECT_EQ(known_name("crows_pairs", known), "crows_pairs");  // the harness's own name wins
  EXPECT_FALSE(known_name("stereo", known));
}

TEST(Registry, AGroupRunsItsMembersOnce) {
  const auto tasks = resolve_tasks({"truthfulqa_mc2", "truthfulqa", "crows_pairs_english"});
  ASSERT_EQ(tasks.size(), 3u);
  EXPECT_EQ(tasks[0]->info.name, "truthfulqa_mc2");
  EXPECT_EQ(tasks[1]->info.name, "truthfulqa_mc1");
  EXPECT_EQ(resolve_tasks({"crows_pairs"}).size(), 11u);
  EXPECT_THROW(resolve_tasks({}), UsageError);
  EXPECT_THROW(resolve_tasks({""}), UsageError);
}

TEST(Registry, EveryTaskIsWhole) {
  std::set<std::string> names;
  for (const auto& task : all_tasks()) {
    SCOPED_TRACE(task.info.name);
    EXPECT_TRUE(names.insert(task.info.name).second);
    EXPECT_FALSE(task.info.licence.empty());
    EXPECT_FALSE(task.info.title.empty());
    EXPECT_FALSE(task.info.source.empty());
    EXPECT_FALSE(task.info.files.empty());
    EXPECT_FALSE(task.info.metrics.empty());
    EXPECT_EQ(task.info.config["task"], task.info.name);
    EXPECT_EQ(task.info.config["metadata"]["version"].get<double>(), task.info.version);
    for (const auto& metric : task.info.metrics)
      EXPECT_EQ(metric.profile == Profile::kFair, is_fair_metric(metric.name)) << metric.name;
    for (const auto& value : task.info.config) EXPECT_FALSE(value.is_null());
  }
}

// tests/golden/harness_requests: made by the harness's own task classes.
TEST(Registry, RequestsEqualTheHarnessOnes) {
  FARE_NEED_DATA("crows-pairs");
  FARE_NEED_DATA("truthfulqa");
  const Json golden = read_json_file(std::filesystem::path(FARE_SOURCE_DIR) / "tests/golden/harness_requests/requests.json");
  EXPECT_EQ(golden.size(), 13u);
  for (const auto& [name, expected] : golden.items()) {
    const LoadedTask loaded = find_task(name).load({testing::data_folder(), false});
    Sha256 digest;
    size_t num_requests = 0;
    for (const auto& document : loaded.documents) {
      for (const auto& request : document.requests) {
        digest.add(python_json_dumps(OrderedJson::array({request.context, request.continuation})) + "\n");
        ++num_requests;
      }
    }
    EXPECT_EQ(loaded.documents.size(), expected["documents"]) << name;
    EXPECT_EQ(num_requests, expected["requests"]) << name;
    EXPECT_EQ(digest.hex(), expected["sha256"]) << name;
  }
}

TEST(Registry, SaysWhichFilesAreThere) {
  const auto folder = testing::scratch("status");
  std::filesystem::create_directories(folder / "truthfulqa");
  write_file(folder / "truthfulqa" / "mc_task.json", "[]");
  for (const auto& status : list_tasks(folder, true)) {
    const bool truthful = status.task->info.name.rfind("truthfulqa", 0) == 0;
    EXPECT_EQ(status.ready, truthful) << status.task->info.name;
    if (truthful) {
      EXPECT_EQ(status.files[0].found, folder / "truthfulqa" / "mc_task.json");
      EXPECT_FALSE(status.files[0].matches);
      EXPECT_TRUE(status.files[1].found.empty());
    }
  }
}

}  // namespace
}  // namespace fare
