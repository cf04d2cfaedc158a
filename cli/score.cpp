#include "cli/score.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "cli/console.h"
#include "cli/flags.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/evaluation/calibration_outputs.h"
#include "fare/routing/trace_file.h"
#include "fare/scoring/encode.h"
#include "fare/scoring/request_file.h"
#include "fare/scoring/run_divided.h"
#include "fare/scoring/score_file.h"
#include "fare/scoring/scorer.h"
#include "fare/scoring/trace_recorder.h"

namespace fare::cli {
namespace {

namespace fs = std::filesystem;

struct ScoreFlags {
  CommonFlags common;
  fs::path requests, intervention, interventions, scratch;
  std::string trace;
  int64_t trace_limit_mb = 2048;
  std::optional<int32_t> prefix_token;
  int64_t unit_rows = 4096, cache_mb = ScorerOptions{}.cache_mb;
  bool allow_no_effect = false, no_prefix_sharing = false, no_resume = false, no_batch_edits = false;
};

// One scoring of all requests and the files it goes to.
struct Run {
  std::string name;  // "" for a single run, else the stem of its files
  std::optional<Intervention> intervention;
  fs::path scores, receipt, trace;  // empty = not written
};

fs::path beside(const fs::path& out, const std::string& ending) {
  const std::string stem = out.extension() == ".jsonl" ? out.stem().string() : out.filename().string();
  return out.parent_path() / (stem + ending);
}

std::vector<Run> planned_runs(const ScoreFlags& flags) {
  const fs::path& out = flags.common.out;
  std::vector<Run> runs;
  if (flags.interventions.empty()) {
    Run run;
    if (fs::is_directory(out)) throw IoError(out.string() + ": is a folder; --out names the file of scores");
    if (!flags.intervention.empty()) run.intervention = Intervention::read(flags.intervention);
    if (!out.empty()) {
      run.scores = out;
      run.receipt = beside(out, ".receipt.json");
      if (!flags.trace.empty()) run.trace = beside(out, ".trace.safetensors");
    }
    runs.push_back(std::move(run));
    return runs;
  }
  const auto add = [&](const std::string& name, std::optional<Intervention> intervention) {
    Run run;
    run.name = name;
    run.intervention = std::move(intervention);
    run.scores = out / (name + ".jsonl");
    if (run.intervention) run.receipt = out / (name + ".receipt.json");
    if (!flags.trace.empty()) run.trace = out / (name + ".trace.safetensors");
    runs.push_back(std::move(run));
  };
  add("base", std::nullopt);
  if (!fs::is_directory(flags.interventions))
    throw IoError(flags.interventions.string() + ": is not a folder of intervention files");
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(flags.interventions))
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  if (files.empty()) throw IoError(flags.interventions.string() + ": holds no intervention file (*.json)");
  for (const fs::path& file : files) {
    if (file.stem() == "base")
      throw FormatError(file.string(), "", "the name 'base' is reserved for the run without edits; rename the file");
    add(file.stem().string(), Intervention::read(file));
  }
  std::error_code failed;
  fs::create_directories(out, failed);
  if (failed) throw IoError(out.string() + ": cannot be made: " + failed.message());
  return runs;
}

bool replays(const Intervention& intervention) {
  return std::any_of(intervention.edits.begin(), intervention.edits.end(),
                     [](const Edit& edit) { return std::holds_alternative<ForceRoutes>(edit.op); });
}

void write_receipt(const Run& run, const Receipt& receipt) {
  const std::string name = run.intervention ? run.intervention->name : "";
  write_file(run.receipt, receipt.to_json(name, run.intervention ? run.intervention->sha256 : "").dump(2) + "\n");
}

int score(const ScoreFlags& flags) {
  const Progress progress = console(flags.common);
  if (flags.common.out.empty() && (!flags.trace.empty() || !flags.intervention.empty()))
    throw UsageError(
        "--out FILE is needed with --intervention and --trace: the receipt and the trace lie beside the scores");
  if (flags.common.out.empty() && !flags.interventions.empty())
    throw UsageError("--out FOLDER is needed with --interventions");

  std::vector<RequestLine> lines = read_requests(flags.requests);
  if (flags.common.limit > 0 && lines.size() > static_cast<size_t>(flags.common.limit)) {
    progress.say(
        fmt::format("--limit {}: the first {} of {} requests", flags.common.limit, flags.common.limit, lines.size()));
    lines.resize(static_cast<size_t>(flags.common.limit));
  }
  std::vector<Run> runs = planned_runs(flags);
  Ranks& ranks = *flags.common.ranks;
  const bool first = ranks.rank() == 0;
  std::vector<std::unique_ptr<AtomicFile>> outputs;  // opened first: a folder that cannot be written stops here
  for (const Run& run : runs)
    outputs.push_back(run.scores.empty() || !first ? nullptr : std::make_unique<AtomicFile>(run.scores));

  const auto model = open_model(flags.common, progress);
  ScorerOptions options;
  options.max_length = flags.common.max_length;
  options.unit_rows = flags.unit_rows;
  options.share_prefixes = !flags.no_prefix_sharing;
  options.resume = !flags.no_resume;
  options.batch_edits = !flags.no_batch_edits;
  options.cache_mb = flags.cache_mb;
  options.scratch = flags.scratch;
  options.base_run = !runs.front().intervention.has_value();
  const Scorer scorer(*model, options);
  const std::vector<Request> requests =
      encode_requests(lines, flags.requests.string(), *model, scorer.max_length(), flags.prefix_token);

  std::vector<const Intervention*> interventions;
  for (const Run& run : runs)
    if (run.intervention) interventions.push_back(&*run.intervention);
  for (const Intervention* intervention : interventions) intervention->check(model->routed());
  std::vector<Intervention*> calibrated;
  for (Run& run : runs)
    if (run.intervention && needs_calibration(*run.intervention)) calibrated.push_back(&*run.intervention);
  if (!calibrated.empty())
    take_calibration_outputs(calibrated, *model, *Tokenizer::open(flags.common.model), flags.common.max_length,
                             flags.prefix_token);

  // Traces are one file, and replayed routes name rows of the whole run: such a run is not divided.
  const bool whole =
      ranks.size() == 1 || !flags.trace.empty() ||
      std::any_of(interventions.begin(), interventions.end(), [](const Intervention* one) { return replays(*one); });
  if (whole && ranks.size() > 1)
    progress.say("traces and replayed routes are not divided: the first rank computes alone");
  if (whole && !first) return 0;

  // One trace recorder for each run that is traced.
  const RouteTable rows =
      flags.trace.empty() ? RouteTable{} : trace_rows(requests, scorer.max_length(), model->spec().vocab_size);
  std::vector<std::unique_ptr<TraceFileWriter>> writers;
  std::vector<std::unique_ptr<TraceRecorder>> recorders;
  std::vector<UnitObserver> observers;
  if (!flags.trace.empty()) {
    std::vector<TraceShape> shapes;
    for (const Run& run : runs) {
      const int64_t slots =
          run.intervention ? run.intervention->num_slots(model->routed()) : model->spec().router.top_k;
      shapes.push_back(
          {rows.offsets, rows.token_ids, model->spec().moe_layers(), model->spec().router.num_experts, slots});
      if (const int64_t bytes = trace_file_bytes(shapes.back()); bytes > flags.trace_limit_mb * 1'000'000)
        throw Error(
            fmt::format("--trace routes would write a file of {:.1f} MB, more than --trace-limit-mb {}; score fewer "
                        "requests or raise the limit",
                        static_cast<double>(bytes) / 1e6, flags.trace_limit_mb));
    }
    for (size_t i = 0; i < runs.size(); ++i) {
      writers.push_back(std::make_unique<TraceFileWriter>(runs[i].trace, shapes[i]));
      const int64_t index = runs[i].intervention ? static_cast<int64_t>(i) - (options.base_run ? 1 : 0) : -1;
      TraceFileWriter* writer = writers.back().get();
      recorders.push_back(std::make_unique<TraceRecorder>(
          rows, index, [writer](int64_t layer, auto to, auto from, auto logits, auto ids, auto weights, int64_t slots) {
            writer->write(layer, to, from, logits, ids, weights, slots);
          }));
      observers.push_back(recorders.back()->observer());
    }
  }
  UnitObserver observer;
  if (!observers.empty()) {
    observer.begin = [&](const UnitRun& run) {
      for (auto& each : observers) each.begin(run);
    };
    observer.on_decision = [&](int64_t layer, const at::Tensor& logits, const Decision& decision) {
      for (auto& each : observers) each.on_decision(layer, logits, decision);
    };
  }

  const ScorerResult result = whole ? scorer.run(requests, interventions, observer, progress)
                                    : run_divided(scorer, requests, interventions, ranks, progress);
  if (!first) return 0;
  if (!result.memory_problem.empty()) warn(result.memory_problem);
  if (!result.scratch_problem.empty())
    warn(fmt::format("--scratch {}; interventions in lower layers were computed whole", result.scratch_problem));
  else if (options.scratch.empty() && result.cache_mb_needed > options.cache_mb)
    warn(fmt::format(
        "--cache-mb {} is less than the {} that all layers take: interventions in lower layers were computed whole "
        "(--scratch DIR keeps the rest in a file; the least of use, for the highest edited layer alone, is {})",
        options.cache_mb, result.cache_mb_needed, result.cache_mb_least));
  int status = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    const RunResult& run = runs[i].intervention ? result.edited[i - (options.base_run ? 1 : 0)] : result.base;
    for (size_t r = 0; r < requests.size(); ++r) {
      const std::string line = score_line(requests[r], run.scores[r]);
      if (outputs[i]) outputs[i]->write(line);
      else if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size())
        throw IoError("stdout: cannot be written");
    }
    if (outputs[i]) outputs[i]->commit();
    if (!runs[i].receipt.empty()) write_receipt(runs[i], run.receipt);
    if (!runs[i].trace.empty()) writers[i]->commit();
    if (runs[i].intervention && run.receipt.no_effect()) {
      warn(fmt::format("intervention '{}'{} had no effect: no token's experts or weights changed",
                       runs[i].intervention->name, runs[i].name.empty() ? "" : " (" + runs[i].name + ".json)"));
      if (!flags.allow_no_effect) status = 3;
    }
  }
  if (std::fflush(stdout) != 0) throw IoError("stdout: cannot be written");
  return status;
}

}  // namespace

