// A helper of the tests: runs tasks with a scorer that knows no model (every request gets -random() of CPython's
// generator seeded with 42, every prompt one fixed text) and writes results and samples, for comparison with
// lm-evaluation-harness.
//   benchmarks_dump DATA OUT LIMIT TASK..      LIMIT 0 = all documents; writes OUT/TASK/results.json and samples.jsonl
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "fare/benchmarks/harness_layout.h"
#include "fare/benchmarks/metric_errors.h"
#include "fare/benchmarks/pooled_metrics.h"
#include "fare/benchmarks/registry.h"
#include "fare/core/file.h"
#include "fare/core/python_random.h"

namespace fare {
namespace {

constexpr char kText[] = "The answer is 18, I think.\n#### 18";  // what the scorer writes after every prompt

void dump(const Task& task, const std::filesystem::path& data, const std::filesystem::path& out, size_t limit) {
  LoadedTask loaded = task.load({data, false, std::nullopt, false});
  const auto num_original = static_cast<int64_t>(loaded.documents.size());
  if (limit > 0 && limit < loaded.documents.size()) loaded.documents.resize(limit);
  PythonRandom random(42);
  std::vector<std::vector<RequestResult>> results;
  std::vector<SampleMetrics> samples;
  for (const auto& document : loaded.documents) {
    std::vector<RequestResult> one(document.requests.size());
    for (size_t i = 0; i < one.size(); ++i) {
      if (document.requests[i].extra) continue;
      if (document.requests[i].kind == RequestKind::kGenerate) one[i].text = kText;
      else one[i].logprob_nats = -random.random();
    }
    samples.push_back(task.score(document, one));
    results.push_back(std::move(one));
  }
  const TaskInfo& info = task.info;
  std::string hash;
  const std::string lines = sample_lines(task, loaded.documents, results, samples, hash);
  std::vector<MetricAggregate> metrics = aggregate_metrics(info, samples);
  add_pooled(task, loaded.documents, results, results, metrics);
  const TaskResults tasks[] = {{info.name, info.alias.empty() ? info.name : info.alias, info.version, info.num_fewshot,
                                num_original, static_cast<int64_t>(loaded.documents.size()), std::move(metrics),
                                info.metrics, info.config}};
  RunDescription run;
  run.config = run_config({});
  run.model_name = "model-free";
  run.task_hashes = {{info.name, hash}};
  OrderedJson fare{{"tables", task.summarise ? task.summarise(loaded.documents, results) : OrderedJson(nullptr)},
                   {"errors", metric_errors(info, loaded.documents, samples)}};
  std::filesystem::create_directories(out / info.name);
  write_file(out / info.name / "results.json", results_text(results_object(run, tasks, {}, fare)));
  write_file(out / info.name / "samples.jsonl", lines);
}

}  // namespace
}  // namespace fare

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: benchmarks_dump DATA OUT LIMIT TASK..\n");
    return 2;
  }
  try {
    for (int i = 4; i < argc; ++i)
      fare::dump(fare::find_task(argv[i]), argv[1], argv[2], static_cast<size_t>(std::strtoull(argv[3], nullptr, 10)));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
