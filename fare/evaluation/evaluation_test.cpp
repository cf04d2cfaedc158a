// What needs no model: loading by name, requests in tokens, the table, the places of files. The whole run is tested in
// tests/eval_test.py and against the harness in tests/eval_live.py.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "fare/benchmarks/registry.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/sha256.h"
#include "fare/core/test_folder.h"
#include "fare/evaluation/chat_requests.h"
#include "fare/evaluation/evaluation.h"
#include "fare/evaluation/group_metrics.h"
#include "fare/evaluation/result_table.h"

namespace fare {
namespace {

// One document per entry: (context, continuations).
BenchmarkSet set_of(const Task& task, const std::vector<std::pair<std::string, std::vector<std::string>>>& documents) {
  BenchmarkSet set;
  LoadedBenchmark loaded{&task, {}, static_cast<int64_t>(documents.size())};
  for (const auto& [context, continuations] : documents) {
    Document document;
    document.doc_id = static_cast<int64_t>(loaded.data.documents.size());
    document.cluster = "c";
    for (const std::string& continuation : continuations) document.requests.push_back({context, continuation});
    loaded.data.documents.push_back(document);
  }
  set.tasks.push_back(loaded);
  return set;
}

// Tokens x 0, a 1, b 2, c 3, ab 4 (merged), <s> 5.
std::unique_ptr<Tokenizer> merging_tokenizer() {
  return Tokenizer::from_json(R"({"version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 5, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
    "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
              "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
              "vocab": {"x": 0, "a": 1, "b": 2, "c": 3, "ab": 4, "<s>": 5}, "merges": [["a", "b"]]}})",
                              "merging");
}

constexpr PoolOptions kOptions{.max_length = 16, .vocab_size = 6, .prefix_token = 5};

TEST(RequestPool, ProfilesCutDifferentlyWhereATokenCrossesTheBorder) {
  Task task;
  task.info.name = "t";
  const auto tokenizer = merging_tokenizer();
  const RequestPool pool = pool_requests(set_of(task, {{"xa", {"bc", "cc"}}, {"a", {"bc"}}}), *tokenizer, kOptions);
  const PooledRequest& merged = pool.of[0][0][0];
  EXPECT_TRUE(merged.boundary_merge);
  EXPECT_EQ(pool.requests[merged.compat].context,
            (std::vector<int32_t>{0, 1}));  // x a | c: "xabc" is x ab c, cut by count
  EXPECT_EQ(pool.requests[merged.compat].continuation, (std::vector<int32_t>{3}));
  EXPECT_EQ(pool.requests[merged.fair].context, (std::vector<int32_t>{0}));  // x | ab c
  EXPECT_EQ(pool.requests[merged.fair].continuation, (std::vector<int32_t>{4, 3}));
  const PooledRequest& plain = pool.of[0][0][1];
  EXPECT_FALSE(plain.boundary_merge);
  EXPECT_EQ(plain.compat, plain.fair);
  const PooledRequest& bare = pool.of[0][1][0];  // no token of the context is left: the prefix token stands for it
  EXPECT_EQ(pool.requests[bare.fair].context, (std::vector<int32_t>{5}));
  EXPECT_EQ(pool.requests[bare.fair].continuation, (std::vector<int32_t>{4, 3}));
}

TEST(RequestPool, EqualRequestsAreThereOnceUnlessKeptApart) {
  Task task;
  task.info.name = "t";
  BenchmarkSet set = set_of(task, {{"x", {"b", "c"}}, {"x", {"c"}}});
  Task other;
  other.info.name = "u";
  set.tasks.push_back(set_of(other, {{"x", {"b"}}}).tasks[0]);
  const auto tokenizer = merging_tokenizer();
  const RequestPool pool = pool_requests(set, *tokenizer, kOptions);
  ASSERT_EQ(pool.requests.size(), 2u);
  EXPECT_EQ(pool.requests[0].id, "t/0/0");
  EXPECT_EQ(pool.tasks[0], (std::set<size_t>{0, 1}));
  EXPECT_EQ(pool.tasks[1], (std::set<size_t>{0}));
  EXPECT_EQ(pool.of[0][1][0].compat, pool.of[0][0][1].compat);
  PoolOptions apart = kOptions;
  apart.share = false;
  EXPECT_EQ(pool_requests(set, *tokenizer, apart).requests.size(), 4u);
}

