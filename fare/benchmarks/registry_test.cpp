#include "fare/benchmarks/registry.h"

#include <set>

#include "fare/benchmarks/python_json.h"
#include "fare/benchmarks/test_support.h"
#include "fare/core/error.h"
#include "fare/core/sha256.h"
#include "fare/core/source_folder.h"

namespace fare {
namespace {

TEST(Registry, FindsTasksByNameAndOffersTheNearest) {
  EXPECT_EQ(find_task("truthfulqa_mc1").info.name, "truthfulqa_mc1");
  EXPECT_EQ(find_task("crows_pairs_english_race_color").info.name, "crows_pairs_english_race_color");
  EXPECT_EQ(find_task("fare_crows_pairs").info.name, "fare_crows_pairs");
  EXPECT_NE(message_of<UsageError>([] { find_task("truthfulqa_mc3"); }).find("did you mean 'truthfulqa_mc1'"),
            std::string::npos);
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
  EXPECT_EQ(resolve_tasks({"mmlu"}).size(), 57u);  // groups of groups
  EXPECT_EQ(resolve_tasks({"bbq_age"})[0]->info.name, "bbq_Age");
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
    EXPECT_TRUE(task.load && task.score);
  }
}

// tests/golden/harness_requests: made by the harness's own task classes.
TEST(Registry, RequestsEqualTheHarnessOnes) {
  FARE_NEED_DATA("crows-pairs");
  FARE_NEED_DATA("truthfulqa");
  FARE_NEED_DATA("bbq");
  FARE_NEED_DATA("mmlu");
  const Json golden = read_json_file(source_folder() / "tests/golden/harness_requests/requests.json");
  EXPECT_EQ(golden.size(), 13u + 20u + 57u);
  for (const auto& [entry, expected] : golden.items()) {
    const std::string name = entry.substr(0, entry.find('@'));  // "mmlu_anatomy@5": with five examples
    LoadOptions options{testing::data_folder()};
    if (name != entry) options.num_fewshot = std::stoll(entry.substr(name.size() + 1));
    options.extra_requests = false;
    const LoadedTask loaded = find_task(name).load(options);
    Sha256 digest;
    size_t num_requests = 0;
    for (const auto& document : loaded.documents) {
      for (const auto& request : document.requests) {
        const OrderedJson second =
            request.kind == RequestKind::kGenerate ? request.generation : OrderedJson(request.continuation);
        digest.add(python_json_dumps(OrderedJson::array({request.context, second})) + "\n");
        ++num_requests;
      }
    }
    EXPECT_EQ(loaded.documents.size(), expected["documents"]) << entry;
    EXPECT_EQ(num_requests, expected["requests"]) << entry;
    EXPECT_EQ(digest.hex(), expected["sha256"]) << entry;
  }
}

TEST(Registry, TheDataPageNamesEveryFile) {
  const std::string page = read_file(source_folder() / "docs/data.md");
  for (const auto& task : all_tasks()) {
    for (const auto& file : task.info.files) {
      if (file.path.starts_with("mmlu/")) continue;  // 114 files, one row for each half
      EXPECT_NE(page.find("`" + file.path + "`"), std::string::npos) << file.path;
      EXPECT_NE(page.find(file.sha256), std::string::npos) << file.path;
    }
  }
}

TEST(Registry, ABenchmarkOfSeveralFilesIsReadyWithOne) {
  const auto folder = testing::scratch("bbq-status");
  std::filesystem::create_directories(folder / "bbq/data");
  const auto ready = [&] {
    for (const auto& status : list_tasks(folder, false))
      if (status.task->info.name == "bbq") return status.ready;
    return false;
  };
  EXPECT_FALSE(ready());
  write_file(folder / "bbq/data/Age.jsonl", "{}");
  EXPECT_TRUE(ready());
}

TEST(Registry, SaysWhichFilesAreThere) {
  const auto folder = testing::scratch("status");
  std::filesystem::create_directories(folder / "truthfulqa");
  write_file(folder / "truthfulqa" / "mc_task.json", "[]");
  for (const auto& status : list_tasks(folder, true)) {
    const bool truthful = status.task->info.name.find("truthfulqa") != std::string::npos;
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
