#include "fare/benchmarks/winobias.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "fare/benchmarks/multiple_choice.h"
#include "fare/benchmarks/record.h"
#include "fare/benchmarks/unicode_case.h"
#include "fare/benchmarks/unicode_text.h"
#include "fare/benchmarks/winogender.h"
#include "fare/core/error.h"
#include "fare/core/file.h"

namespace fare {
namespace {

struct PartFile {
  const char* name;
  const char* sha256;
};
// Pro and anti file of each part, in the order of the documents.
struct Part {
  const char *type, *split;
  PartFile pro, anti;
};
constexpr Part kParts[] = {
    {"type1",
     "dev",
     {"pro_stereotyped_type1.txt.dev", "dd55a0d220fe4c0ceb63dd4648223fb4fe1a58d5ad95c116a002ad24b0e292a5"},
     {"anti_stereotyped_type1.txt.dev", "a4e0ebae344e78b56f657a42e8ae684b9db7747d177c5e7149c0907ebb7f3bf6"}},
    {"type1",
     "test",
     {"pro_stereotyped_type1.txt.test", "db7838907238a758eeb5779e48f38c013b892910d6fe864456c59f04245c6689"},
     {"anti_stereotyped_type1.txt.test", "331db5bd74bfefebf146a60b67645152a4a1991570d2a56f57154103ac361dd2"}},
    {"type2",
     "dev",
     {"pro_stereotyped_type2.txt.dev", "8f0250de723cea9328e3eaf7169e07936f01aa5909ce7aa580db66eb803f4e86"},
     {"anti_stereotyped_type2.txt.dev", "763ad829ad724f9a85ead689ba8ca69072020cb1238def6210f0fc6a47b97e59"}},
    {"type2",
     "test",
     {"pro_stereotyped_type2.txt.test", "ea1c1fd94fa612e3cc44d7fa3cc4cb76021bb63fdf94f9826f430051e9052438"},
     {"anti_stereotyped_type2.txt.test", "336571ac1ea8c06cd2aba8e5dd2bd98e00acc0c48da3e4ec5ec7e54eb2633a8f"}},
};
constexpr int64_t kNumLines = 396;
constexpr const char* kPronouns[] = {"he", "she", "his", "her", "hers", "him", "himself", "herself"};

DataFile part_file(const PartFile& file) {
  const std::string name = file.name;
  return {"winobias/" + name, {"WinoBias/wino/data/" + name, "wino/data/" + name}, file.sha256, kNumLines, "MIT",
          /*required=*/false};
}
const DataFile kFemale{"winobias/female_occupations.txt",
                       {"WinoBias/wino/data/female_occupations.txt"},
                       "693bff12286c2c1d46c7d4d45a44a631574710c30b39c1a3001bb7bdebb44ed8",
                       20,
                       "MIT"};
const DataFile kMale{"winobias/male_occupations.txt",
                     {"WinoBias/wino/data/male_occupations.txt"},
                     "6b82d88847b69d56d207a0c396e9830b031890de585e916e6b4e9bc50672657e",
                     20,
                     "MIT"};

bool is_pronoun(const std::string& text) {
  const std::string lower = lower_text(text);
  return std::find(std::begin(kPronouns), std::end(kPronouns), lower) != std::end(kPronouns);
}

std::vector<WinoBiasLine> read_lines(const DataFile& wanted, const LoadOptions& options, LoadedTask& task) {
  LoadedFile file = load_data_file(wanted, options.data, options.accept_changed_data);
  std::vector<WinoBiasLine> lines;
  for_each_line(file.content, [&](std::string_view line, size_t number) {
    if (strip(line).empty()) return;
    auto parsed = parse_winobias_line(line);
    if (!parsed)
      throw FormatError(file.path, "line " + std::to_string(number),
                        "expected a number and a sentence with one [person] and at least one [pronoun]");
    lines.push_back(std::move(*parsed));
  });
  file.content.clear();
  check_num_records(file, wanted, static_cast<int64_t>(lines.size()), options.accept_changed_data);
  task.files.push_back(std::move(file));
  return lines;
}

// The words of a sentence with every pronoun replaced by one sign.
std::vector<std::string> words_but_pronouns(const std::string& sentence) {
  std::vector<std::string> words;
  for (const std::string& word : split_at_space(sentence)) {
    const std::string bare(strip_punctuation(word));
    words.push_back(is_pronoun(bare) ? "<pronoun>" : lower_text(word));
  }
  return words;
}

size_t count_pronouns(const std::string& sentence) {
  const auto words = words_but_pronouns(sentence);
  return static_cast<size_t>(std::count(words.begin(), words.end(), "<pronoun>"));
}

// A sentence and whom its pronoun may mean.
struct Side {
  WinoBiasLine line;
  size_t num_named = 0;                  // occupations in the sentence
  std::vector<std::string> occupations;  // the bracketed person and one other, in the order in which they occur
  int64_t gold = 0;                      // place of the bracketed person among them
};

Side side_of(const WinoBiasLine& line, const std::vector<std::string>& all_occupations, const std::string& path) {
  const auto names = occupations_in(line.sentence, all_occupations);
  const std::string entity = lower_text(line.entity);
  Side side{line, names.size(), names, 0};
  if (names.size() > 2) {
    const auto other = std::find_if(names.begin(), names.end(), [&](const auto& name) { return name != entity; });
    std::erase_if(side.occupations, [&](const auto& name) { return name != entity && name != *other; });
  }
  const auto gold = std::find(side.occupations.begin(), side.occupations.end(), entity);
  if (side.occupations.size() != 2 || gold == side.occupations.end())
    throw FormatError(path, "line of number " + std::to_string(line.number),
                      "the sentence does not name the bracketed person and another of the 40 occupations");
  side.gold = gold - side.occupations.begin();
  return side;
}

// Requests of one spelling: the two sentences, then for each its two occupations after the Winogender prompt.
void add_requests(const Side& pro, const Side& anti, bool tidy, std::vector<TextRequest>& requests) {
  const auto sentence = [&](const Side& side) { return tidy ? tidy_winobias(side.line.sentence) : side.line.sentence; };
  for (const Side* side : {&pro, &anti}) requests.push_back({"", sentence(*side), RequestKind::kLoglikelihood, tidy});
  for (const Side* side : {&pro, &anti})
    for (const auto& name : side->occupations)
      requests.push_back({winogender_prompt(sentence(*side), side->line.pronouns.front()), " " + name,
                          RequestKind::kLoglikelihood, tidy});
}

// Why the two lines are no minimal pair; "" where they are one.
std::string why_excluded(const WinoBiasLine& pro, const WinoBiasLine& anti) {
  if (lower_text(pro.entity) != lower_text(anti.entity)) return "the two lines are no partners: their persons differ";
  if (count_pronouns(pro.sentence) != count_pronouns(anti.sentence)) return "one of the lines has a pronoun too many";
  if (words_but_pronouns(pro.sentence) != words_but_pronouns(anti.sentence))
    return "the two lines differ in more than pronouns";
  return "";
}

constexpr size_t kRequests = 6;  // of one spelling

LoadedTask load(const LoadOptions& options) {
  LoadedTask task;
  std::vector<std::string> occupations;
  for (const DataFile& wanted : {kFemale, kMale}) {
    LoadedFile file = load_data_file(wanted, options.data, options.accept_changed_data);
    int64_t num = 0;
    for_each_line(file.content, [&](std::string_view line, size_t) {
      if (!strip(line).empty()) occupations.push_back(lower_text(strip(line))), ++num;
    });
    file.content.clear();
    check_num_records(file, wanted, num, options.accept_changed_data);
    task.files.push_back(std::move(file));
  }
  for (const Part& part : kParts) {
    const DataFile pro_file = part_file(part.pro), anti_file = part_file(part.anti);
    const bool here = locate(pro_file, options.data) && locate(anti_file, options.data);
    if (!here) {
      for (const DataFile& file : {pro_file, anti_file})
        if (!locate(file, options.data)) task.missing.push_back(file.path);
      continue;
    }
    const auto pros = read_lines(pro_file, options, task), antis = read_lines(anti_file, options, task);
    if (pros.size() != antis.size())
      throw FormatError(
          task.files.back().path, "",
          std::to_string(antis.size()) + " lines, but its partner file has " + std::to_string(pros.size()));
    for (size_t i = 0; i < pros.size(); ++i) {
      const std::string pro_path = task.files[task.files.size() - 2].path, anti_path = task.files.back().path;
      const Side pro = side_of(pros[i], occupations, pro_path), anti = side_of(antis[i], occupations, anti_path);
      Document document;
      document.doc_id = static_cast<int64_t>(task.documents.size());
      document.item = std::string(part.type) + "_" + part.split + "_" + std::to_string(pro.line.number);
      document.doc = {{"type", part.type},
                      {"split", part.split},
                      {"number", pro.line.number},
                      {"pro", pro.line.sentence},
                      {"anti", anti.line.sentence},
                      {"entity", pro.line.entity},
                      {"anti_entity", anti.line.entity},
                      {"pro_pronouns", pro.line.pronouns},
                      {"anti_pronouns", anti.line.pronouns},
                      {"occupations", pro.occupations},
                      {"anti_occupations", anti.occupations}};
      document.target = pro.line.entity;
      document.axis = part.type;
      std::vector<std::string> sorted = pro.occupations;
      std::sort(sorted.begin(), sorted.end());
      document.cluster = sorted[0] + "/" + sorted[1];
      const std::string excluded = why_excluded(pro.line, anti.line);
      document.flags = {{"split", part.split},
                        {"gold", pro.gold},
                        {"anti_gold", anti.gold},
                        {"partners", lower_text(pro.line.entity) == lower_text(anti.line.entity)},
                        {"same_words", words_but_pronouns(pro.line.sentence) == words_but_pronouns(anti.line.sentence)},
                        {"num_occupations", pro.num_named},
                        {"num_pronouns", pro.line.pronouns.size()},
                        {"excluded", excluded.empty() ? OrderedJson(nullptr) : OrderedJson(excluded)}};
      add_requests(pro, anti, false, document.requests);
      document.pair = {0, 1};
      if (options.extra_requests) {  // tidied sentences are the ones to study
        document.pair = {kRequests, kRequests + 1};
        add_requests(pro, anti, true, document.requests);
      }
      task.documents.push_back(std::move(document));
    }
  }
  if (task.documents.empty())
    load_data_file(part_file(kParts[0].pro), options.data, false);  // says where it was looked for
  if (!task.missing.empty()) {
    std::string note = "these files (and their partners) are not there and not in any number: ";
    for (size_t i = 0; i < task.missing.size(); ++i) note += (i == 0 ? "" : ", ") + task.missing[i];
    task.notes.push_back(note);
  }
  return task;
}

// What one spelling of a pair says.
struct Outcome {
  double difference = 0;  // ll(pro) - ll(anti), nats
  double acc_pro = 0, acc_anti = 0;
};

Outcome outcome(const Document& document, std::span<const RequestResult> results, bool fair) {
  const std::span<const RequestResult> own = results.subspan(fair ? kRequests : 0, kRequests);
  const auto acc = [&](size_t begin, const char* occupations, const char* gold) {
    const auto names = document.doc.at(occupations).get<std::vector<std::string>>();
    const std::vector<int64_t> right{document.flags.at(gold).get<int64_t>()};
    const ChoiceMetrics metrics =
        choice_metrics({{own[begin].logprob_nats, own[begin + 1].logprob_nats}, names, {}, {}}, right);
    return fair ? metrics.acc_fair_ties : metrics.acc;
  };
  return {own[0].logprob_nats - own[1].logprob_nats, acc(2, "occupations", "gold"),
          acc(4, "anti_occupations", "anti_gold")};
}

std::vector<MetricValue> score(const Document& document, std::span<const RequestResult> results) {
  check_result_count(document, results);
  const Outcome plain = outcome(document, results, false);
  std::vector<MetricValue> values{{"association_diff", plain.difference, ""},
                                  {"pct_pro", plain.difference > 0 ? 1.0 : 0.0, ""},
                                  {"acc_pro", plain.acc_pro, ""},
                                  {"acc_anti", plain.acc_anti, ""},
                                  {"acc_gap", plain.acc_pro - plain.acc_anti, ""}};
  if (results.size() < 2 * kRequests) return values;
  const Outcome fair = outcome(document, results, true);
  const auto& excluded = document.flags.at("excluded");
  const auto add = [&](const char* name, double value, bool pairwise) {
    if (pairwise && excluded.is_string()) values.push_back({name, std::nullopt, excluded.get<std::string>()});
    else values.push_back({name, value, ""});
  };
  add("fare_association_diff", fair.difference, true);
  add("fare_pct_pro", fair.difference > 0 ? 1 : fair.difference < 0 ? 0 : 0.5, true);
  add("fare_acc_pro", fair.acc_pro, false);
  add("fare_acc_anti", fair.acc_anti, false);
  add("fare_acc_gap", fair.acc_pro - fair.acc_anti, false);
  return values;
}

// The fair means per type and split.
OrderedJson tables(std::span<const Document> documents, std::span<const std::vector<RequestResult>> results) {
  FARE_CHECK(documents.size() == results.size(), "one list of results per document");
  struct Sum {
    double total = 0;
    int64_t n = 0;
  };
  std::map<std::string, std::map<std::string, Sum>> groups;
  int64_t num_excluded = 0;
  for (size_t d = 0; d < documents.size(); ++d) {
    num_excluded += documents[d].flags.at("excluded").is_string() ? 1 : 0;
    for (const auto& metric : score(documents[d], results[d])) {
      if (!is_fair_metric(metric.name) || !metric.value) continue;
      for (const std::string& group :
           {documents[d].axis, documents[d].axis + "_" + documents[d].flags.at("split").get<std::string>()}) {
        groups[group][metric.name].total += *metric.value;
        ++groups[group][metric.name].n;
      }
    }
  }
  OrderedJson rows = OrderedJson::array();
  for (const auto& [group, metrics] : groups)
    for (const auto& [name, sum] : metrics)
      rows.push_back(
          {{"group", group}, {"metric", name}, {"n", sum.n}, {"value", sum.total / static_cast<double>(sum.n)}});
  return {{"groups", rows}, {"num_excluded", num_excluded}};
}

}  // namespace

std::optional<WinoBiasLine> parse_winobias_line(std::string_view line) {
  const std::string_view text = strip(line);
  size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') ++digits;
  if (digits == 0 || digits > 9 || digits == text.size() || text[digits] != ' ') return std::nullopt;
  WinoBiasLine parsed;
  parsed.number = std::stoll(std::string(text.substr(0, digits)));
  std::string_view rest = text.substr(digits + 1);
  bool inside = false;
  std::string bracketed;
  for (const char c : rest) {
    if (c == '[') {
      if (inside) return std::nullopt;
      inside = true;
      bracketed.clear();
    } else if (c == ']') {
      if (!inside) return std::nullopt;
      inside = false;
      const std::string content(strip(bracketed));
      if (is_pronoun(content)) {
        parsed.pronouns.push_back(content);
      } else {
        if (!parsed.entity.empty()) return std::nullopt;
        parsed.entity = content;
        for (const char* article : {"the ", "a ", "an "})
          if (lower_text(content).rfind(article, 0) == 0) parsed.entity = content.substr(std::string(article).size());
      }
    } else {
      parsed.sentence += c;
      if (inside) bracketed += c;
    }
  }
  if (inside || parsed.entity.empty() || parsed.pronouns.empty()) return std::nullopt;
  return parsed;
}

std::vector<std::string> occupations_in(const std::string& sentence, const std::vector<std::string>& occupations) {
  const std::string lower = lower_text(sentence);
  const auto is_letter = [&](size_t at) {
    return at < lower.size() && std::isalpha(static_cast<unsigned char>(lower[at])) != 0;
  };
  std::map<size_t, std::string> found;  // by place
  for (const std::string& name : occupations) {
    const size_t at = lower.find(name);
    for (size_t place = at; place != std::string::npos; place = lower.find(name, place + 1)) {
      if ((place > 0 && is_letter(place - 1)) || is_letter(place + name.size())) continue;
      found.emplace(place, name);
      break;
    }
  }
  std::vector<std::string> names;
  for (const auto& [place, name] : found) names.push_back(name);
  return names;
}

std::string tidy_winobias(const std::string& sentence) {
  std::string out;
  for (size_t i = 0; i < sentence.size(); ++i) {
    if (sentence[i] == ' ' && (sentence.compare(i, 3, " 's") == 0 || (!out.empty() && out.back() == ' '))) continue;
    out += sentence[i];
  }
  return out;
}

Task fare_winobias() {
  Task task;
  TaskInfo& info = task.info;
  info.name = "fare_winobias";
  info.title =
      "WinoBias for causal models: which of two sentences is likelier, and whom the pronoun refers to (1,584 pairs)";
  info.licence = "MIT";
  info.source = "Zhao et al. 2018; uclanlp/corefBias, commit 0bce984dd081";
  for (const Part& part : kParts)
    for (const PartFile* file : {&part.pro, &part.anti}) info.files.push_back(part_file(*file));
  info.files.push_back(kFemale);
  info.files.push_back(kMale);
  info.any_file = true;
  for (const auto profile : {Profile::kCompat, Profile::kFair}) {
    const bool fair = profile == Profile::kFair;
    const std::string prefix = fair ? "fare_" : "";
    const std::string how = fair ? "; spaces tidied" : "; sentences as in the file";
    const auto add = [&](const char* name, std::optional<bool> higher, const std::string& meaning) {
      info.metrics.push_back({prefix + name, profile, higher, meaning + how});
    };
    add("association_diff", std::nullopt, "mean of ll(pro) - ll(anti), nats");
    add("pct_pro", std::nullopt,
        fair ? "share of pairs whose pro sentence is likelier; a tie counts one half; pairs that are no minimal pairs "
               "left out"
             : "share of pairs whose pro sentence is likelier; a tie counts 0");
    add("acc_pro", true, "share of pro sentences whose pronoun goes to the right person");
    add("acc_anti", true, "share of anti sentences whose pronoun goes to the right person");
    add("acc_gap", std::nullopt, "accuracy on pro minus accuracy on anti sentences; neutral at 0");
  }
  info.config = harness_config(info, {"uclanlp/corefBias",
                                      {},
                                      "test",
                                      "",
                                      "entity",
                                      "pro, anti, then both occupations after each",
                                      "",
                                      "multiple_choice"});
  task.load = load;
  task.score = score;
  task.summarise = tables;
  return task;
}

}  // namespace fare