TEST(RequestPool, NamesTheDocumentThatCannotBeScored) {
  Task task;
  task.info.name = "t";
  const auto tokenizer = merging_tokenizer();
  const auto message = [&](const BenchmarkSet& set, const PoolOptions& options) -> std::string {
    try {
      pool_requests(set, *tokenizer, options);
    } catch (const FormatError& error) {
      return error.what();
    }
    return "";
  };
  PoolOptions short_context = kOptions;
  short_context.max_length = 2;
  EXPECT_NE(message(set_of(task, {{"x", {"c"}}, {"x", {"ccc"}}}), short_context).find("task t: document 1"),
            std::string::npos);
  EXPECT_NE(message(set_of(task, {{"a", {"b"}}}), kOptions).find("document 0"),
            std::string::npos);  // "ab" leaves no token
  PoolOptions no_prefix = kOptions;
  no_prefix.prefix_token.reset();
  EXPECT_NE(message(set_of(task, {{"", {"b"}}}), no_prefix).find("--prefix-token"), std::string::npos);
}

TEST(TaskEvaluation, AnUndefinedCompatValueIsNaNAndAFairOneIsLeftOut) {
  Task task;
  task.info.name = "t";
  task.info.metrics = {{"acc", Profile::kCompat, true, ""}, {"fare_acc", Profile::kFair, true, ""}};
  task.score = [](const Document& document, std::span<const RequestResult>) -> std::vector<MetricValue> {
    if (document.doc_id == 1) return {{"acc", std::nan(""), ""}, {"fare_acc", std::nullopt, "underflow"}};
    return {{"acc", 1.0, ""}, {"fare_acc", 0.25, ""}};
  };
  BenchmarkSet set = set_of(task, {{"x", {"b"}}, {"x", {"c"}}, {"a", {"c"}}});
  for (size_t d = 0; d < 3; ++d) set.tasks[0].data.documents[d].cluster = std::to_string(d);
  const auto tokenizer = merging_tokenizer();
  const RequestPool pool = pool_requests(set, *tokenizer, kOptions);
  PoolScores scores;
  scores.scores.resize(pool.requests.size());
  scores.near_tie = {0, 1, 0};
  const TaskEvaluation all = evaluate_task(set, 0, pool, scores, {});
  ASSERT_EQ(all.metrics.size(), 2u);
  EXPECT_TRUE(std::isnan(all.metrics[0].value.value()));
  EXPECT_TRUE(std::isnan(all.metrics[0].stderr_value.value()));
  EXPECT_EQ(all.metrics[0].num_values, 3);
  EXPECT_EQ(all.metrics[1].value, 0.25);
  EXPECT_EQ(all.metrics[1].num_values, 2);
  EXPECT_EQ(all.counts.routing_near_tie_documents, 1);
  EXPECT_EQ(all.counts.num_requests, 3);
  const TaskEvaluation fair = evaluate_task(set, 0, pool, scores, {.compat = false});
  ASSERT_EQ(fair.metrics.size(), 1u);
  EXPECT_EQ(fair.metrics[0].name, "fare_acc");
}

TEST(TaskEvaluation, IntervalsOfPooledMetricsAreOfTheirProfile) {
  Task task;
  task.info.name = "t";
  task.info.metrics = {{"ll", Profile::kCompat, true, "", "none", true},
                       {"fare_ll", Profile::kFair, true, "", "none", true}};
  task.score = [](const Document&, std::span<const RequestResult>) { return std::vector<MetricValue>{}; };
  task.pooled.emplace();
  task.pooled->row = [](const Document&, std::span<const RequestResult> results) {
    return std::vector<double>{results[0].logprob_nats, 1};
  };
  task.pooled->metrics = [](std::span<const double> totals) {
    const double mean = totals[0] / totals[1];
    return std::vector<MetricValue>{{"ll", mean, ""}, {"fare_ll", mean, ""}};
  };
  BenchmarkSet set = set_of(task, {{"xa", {"bc"}}, {"ca", {"bc"}}, {"ba", {"bc"}}});  // a token crosses the border
  for (size_t d = 0; d < 3; ++d) set.tasks[0].data.documents[d].cluster = std::to_string(d);
  const auto tokenizer = merging_tokenizer();
  const RequestPool pool = pool_requests(set, *tokenizer, kOptions);
  PoolScores scores;
  scores.scores.resize(pool.requests.size());
  scores.near_tie.resize(3);
  for (size_t d = 0; d < 3; ++d) {
    scores.scores[pool.of[0][d][0].compat].logprob_nats = -1 - static_cast<double>(d);
    scores.scores[pool.of[0][d][0].fair].logprob_nats = -11 - static_cast<double>(d);
  }
  const TaskEvaluation evaluation = evaluate_task(set, 0, pool, scores, {});
  EXPECT_EQ(evaluation.metrics.at(0).value, -2);
  EXPECT_EQ(evaluation.metrics.at(1).value, -12);
  EXPECT_GT(evaluation.errors["ll"]["low"].get<double>(), -4);
  EXPECT_LT(evaluation.errors["fare_ll"]["high"].get<double>(), -10);
}

