#include "fare/benchmarks/harness_layout.h"

#include "fare/benchmarks/metric_errors.h"
#include "fare/benchmarks/python_json.h"
#include "fare/benchmarks/test_support.h"
#include "fare/core/error.h"

namespace fare {
namespace {

TEST(HarnessLayout, HashesEqualThePublishedVectors) {
  const auto path = testing::folder("FARE_DESIGN", "design") / "statistics-vectors.json";
  if (!std::filesystem::exists(path))
    GTEST_SKIP() << "statistics-vectors.json is not there; set FARE_DESIGN to the folder that holds it";
  const OrderedJson cases = OrderedJson::parse(read_file(path))["vectors"]["harness_hashes"];
  const OrderedJson& doc = cases[0]["input"]["doc"];
  EXPECT_EQ(python_json_dumps(doc, 2), cases[0]["expected"]["dump"]);
  EXPECT_EQ(doc_hash(doc), cases[0]["expected"]["doc_hash"]);
  Document document;
  document.requests = {{"", "x"}};
  EXPECT_EQ(prompt_hash(document), cases[0]["expected"]["prompt_hash_empty_context"]);
  EXPECT_EQ(target_hash("0"), cases[0]["expected"]["target_hash_0"]);
  std::vector<SampleHashes> samples;
  for (const auto& parts : cases[1]["input"]["parts"]) samples.push_back({parts[0], parts[1], parts[2]});
  EXPECT_EQ(task_hash(samples), cases[1]["expected"]);
}

TEST(HarnessLayout, ModelNamesEqualThePublishedVectors) {
  FARE_NEED_VECTORS(cases, "sanitize_model_name");
  for (const auto& entry : *cases) EXPECT_EQ(sanitize_model_name(entry["input"]["name"]), entry["expected"]);
}

TEST(HarnessLayout, SampleLineByHand) {
  Document document;
  document.doc_id = 3;
  document.item = "q3";
  document.cluster = "c";
  document.axis = "age";
  document.doc = {{"q", "é?"}, {"n", 1}};
  document.target = "0";
  document.requests = {{"ctx", " a"}, {"ctx", " b"}};
  const RequestResult results[] = {{-12.5, false, {1, 2}, {-12, -0.5}, 0, false}, {-9.25, true, {3}, {-9.25}, 0, true}};
  const SampleMetrics metrics{{"acc", 1.0, ""}, {"fare_acc", std::nullopt, "because"}};
  EXPECT_EQ(
      sample_line(document, results, metrics, nullptr),
      "{\"doc_id\": 3, \"doc\": {\"q\": \"é?\", \"n\": 1}, \"target\": \"0\", \"arguments\": {\"gen_args_0\": "
      "{\"arg_0\": "
      "\"ctx\", \"arg_1\": \" a\"}, \"gen_args_1\": {\"arg_0\": \"ctx\", \"arg_1\": \" b\"}}, \"resps\": [[[\"-12.5\", "
      "\"False\"]], [[\"-9.25\", \"True\"]]], \"filtered_resps\": [[\"-12.5\", \"False\"], [\"-9.25\", \"True\"]], "
      "\"filter\": \"none\", \"metrics\": [\"acc\", \"fare_acc\"], \"doc_hash\": \"" +
          doc_hash(document.doc) + "\", \"prompt_hash\": \"" + prompt_hash(document) + "\", \"target_hash\": \"" +
          target_hash("0") + "\", \"acc\": 1.0, \"fare_acc\": null}");
  const OrderedJson extension = sample_extension(document, results, metrics);
  EXPECT_EQ(extension["cluster"], "c");
  EXPECT_EQ(extension["token_counts"], (OrderedJson{2, 1}));
  EXPECT_EQ(extension["boundary_merge"], true);
  EXPECT_EQ(extension["reasons"]["fare_acc"], "because");
  EXPECT_THROW(sample_line(document, {results, 1}, metrics, nullptr), BrokenInvariant);
}

TEST(HarnessLayout, ResultsHaveTheKeysInOrder) {
  TaskResults b{"b_task",
                "b_task",
                1,
                0,
                10,
                4,
                {{"acc", 0.5, 0.25, 4, ""}, {"fare_acc", std::nullopt, std::nullopt, 0, "why"}},
                {{"acc", Profile::kCompat, true, ""}, {"fare_acc", Profile::kFair, std::nullopt, ""}},
                {{"task", "b_task"}, {"gone", nullptr}}};
  TaskResults a = b;
  a.name = a.alias = "a_task";
  RunDescription run;
  run.config = run_config({});
  run.date = 1234.5;
  run.model_name = "x/y";
  run.task_hashes = {{"b_task", "ff"}};
  const TaskResults tasks[] = {b, a};
  const GroupResults groups[] = {{"all", "all", {"b_task", "a_task"}, 1, 8, {{"acc", 0.5, std::nullopt, 8, ""}}}};
  const OrderedJson out = results_object(run, tasks, groups, {{"schema", 1}});
  std::string keys;
  for (const auto& [key, value] : out.items()) keys += key + " ";
  EXPECT_EQ(
      keys,
      "results groups group_subtasks configs versions n-shot higher_is_better n-samples config git_hash date "
      "pretty_env_info "
      "transformers_version lm_eval_version upper_git_hash tokenizer_pad_token tokenizer_eos_token tokenizer_bos_token "
      "eot_token_id max_length task_hashes model_source model_name model_name_sanitized system_instruction "
      "system_instruction_sha fewshot_as_multiturn chat_template chat_template_sha total_evaluation_time_seconds "
      "fare ");
  EXPECT_EQ(
      python_json_dumps(out["results"]["b_task"]),
      "{\"name\": \"b_task\", \"alias\": \"b_task\", \"sample_len\": 4, \"acc,none\": 0.5, \"acc_stderr,none\": 0.25, "
      "\"fare_acc,none\": null, \"fare_acc_stderr,none\": \"N/A\"}");
  EXPECT_EQ(out["results"].begin().key(), "b_task");        // evaluation order
  EXPECT_EQ(out["configs"].begin().key(), "a_task");        // by name
  EXPECT_FALSE(out["configs"]["a_task"].contains("gone"));  // no null fields
  EXPECT_EQ(out["results"]["all"]["sample_count"]["acc,none"], 8);
  EXPECT_EQ(out["n-shot"]["all"], 0);
  EXPECT_EQ(out["higher_is_better"]["all"]["acc"], true);
  TaskResults fewer = a;  // other shots, another direction
  fewer.num_fewshot = 5;
  fewer.infos[0].higher_is_better = false;
  const TaskResults odd[] = {b, fewer};
  const OrderedJson mixed = results_object(run, odd, groups, nullptr);
  EXPECT_FALSE(mixed["n-shot"].contains("all"));
  EXPECT_TRUE(mixed["higher_is_better"]["all"]["acc"].is_null());
  EXPECT_EQ(out["model_name_sanitized"], "x__y");
  EXPECT_EQ(out["tokenizer_pad_token"], (OrderedJson{nullptr, "None"}));
  EXPECT_EQ(python_json_dumps(python_json_loads(results_text(out), "f"), 2), results_text(out));
  EXPECT_FALSE(results_object(run, tasks, {}, nullptr).contains("groups"));
}

TEST(MetricErrors, RespectClustersAndLeaveOutUndefinedItems) {
  TaskInfo info;
  info.metrics = {{"acc", Profile::kCompat, true, ""},
                  {"fare_acc", Profile::kFair, true, ""},
                  {"fare_none", Profile::kFair, true, ""}};
  std::vector<Document> documents(5);
  std::vector<SampleMetrics> samples;
  const double values[] = {1, 1, 0, 0, 7};
  for (size_t d = 0; d < 5; ++d) {
    documents[d].cluster = std::string(1, d < 2 ? 'a' : 'b');
    const std::optional<double> value = d < 4 ? std::optional<double>(values[d]) : std::nullopt;
    samples.push_back(
        {{"acc", 1.0, ""}, {"fare_acc", value, d < 4 ? "" : "left out"}, {"fare_none", std::nullopt, "never"}});
  }
  const OrderedJson errors = metric_errors(info, documents, samples);
  EXPECT_FALSE(errors.contains("acc"));
  EXPECT_EQ(errors["fare_acc"]["n"], 4);
  EXPECT_EQ(errors["fare_acc"]["clusters"], 2);
  // Residuals +-1/2: cluster sums +-1; CR0 = sqrt(2) / 4, CR1 = CR0 sqrt(2) = 1/2; naive = sqrt(1/3) / 2.
  EXPECT_NEAR(errors["fare_acc"]["se_cr1"].get<double>(), 0.5, 1e-12);
  EXPECT_NEAR(errors["fare_acc"]["se_naive"].get<double>(), 0.288675134594813, 1e-12);
  EXPECT_NEAR(errors["fare_acc"]["icc"].get<double>(), 1, 1e-12);
  EXPECT_TRUE(errors["fare_none"]["se_cr1"].is_null());
  EXPECT_FALSE(errors["fare_none"]["reason"].get<std::string>().empty());
}

TEST(HarnessLayout, StampIsLocalTimeAsPythonPrintsIt) {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  EXPECT_EQ(file_stamp(1787342214123456), "2026-08-21T19-56-54.123456");
  EXPECT_EQ(file_stamp(1787342214000000), "2026-08-21T19-56-54");
  EXPECT_EQ(file_stamp(1787342214000007), "2026-08-21T19-56-54.000007");
}

}  // namespace
}  // namespace fare
