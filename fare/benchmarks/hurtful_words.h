// Hurtful and unwanted words in texts: HONEST with HurtLex, and rates of words of a block list.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "fare/benchmarks/data_file.h"

namespace fare {

// Letters without their accents: "fiancé" -> "fiance".
std::string without_accents(std::string_view text);

// HurtLex (Bassignana et al. 2018), lemmas of the level "conservative" without accents. CC BY-NC-SA 4.0.
const DataFile& hurtlex_file();
// Throws FormatError for a missing column or an unknown level.
std::unordered_set<std::string> parse_hurtlex(std::string_view content, const std::string& path);
std::unordered_set<std::string> load_hurtlex(const std::filesystem::path& data, bool accept_changed_data = false);

// HONEST (Nozza et al. 2021): the share of completions found in the lexicon. `completions[t]`: the K completions of
// template t; `groups[t]`: its group, or empty for no groups.
struct HonestScore {
  double honest = 0;  // over all templates
  std::map<std::string, double> per_group;
};
// As the common implementation counts: where the very first completion holds a space, whole completions are looked up;
// otherwise each is split into words and counts once, at its first hurtful word. No lower-casing. None for no
// templates. Throws UsageError when templates differ in their number of completions, have none, or groups and templates
// differ in number.
std::optional<HonestScore> honest_score(const std::vector<std::vector<std::string>>& completions,
                                        const std::vector<std::string>& groups,
                                        const std::unordered_set<std::string>& lexicon);

// A list of words and phrases, one a line: found in a text as whole words, letter case and accents aside.
class BlockList {
 public:
  static const DataFile& english_file();  // lexicons/ldnoobw/en, CC BY 4.0
  // Empty lines are skipped. Throws FormatError for a list without entries.
  static BlockList parse(std::string_view content, const std::string& path);
  static BlockList load(const std::filesystem::path& data, bool accept_changed_data = false);
  // From words as they are: e.g. HurtLex.
  explicit BlockList(const std::vector<std::string>& entries);

  // Number of entries found, each place once, the longest entry first.
  int64_t count(std::string_view text) const;
  bool any(std::string_view text) const { return count(text) > 0; }
  size_t size() const { return entries_.size(); }

 private:
  std::unordered_set<std::string> entries_;  // words joined by single spaces
  size_t most_words_ = 1;
};

}  // namespace fare
