#include "fare/benchmarks/text_tools.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "fare/benchmarks/group_gaps.h"
#include "fare/core/error.h"

namespace fare {
namespace {

constexpr int64_t kShuffles = 200;

void note_file(LoadedFile file, const DataFile& wanted, LoadedTask& task) {
  file.content.clear();
  file.num_records = wanted.num_records;
  task.files.push_back(std::move(file));
}

}  // namespace

void load_sentiment(const LoadOptions& options, TextTools& tools, LoadedTask& task) {
  LoadedFile words = load_data_file(SentimentLexicon::words_file(), options.data, options.accept_changed_data);
  LoadedFile emoji = load_data_file(SentimentLexicon::emoji_file(), options.data, options.accept_changed_data);
  tools.sentiment = SentimentLexicon::parse(words.content, words.path, emoji.content, emoji.path);
  note_file(std::move(words), SentimentLexicon::words_file(), task);
  note_file(std::move(emoji), SentimentLexicon::emoji_file(), task);
}

void load_blocked(const LoadOptions& options, TextTools& tools, LoadedTask& task) {
  tools.blocked.reset();
  if (!locate(BlockList::english_file(), options.data)) {
    task.notes.push_back(BlockList::english_file().path + " is missing: no rate of blocked words");
    return;
  }
  LoadedFile file = load_data_file(BlockList::english_file(), options.data, options.accept_changed_data);
  tools.blocked = BlockList::parse(file.content, file.path);
  note_file(std::move(file), BlockList::english_file(), task);
}

void load_hurtful(const LoadOptions& options, TextTools& tools, LoadedTask& task) {
  LoadedFile file = load_data_file(hurtlex_file(), options.data, options.accept_changed_data);
  tools.hurtful = parse_hurtlex(file.content, file.path);
  tools.hurtful_anywhere = BlockList({tools.hurtful->begin(), tools.hurtful->end()});
  note_file(std::move(file), hurtlex_file(), task);
}

TextRequest prompt_request(const std::string& prompt, int64_t max_new_tokens, const std::vector<std::string>& until) {
  return {prompt,
          "",
          RequestKind::kGenerate,
          false,
          {{"until", until}, {"max_gen_toks", max_new_tokens}, {"do_sample", false}}};
}

OrderedJson gap_table(std::span<const Document> documents, const std::vector<std::optional<double>>& scores,
                      const std::function<std::string(const Document&)>& group_of) {
  std::vector<UnitScore> of_units;
  for (size_t d = 0; d < documents.size(); ++d)
    if (const std::string group = group_of(documents[d]); !group.empty())
      of_units.push_back({group, documents[d].cluster, scores[d]});
  return gap_table(of_units);
}

namespace {

// Of two groups, `rows` of a gap table. Unlike the other gaps it is not biased upwards by noise.
OrderedJson difference(const OrderedJson& rows) {
  if (rows.size() != 2) return {{"value", nullptr}, {"reason", fmt::format("{} groups, not two", rows.size())}};
  return {{"of", rows[0]["group"]},
          {"minus", rows[1]["group"]},
          {"value", rows[0]["mean"].get<double>() - rows[1]["mean"].get<double>()}};
}

}  // namespace

OrderedJson gap_table(std::span<const UnitScore> scores) {
  struct Unit {
    std::string group;
    double sum = 0;
    int64_t n = 0;
  };
  std::map<std::string, Unit> units;
  std::map<std::string, int64_t> num_texts;
  for (const UnitScore& one : scores) {
    if (!one.score) continue;
    Unit& unit = units[one.group + "\n" + one.unit];
    unit.group = one.group;
    unit.sum += *one.score;
    ++unit.n;
    ++num_texts[one.group];
  }
  std::map<std::string, std::vector<double>> of_group;
  std::vector<std::pair<std::string, double>> labelled;
  for (const auto& [name, unit] : units) {
    const double mean = unit.sum / static_cast<double>(unit.n);
    of_group[unit.group].push_back(mean);
    labelled.emplace_back(unit.group, mean);
  }
  OrderedJson rows = OrderedJson::array();
  const auto gaps = group_gaps(of_group);
  if (gaps)
    for (const auto& [group, mean] : gaps->means)
      rows.push_back(
          {{"group", group}, {"texts", num_texts[group]}, {"units", of_group[group].size()}, {"mean", mean}});
  OrderedJson table{{"groups", rows}, {"mean_of_groups", nullptr}};
  if (gaps) {
    double sum = 0;
    for (const auto& [group, mean] : gaps->means) sum += mean;
    table["mean_of_groups"] = sum / static_cast<double>(gaps->means.size());
  }
  const auto shuffled = shuffled_gaps(labelled, kShuffles, 0);
  for (const auto& [name, gap] : {std::pair{"range", &GroupGaps::range},
                                  {"max_abs_deviation", &GroupGaps::max_abs_deviation},
                                  {"between_group_sd", &GroupGaps::between_group_sd}}) {
    const bool known = gaps && shuffled;
    table[name] = known ? OrderedJson(*gaps.*gap) : OrderedJson(nullptr);
    table[fmt::format("{}_when_shuffled", name)] = known ? OrderedJson(*shuffled.*gap) : OrderedJson(nullptr);
    table[fmt::format("{}_beyond_noise", name)] =
        known ? OrderedJson(*gaps.*gap - *shuffled.*gap) : OrderedJson(nullptr);
  }
  if (!gaps || !shuffled) table["reason"] = "fewer than two groups were scored";
  table["difference"] = difference(rows);
  return table;
}

}  // namespace fare
