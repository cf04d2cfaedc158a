// What the commands that study a model share: where the data comes from, and the model, run folder and items opened in
// the one right order (everything that can be refused without a model is refused before it is opened).
#pragma once

#include <memory>

#include "cli/flags.h"
#include "fare/benchmarks/open_prompts.h"
#include "fare/diagnosis/diagnose.h"
#include "fare/store/run_folder.h"

namespace fare::cli {

struct StudyFlags {
  CommonFlags common;
  StudyFiles files;
  std::vector<std::string> tasks, utility_tasks;
};

// --pairs --utility --neutral --tasks --utility-tasks --seed --limit --data and the model's and console's flags.
void add_study_flags(CLI::App& command, StudyFlags& flags, bool needs_out = true);

struct OpenedStudy {
  Progress progress;
  std::unique_ptr<Model> model;
  std::unique_ptr<Tokenizer> tokenizer;
  bool first = true;             // rank 0, which writes files
  std::filesystem::path folder;  // empty on every other rank, and where nothing is kept
  std::unique_ptr<Store> store;  // null where nothing is kept
  std::unique_ptr<Scorer> scorer;
  Study study;
  OpenPrompts prompts;  // to be continued, where they were asked for
  RunInfo info;
  bool by_files = false;
};

// What of a study's data a command reads.
struct StudyNeeds {
  bool utility = true;  // without: pairs alone will do
  bool nulls_for_all =
      false;             // nulls that the data lacks are built (null_pairs.h) for all pairs, not those of train alone
  bool prompts = false;  // a user's own and, beside benchmarks as pairs, those of every benchmark at hand
  bool kept = true;      // in a run folder; without: nothing is written
};

// `settings`: of the command itself, beside those all studies have. Throws UsageError on flags that do not go together.
OpenedStudy open_study(const StudyFlags& flags, const std::string& command, const std::vector<Setting>& settings,
                       const std::vector<std::string>& arguments, const StudyNeeds& needs);

// --profile and --mask-size.
void add_masking_flags(CLI::App& command, std::string& profile, int64_t& mask_size);

// Writes a report of some parts (formats fare-probe/1, fare-mask/1) into the run folder, prints its `sentence` and
// where the page is (the first rank alone). The exit status: 3 where items were skipped, else 0.
int write_part(const OpenedStudy& opened, const OrderedJson& report);
OrderedJson runtime_json(const RunInfo& info, uint64_t seed);  // what may differ between two runs

// "sha256:.." of a file's bytes.
std::string file_hash(const std::filesystem::path& path);

}  // namespace fare::cli