void add_score_command(CLI::App& program, int& exit_status, Ranks& ranks) {
  auto flags = std::make_shared<ScoreFlags>();
  flags->common.ranks = &ranks;
  CLI::App* command =
      program.add_subcommand("score", "Log-probabilities of continuations, under an optional intervention");
  add_model_flags(*command, flags->common);
  command
      ->add_option("--requests", flags->requests,
                   "JSON lines: id, context + continuation or context_ids + continuation_ids")
      ->required();
  add_output_flag(*command, flags->common, false);
  command->add_option("--limit", flags->common.limit, "Only the first N requests; 0 = all")
      ->check(at_least(0))
      ->capture_default_str();
  command->add_option("--seed", flags->common.seed, "As with every command; no score depends on it")
      ->check(at_least(0))
      ->capture_default_str();
  auto* one = command->add_option("--intervention", flags->intervention, "Intervention file (fare-intervention/1)");
  command->add_option("--interventions", flags->interventions, "Folder of intervention files; --out is then a folder")
      ->excludes(one);
  command->add_option("--trace", flags->trace, "routes: also write the routes of every fed token")
      ->check(CLI::IsMember({"routes"}));
  command->add_option("--trace-limit-mb", flags->trace_limit_mb, "Refuse a larger trace before the run (10^6 bytes)")
      ->check(at_least(1))
      ->capture_default_str();
  command->add_option("--prefix-token", flags->prefix_token, "Token id that stands in for an empty context")
      ->check(at_least(0));
  command->add_option("--unit-rows", flags->unit_rows, "Rows computed together; larger is faster and takes more memory")
      ->check(at_least(1))
      ->capture_default_str();
  command->add_flag("--allow-no-effect", flags->allow_no_effect, "An intervention without effect is not status 3");
  command->add_flag("--no-prefix-sharing", flags->no_prefix_sharing, "Compute every request on its own rows");
  command->add_flag("--no-resume", flags->no_resume, "Compute every intervention whole, not only what it changes");
  command->add_flag("--no-batch-edits", flags->no_batch_edits,
                    "Compute interventions one by one, not several through each product");
  command
      ->add_option("--cache-mb", flags->cache_mb,
                   "Memory for what interventions reuse of a unit's base run (2^20 bytes)")
      ->check(at_least(0))
      ->capture_default_str();
  command->add_option("--scratch", flags->scratch, "Folder of a temporary file for what --cache-mb has no room for");
  add_console_flags(*command, flags->common);
  command->footer(
      "Examples:\n"
      "  fare score --model DIR --requests requests.jsonl --out scores.jsonl\n"
      "  fare score --model DIR --requests requests.jsonl --out scores.jsonl --intervention edit.json --trace routes");
  command->callback([flags, &exit_status] { exit_status = score(*flags); });
}

}  // namespace fare::cli