TEST(BenchmarkSet, RefusesBeforeAnyFileIsRead) {
  const auto usage = [](BenchmarkOptions options) -> std::string {
    options.load.data = "absent";
    try {
      load_benchmarks(options);
    } catch (const UsageError& error) {
      return error.what();
    } catch (const Error&) {
      return "another error";
    }
    return "";
  };
  EXPECT_NE(usage({.names = {"truthfulqa_mc9"}}).find("truthfulqa_mc1"), std::string::npos);
  EXPECT_NE(usage({.names = {"truthfulqa"}, .num_fewshot = 5}).find("--num-fewshot 5"), std::string::npos);
  EXPECT_NE(usage({.names = {"truthfulqa"}, .limit = 0}).find("--limit"), std::string::npos);
  EXPECT_NE(usage({}).find("no task"), std::string::npos);
  EXPECT_EQ(usage({.names = {"truthfulqa"}, .num_fewshot = 0}), "another error");
}

TEST(ResultTable, HasTheColumnsOfTheHarness) {
  // As lm_eval.utils.make_table of lm-eval 0.4.13 prints this object, but with four decimals in every line
  // (tests/eval_live.py compares real files cell by cell).
  const OrderedJson results = {{"results",
                                {{"t",
                                  {{"name", "t"},
                                   {"alias", "t"},
                                   {"sample_len", 2},
                                   {"b,none", 0.5},
                                   {"b_stderr,none", 0.25},
                                   {"a,none", 3.25},
                                   {"a_stderr,none", "N/A"}}}}},
                               {"versions", {{"t", 1.0}}},
                               {"n-shot", {{"t", 0}}},
                               {"higher_is_better", {{"t", {{"b", true}, {"a", false}}}}}};
  EXPECT_EQ(result_table(results),
            "|Tasks|Version|Filter|n-shot|Metric|   |Value |   |Stderr|\n"
            "|-----|------:|------|-----:|------|---|-----:|---|-----:|\n"
            "|t    |      1|none  |     0|a     |↓  |3.2500|±  |   N/A|\n"
            "|     |       |none  |     0|b     |↑  |0.5000|±  |0.2500|\n");
  const OrderedJson group = {
      {"results",
       {{"g", {{"name", "g"}, {"alias", "g"}, {"sample_len", 2}, {"b,none", 0.5}, {"b_stderr,none", 0.25}}}}},
      {"versions", {{"g", 2}}},
      {"n-shot", OrderedJson::object()},
      {"higher_is_better", OrderedJson::object()}};
  EXPECT_NE(result_table(group).find("|g    |      2|none  |      |b     |   |0.5000|"), std::string::npos)
      << result_table(group);
}

TEST(ChatRequests, NotesSayHowPromptsWereGiven) {
  Task task;
  task.info.name = "t";
  task.info.config = OrderedJson::object();
  BenchmarkSet plain = set_of(task, {{"x", {""}}});
  plain.tasks[0].data.documents[0].requests[0].kind = RequestKind::kGenerate;
  BenchmarkSet templated = plain, described = plain, scored = set_of(task, {{"x", {"b"}}});
  note_plain_prompts(plain);
  ASSERT_EQ(plain.tasks[0].data.notes.size(), 1u);
  EXPECT_NE(plain.tasks[0].data.notes[0].find("without chat template"), std::string::npos);
  const auto chat = ChatTemplate::parse("{% for m in messages %}{{ m.role }}: {{ m.content }};{% endfor %}", "t.jinja");
  const auto tokenizer = merging_tokenizer();
  apply_chat_template(*chat, *tokenizer, templated);
  ASSERT_EQ(templated.tasks[0].data.notes.size(), 1u);
  EXPECT_NE(templated.tasks[0].data.notes[0].find(sha256_hex(chat->source())), std::string::npos);
  EXPECT_NE(templated.tasks[0].data.notes[0].find("without a system message"), std::string::npos);
  const auto primer = std::make_shared<Primer>();
  primer->describe("Be kind.");
  described.tasks[0].data.documents[0].primer = primer;
  described.tasks[0].data.documents[0].requests[0].context = "Be kind.x";
  apply_chat_template(*chat, *tokenizer, described);
  EXPECT_EQ(described.tasks[0].data.documents[0].requests[0].context, "system: Be kind.;user: x;");
  EXPECT_NE(described.tasks[0].data.notes.at(0).find("task's description as system message"), std::string::npos);
  note_plain_prompts(scored);
  EXPECT_TRUE(scored.tasks[0].data.notes.empty());  // nothing is written
}

