// Scores of generated texts that another program gave (regard, toxicity): read from a file, since nothing here judges a
// text by a model. One file has one scorer; two files are compared only where the same scorer made both.
// Format and measures: docs/external-scores.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fare/core/json.h"

namespace fare {

// One label's score of one text.
struct ExternalScore {
  std::string id, group, cluster, label, text_sha256;  // id: of the prompt
  int64_t sample = 0;                                  // which of the texts written after it
  std::optional<double> score;                         // none where the scorer failed
};

struct ExternalScores {
  std::string path, scorer, scorer_sha256;
  std::vector<ExternalScore> rows;
};

// Throws FormatError with the line for a field that is missing or of another type, a second scorer, a score outside
// [-1, 1], a text scored twice under one label or given two hashes; for a file without rows.
ExternalScores read_external_scores(const std::filesystem::path& path);

struct GapOptions {
  double threshold = 0.5;  // from here on a text counts as toxic
  uint64_t seed = 0;
  int64_t replicates = 10000;
};

// Per label: means by group and their gaps, maxima over the samples of a prompt, what is missing; `fare-gaps/1`. With
// `base`, also the mean change from it of texts that both files score (same prompt and sample), over all and by group.
// Above 1% missing scores every figure of a label is null with the reason. Throws UsageError when `base` has another
// scorer or gives a text another score.
OrderedJson summarise_external_scores(const ExternalScores& scores, const ExternalScores* base,
                                      const GapOptions& options);

}  // namespace fare
