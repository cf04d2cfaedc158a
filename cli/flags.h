// Flags that several commands share, and what follows from them: device, threads, working type, data folder.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fare/core/progress.h"
#include "fare/core/ranks.h"
#include "fare/models/model.h"
#include "fare/stats/outcome.h"

namespace fare::cli {

struct CommonFlags {
  Ranks* ranks = nullptr;  // the processes of this run; set by commands that divide their work, null = this one alone
  std::filesystem::path model;
  std::filesystem::path out;
  std::string device = "cpu";
  std::string dtype = "auto";
  std::string matmul = "auto";
  std::string head = "ask";
  bool ignore_correction_bias = false;
  bool ignore_scale_factor = false;
  int64_t max_length = 0;
  int threads = 0;
  uint64_t seed = 0;
  int64_t limit = 0;
  std::filesystem::path data;
  bool quiet = false;
  std::string log_level = "info";
};

// A whole number in decimal digits from `lowest` to the largest of 64 bits; anything else is wrong usage, said in
// words.
CLI::Validator at_least(int64_t lowest);

// Each adds its flags to `command`.
// --model --device --dtype --matmul --head --ignore-correction-bias --ignore-scale-factor --max-length --threads
void add_model_flags(CLI::App& command, CommonFlags& flags);
void add_output_flag(CLI::App& command, CommonFlags& flags, bool required);  // --out
void add_console_flags(CLI::App& command, CommonFlags& flags);               // --quiet --log-level
void add_data_flag(CLI::App& command, CommonFlags& flags);                   // --data
void add_interval_flag(CLI::App& command, stats::IntervalKind& interval);    // --interval

// The flags among these that change how a checkpoint is read, where they are not at their defaults: part of what a run
// folder remembers, {name without dashes, value}.
std::vector<std::pair<std::string, std::string>> reading_choices(const CommonFlags& flags);

// `flags.data`, else $FARE_DATA, else ./data.
std::filesystem::path data_folder(const CommonFlags& flags);

// Sets the number of threads (default: all physical cores this process may use, divided by the ranks that may use the
// same ones; the same on every rank) and opens the model in the working type and with the backend asked for, auto being
// decided by rank 0 for all; says the choice through `progress`.
std::unique_ptr<Model> open_model(const CommonFlags& flags, const Progress& progress);

}  // namespace fare::cli
