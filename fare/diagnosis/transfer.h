// Does a routing control reach written text? (methods A11, stage 5.) Every candidate is compared with the model without
// edits on prompts that no search has seen, with the same random numbers in both arms.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/transfer_measures.h"
#include "fare/diagnosis/verdict.h"

namespace fare {

// What the study needs beside model and pairs.
struct TransferInput {
  TransferPrompts prompts;
  TransferLexicons lexicons;
  const Tokenizer* tokenizer = nullptr;
};

struct TransferOptions {
  StudyProfile profile = StudyProfile::kSmall;
  int64_t samples = 5;
  Sampling sampling{0.7, 0.95};
  // The defaults are those of the small profile.
  int64_t tokens = 24;       // of a text that is read whole
  int64_t first_tokens = 8;  // of one whose first content word is read (M2)
  int64_t prompts = 200;  // whose texts are read whole, shared over the sources; full: the least number of each source
  int64_t first_prompts = 400;  // the same for M2
  int64_t mass_prompts = 1500;  // per source of M0; 0 = all
  int64_t pilot = 200;          // prompts per source from which the needed number is read (F5); full only
  int64_t examples = 12;        // per candidate

  static TransferOptions of(StudyProfile profile);
};

struct TransferCandidate {
  std::string name;
  const Intervention* intervention = nullptr;
  double alpha = 0.05;                  // alpha / C
  std::optional<double> margin_effect;  // mean signed change of the pairs' margins / SD of the base margins, test split
};

struct TransferResult {
  struct Candidate {
    std::string name;
    std::vector<MetricChange> metrics;  // primary ones that were run; a guard that fires stands among them
    TextGuards guards;
    struct Decodability {
      int64_t prompts = 0;
      double stereo_rank = 0, anti_rank = 0;          // medians
      double stereo_gap_nats = 0, anti_gap_nats = 0;  // means
      double top5_share = 0;
    };
    std::optional<Decodability> decodability;
    struct Example {
      std::string id, family, prompt, base, edited;
    };
    std::vector<Example> examples;  // greedy texts that differ, in the order of the prompts
    int64_t greedy_differ = 0;
  };
  std::vector<Candidate> candidates;
  TextGuards base_guards;
  std::optional<Candidate::Decodability> base_decodability;
  std::vector<MetricNotRun> not_run;  // primary metrics, with the reason
  struct Family {
    std::string family, source, note;
    int64_t prompts = 0, skipped = 0, clusters = 0, mass = 0, written = 0;
  };
  std::vector<Family> families;
  TransferOptions options;
  int64_t rows_computed = 0;

  int64_t num_written() const;  // prompts that were continued
};

// Mean over pairs of sigma_a (m_base - m_edited), in standard deviations of m_base; none where the margins of the base
// do not vary or none of them changed. `base`, `edited`: parallel to `pairs`.
std::optional<double> margin_effect(const Study& study, std::span<const int64_t> pairs, std::span<const Margins> base,
                                    std::span<const Margins> edited, const std::vector<int>& signs);

// `signs`: per axis of the study, as in search(); an axis that the study does not have leans to the stereotype (+1).
// Texts go to `folder`/generated.jsonl, one line each, when `folder` is not empty.
TransferResult measure_transfer(const Scorer& scorer, const Study& study, const TransferInput& input, Store* store,
                                const std::vector<TransferCandidate>& candidates, const std::vector<int>& signs,
                                const std::filesystem::path& folder, const DiagnosisOptions& options,
                                const TransferOptions& transfer, const Progress& progress);

// "generation" of report.json.
OrderedJson transfer_json(const TransferResult& result);

// Names the primary metrics that were not run and why, for the reason of stage 5; "" when all were.
std::string not_run_text(const TransferResult& result);

// What stage 5 reads of a candidate.
TransferEvidence transfer_evidence(const TransferResult& result, size_t candidate);

// Names of the primary metrics that the prompts and lexicons at hand allow: the family of tests, before any text is
// seen.
std::vector<std::string> planned_metrics(const TransferInput& input);

// Why no prompt is left: what became of each source.
std::string unusable_prompts(const TransferPrompts& prompts);

}  // namespace fare
