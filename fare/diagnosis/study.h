// The data of one diagnosis, in tokens: pairs and their nulls, utility items, neutral text; splits and alignments.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "fare/benchmarks/splits.h"
#include "fare/benchmarks/study_data.h"
#include "fare/scoring/request.h"
#include "fare/scoring/text_encoder.h"
#include "fare/stats/clusters.h"

namespace fare {

// Fed positions of the two texts of a pair that hold the same token, by longest common subsequence, split into what
// stands before the first difference (Q) and after it (P); and the fed positions that differ (D). Positions count fed
// tokens from 0 (the prefix token included); the last token of a text is never fed and is in no span.
struct PairAlignment {
  struct Matched {
    int32_t stereo = 0, anti = 0;
  };
  std::vector<Matched> before, after;                 // Q, P
  std::vector<int32_t> differs_stereo, differs_anti;  // D
};

struct EncodedPair {
  StudyPair pair;
  Request stereo, anti;
  PairAlignment alignment;
  std::string item;  // SHA-256 over the ids of both texts: the row key
};

struct EncodedUtility {
  UtilityItem item;
  std::vector<Request> choices;
  std::string key;  // row key
};

// Everything is immutable after load. Indices into `pairs`, `nulls`, `transfer`, `utility` are how studies name items.
struct Study {
  std::vector<EncodedPair> pairs;  // kind demographic, set main
  std::vector<EncodedPair> nulls;  // kinds null_*, set main
  std::vector<int64_t> null_of;    // per null: index of its pair; -1 = of no pair in particular
  struct BuiltNulls {
    int64_t built = 0;
    std::map<std::string, int64_t> without;  // reason -> pairs that got none
  };
  std::map<std::string, BuiltNulls> built_nulls;  // N1, N2, N3: where they were built here and not given (null_pairs.h)
  std::vector<EncodedPair> transfer;              // kind demographic, set transfer
  std::vector<EncodedUtility> utility;
  std::vector<Request> neutral;  // each text once: prefix token, then every token scored
  int64_t neutral_tokens = 0;    // fed tokens

  // Texts tried as a debiasing prefix (baselines.h), those that this tokenizer can spell, and the token that stands for
  // an empty context.
  struct Prefix {
    std::string text;
    std::vector<int32_t> ids;
  };
  std::vector<Prefix> prefixes;
  std::optional<int32_t> prefix_token;

  std::vector<std::string> axes;  // names, sorted
  std::vector<int32_t> axis_of;   // per pair, index into axes
  stats::Clusters pair_clusters, utility_clusters;
  Splits pair_splits, utility_splits;

  std::vector<int64_t> pairs_in(SplitPart part) const;  // ascending
  std::vector<int64_t> utility_in(SplitPart part) const;

  struct SourceFile {
    std::string role, name, sha256;  // role: pairs, utility, neutral, generation
    int64_t items = 0, used = 0, skipped = 0;
    std::string note;  // why items were skipped; may be empty
  };
  std::vector<SourceFile> files;
};

// Items as read, before encoding, and where they came from.
struct StudyItems {
  std::vector<StudyPair> pairs;  // every kind and set
  std::vector<UtilityItem> utility;
  std::vector<std::string> neutral;
  std::vector<Study::SourceFile> files;  // one per role; counts are completed by make_study
};

struct StudyFiles {
  std::filesystem::path pairs, utility, neutral, generation;  // all but pairs may be empty
};

// Reads and checks a user's own files whole (study_data.h).
StudyItems read_study(const StudyFiles& files);

// Encodes and splits. `max_length`, `vocab_size`: of the model, for the checks of fed_part. Items that cannot be scored
// (a text without a token of its own, too long) are skipped and counted. Without neutral text the contexts of the
// utility items stand in, and a note says so. `limit` > 0: the first that many demographic pairs and utility items.
// Throws FormatError when no pair is left, or no utility item where `items.files` names such a file.
Study make_study(StudyItems items, const TextEncoder& encoder, int64_t max_length, int64_t vocab_size, uint64_t seed,
                 int64_t limit = 0);

// SHA-256 over the token ids of some requests: what a row is about, whatever the item is called.
std::string item_hash(const std::vector<const Request*>& requests);

// Positions of both texts of a pair that hold the same token, and those that differ.
PairAlignment align_pair(const Request& stereo, const Request& anti);

}  // namespace fare
