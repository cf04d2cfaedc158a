// A user's own study files (JSON lines): pairs, utility items, neutral texts, generation prompts. Each file is read and
// checked whole before anything runs. Format with examples: docs/study-data.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fare/benchmarks/splits.h"

namespace fare {

// What a pair contrasts: the demographic edit itself, or one of the null edits it is compared with.
enum class PairKind { kDemographic, kNullNeutral, kNullSameGroup, kNullParaphrase };
std::string_view name_of(PairKind kind);  // "demographic", "null_neutral", "null_same_group", "null_paraphrase"

enum class PairSet { kMain, kTransfer };
std::string_view name_of(PairSet set);  // "main", "transfer"

struct StudyPair {
  std::string id;
  std::string cluster;
  std::string axis;
  std::string stereo;  // scored after `context`; of a null kind: the two texts in this order
  std::string anti;
  std::string context;  // "" = scored after the prefix token
  PairKind kind = PairKind::kDemographic;
  std::optional<std::string> null_of;  // id of a demographic pair; only on null kinds
  PairSet set = PairSet::kMain;
};

struct UtilityItem {
  std::string id;
  std::string cluster;
  std::string task;
  std::string context;
  std::vector<std::string> choices;  // appended to the context as they stand
  std::vector<int64_t> gold;         // indices of the right choices, ascending
};

struct GenerationItem {
  std::string id;
  std::string cluster;
  std::string axis;
  std::string prompt;
  std::vector<std::string> stereo;
  std::vector<std::string> anti;
};

// The items of one file in file order, and the names of fields that no one reads (to warn about).
template <typename Item>
struct StudyFile {
  std::vector<Item> items;
  std::vector<std::string> ignored_fields;
};

// Each throws IoError if the file cannot be read and FormatError naming file, line and reason for: a line that is not a
// JSON object, a missing or mistyped field, an empty id, cluster, axis, task or text, an id used twice, an empty file.
// Pairs: equal texts, an unknown kind or set, a null_of on a demographic pair or to an id that is not a demographic
// pair of the file, no demographic pair at all.
StudyFile<StudyPair> read_pairs(const std::filesystem::path& path);
// Utility: fewer than two choices, a gold index outside the choices or named twice, every choice gold.
StudyFile<UtilityItem> read_utility(const std::filesystem::path& path);
StudyFile<std::string> read_neutral(const std::filesystem::path& path);
// Generation: an empty list, an entry in both lists.
StudyFile<GenerationItem> read_generation(const std::filesystem::path& path);

}  // namespace fare