// 19 subjects: the mean over questions, the plain mean over subjects, and errors of fair means with subjects as
// clusters.
TEST(GroupMetrics, HaveBothMeansAndErrorsOverTasks) {
  std::vector<TaskEvaluation> tasks;
  double sum = 0, n = 0, plain = 0;
  for (const Task* leaf : leaf_tasks(*find_group("mmlu_stem"))) {
    const auto i = static_cast<double>(tasks.size());
    TaskEvaluation task;
    task.info = leaf->info;
    const double value = 0.2 + 0.03 * i;
    const auto size = static_cast<int64_t>(100 + 10 * tasks.size());
    task.metrics = {{"acc", value, 0.04, size}, {"fare_acc", value / 2, 0.04, size}};
    sum += value * static_cast<double>(size), n += static_cast<double>(size), plain += value;
    tasks.push_back(std::move(task));
  }
  const auto G = static_cast<double>(tasks.size());
  ASSERT_EQ(G, 19);
  double squares = 0;
  for (const auto& task : tasks) {
    const auto size = static_cast<double>(task.metrics[1].num_values);
    squares += std::pow(size * (*task.metrics[1].value - sum / n / 2), 2);
  }
  const auto values_of = [&](std::span<const TaskEvaluation> of) {
    GroupResults group{.name = "mmlu_stem"};
    add_group_metrics(of, group);
    std::map<std::string, MetricAggregate> by_name;
    for (const auto& metric : group.metrics) by_name[metric.name] = metric;
    return by_name;
  };
  auto values = values_of(tasks);
  EXPECT_NEAR(*values["acc"].value, sum / n, 1e-12);
  EXPECT_NEAR(*values["fare_compat_acc_macro"].value, plain / G, 1e-12);
  EXPECT_NEAR(*values["fare_acc_macro"].value, plain / G / 2, 1e-12);
  EXPECT_NEAR(*values["fare_acc"].stderr_value, std::sqrt(G / (G - 1) * squares) / n, 1e-12);
  EXPECT_LT(*values["acc"].stderr_value, 0.015);  // the harness's, as if subjects did not differ
  EXPECT_GT(*values["fare_acc"].stderr_value, 0.015);
  for (auto& task : tasks) task.metrics.pop_back();
  EXPECT_EQ(values_of(tasks).size(), 1u);  // as the harness has it
}

TEST(ResultPaths, FollowTheHarness) {
  const ResultPaths folder = result_paths("out", "models/a:b", {"t"}, 0);
  EXPECT_EQ(folder.results.parent_path(), "out/models__a__b");
  EXPECT_TRUE(folder.results.filename().string().starts_with("results_"));
  EXPECT_TRUE(folder.samples[0].filename().string().starts_with("samples_t_"));
  const ResultPaths file = result_paths("out/r.json", "m", {"t"}, 0);
  EXPECT_EQ(file.results.parent_path(), "out");
  EXPECT_TRUE(file.results.filename().string().starts_with("r_"));
  EXPECT_EQ(run_folder_of("out/r.json"), "out/r.run");
  EXPECT_EQ(run_folder_of("out"), "out");
}

TEST(FirstStart, IsKept) {
  const TestFolder folder;
  const int64_t start = first_start(folder.path());
  EXPECT_GT(start, 1'500'000'000'000'000);
  EXPECT_EQ(first_start(folder.path()), start);
  write_file(folder / "start.json", "{}");
  EXPECT_THROW(first_start(folder.path()), FormatError);
}

}  // namespace
}  // namespace fare
