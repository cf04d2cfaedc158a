#include "fare/store/run_folder.h"

#include <gtest/gtest.h>

#include "fare/core/file.h"
#include "fare/core/test_folder.h"

namespace fare {
namespace {

std::vector<Setting> base() {
  return {{"model", std::string("models/x"), "sha256:aa"},
          {"out", std::string("run"), ""},
          {"seed", int64_t{3}, ""},
          {"lambda", 1e-7, ""},
          {"max-rows", 2.0, ""},
          {"chat-template", false, ""},
          {"tasks", std::vector<std::string>{"a", "b \"q\"\x7f\n"}, ""},
          {"threads", int64_t{4}, ""},
          {"trace-limit-mb", int64_t{2048}, ""}};
}

std::vector<Setting> with(const std::string& flag, const SettingValue& value, const std::string& hash = "") {
  auto settings = base();
  for (auto& setting : settings)
    if (setting.flag == flag) setting = {flag, value, hash};
  return settings;
}

TEST(RunFolder, a_new_folder_gets_its_configuration_once) {
  const TestFolder folder;
  const RunFolder run(folder / "deep/run", "diagnose", base());
  EXPECT_TRUE(run.is_new());
  const std::string text = read_file(folder / "deep/run/config.toml");
  EXPECT_HAS(text, "command = \"diagnose\"\n");
  EXPECT_HAS(text, "seed = 3\n");
  EXPECT_HAS(text, "lambda = 1e-07\n");
  EXPECT_HAS(text, "max-rows = 2.0\n");
  EXPECT_HAS(text, "chat-template = false\n");
  EXPECT_HAS(text, "tasks = [\"a\", \"b \\\"q\\\"\\u007f\\n\"]\n");
  EXPECT_HAS(text, "[inputs]\nmodel = \"sha256:aa\"\n");
  const RunFolder again(folder / "deep/run", "diagnose", base());
  EXPECT_FALSE(again.is_new());
  EXPECT_EQ(read_file(folder / "deep/run/config.toml"), text);
  EXPECT_EQ(again.rows_path(), folder / "deep/run/rows.sqlite");
}

TEST(RunFolder, what_does_not_change_a_number_may_differ) {
  const TestFolder folder;
  RunFolder(folder / "run", "diagnose", base());
  RunFolder(folder / "run", "diagnose", with("threads", int64_t{1}));
  RunFolder(folder / "run", "diagnose", with("out", std::string("elsewhere/run")));
  RunFolder(folder / "run", "diagnose", with("trace-limit-mb", int64_t{1}));
  RunFolder(folder / "run", "diagnose", with("model", std::string("moved/x"), "sha256:aa"));
  auto more = base();
  more.push_back({"quiet", true, ""});
  more.push_back({"log-level", std::string("debug"), ""});
  more.push_back({"device", std::string("cuda"), ""});
  RunFolder(folder / "run", "diagnose", more);
}

TEST(RunFolder, another_configuration_is_refused_with_every_difference_and_both_values) {
  const TestFolder folder;
  RunFolder(folder / "run", "diagnose", base());
  const std::string before = read_file(folder / "run/config.toml");
  const auto refusal = [&](const std::string& command, const std::vector<Setting>& settings) {
    const std::string message = message_of<ModelMismatch>([&] { RunFolder(folder / "run", command, settings); });
    EXPECT_HAS(message, (folder / "run").string());
    EXPECT_HAS(message, "--config");
    return message;
  };
  EXPECT_HAS(refusal("diagnose", with("seed", int64_t{4})), "--seed: 3 there, 4 here");
  EXPECT_HAS(refusal("diagnose", with("lambda", 2e-7)), "--lambda: 1e-07 there, 2e-07 here");
  EXPECT_HAS(refusal("diagnose", with("chat-template", true)), "--chat-template: false there, true here");
  EXPECT_HAS(refusal("diagnose", with("tasks", std::vector<std::string>{"a"})), "[\"a\"] here");
  EXPECT_HAS(refusal("diagnose", with("model", std::string("models/x"), "sha256:bb")), "(sha256:aa) there");
  EXPECT_HAS(refusal("mask", base()), "command: diagnose there, mask here");
  auto more = base();
  more.push_back({"limit", int64_t{5}, ""});
  EXPECT_HAS(refusal("diagnose", more), "--limit: not set there, 5 here");
  more = base();
  more.erase(more.begin() + 2);
  EXPECT_HAS(refusal("diagnose", more), "--seed: 3 there, not set here");
  more[2] = {"lambda", 1.0, ""};
  const std::string two = refusal("diagnose", more);
  EXPECT_HAS(two, "--seed");
  EXPECT_HAS(two, "--lambda");
  EXPECT_EQ(read_file(folder / "run/config.toml"), before);
}

TEST(RunFolder, a_stored_choice_can_be_asked_for) {
  const TestFolder folder;
  EXPECT_EQ(RunFolder::stored(folder / "run", "seed"), std::nullopt);
  RunFolder(folder / "run", "diagnose", base());
  EXPECT_EQ(std::get<int64_t>(*RunFolder::stored(folder / "run", "seed")), 3);
  EXPECT_EQ(std::get<std::vector<std::string>>(*RunFolder::stored(folder / "run", "tasks"))[1], "b \"q\"\x7f\n");
  EXPECT_EQ(RunFolder::stored(folder / "run", "absent"), std::nullopt);
}

TEST(RunFolder, broken_folders_are_refused) {
  const TestFolder folder;
  write_file(folder / "file", "x");
  EXPECT_HAS(message_of<IoError>([&] { RunFolder(folder / "file", "d", {}); }), "is a file");
  EXPECT_HAS(message_of<IoError>([&] { RunFolder(folder / "file/inside", "d", {}); }), "file/inside");
  std::filesystem::create_directory(folder / "rows");
  write_file(folder / "rows/rows.sqlite", "x");
  EXPECT_HAS(message_of<FormatError>([&] { RunFolder(folder / "rows", "d", {}); }), "no config.toml");
  std::filesystem::create_directory(folder / "broken");
  for (const char* text : {"a = = 1", "a = 1\na = 2", "inputs = 3", "command = 3", "a = {b = 1}", "[inputs]\nx = 1"}) {
    write_file(folder / "broken/config.toml", text);
    EXPECT_HAS(message_of<FormatError>([&] { RunFolder(folder / "broken", "d", {}); }), "config.toml");
    EXPECT_EQ(read_file(folder / "broken/config.toml"), text);
  }
}

}  // namespace
}  // namespace fare
