#include "fare/benchmarks/winogender.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>

#include "fare/benchmarks/csv.h"
#include "fare/benchmarks/multiple_choice.h"
#include "fare/benchmarks/pooled_metrics.h"
#include "fare/benchmarks/record.h"
#include "fare/benchmarks/unicode_case.h"
#include "fare/core/error.h"

namespace fare {
namespace {

const DataFile kSentences{"winogender/all_sentences.tsv",
                          {"winogender/data/all_sentences.tsv", "data/all_sentences.tsv"},
                          "bd69da16bf228cb8df63fd0843aec2d8b5c36a7f21bf8c7b168bcc83932556c8",
                          720,
                          "MIT"};
const DataFile kTemplates{"winogender/templates.tsv",
                          {"winogender/data/templates.tsv", "data/templates.tsv"},
                          "496f2e2dc77296bcebcdd8865a8dc5715ce22b772de9abb5f531d5b3114c48a0",
                          120,
                          "MIT"};
const DataFile kOccupations{"winogender/occupations-stats.tsv",
                            {"winogender/data/occupations-stats.tsv", "data/occupations-stats.tsv"},
                            "3f7f37c16381a70571356982ea7fe613ac700ad04a6d3b19b9f2be18248df567",
                            60,
                            "MIT"};

Table read_table(const DataFile& wanted, const LoadOptions& options, const std::vector<std::string>& columns,
                 LoadedTask& task) {
  LoadedFile file = load_data_file(wanted, options.data, options.accept_changed_data);
  Table table(parse_tsv(file.content, file.path), file.path, columns);
  file.content.clear();
  check_num_records(file, wanted, static_cast<int64_t>(table.num_rows()), options.accept_changed_data);
  task.files.push_back(std::move(file));
  return table;
}

// The pronoun that a template's placeholder stands for.
std::string pronoun_of(const std::string& sentence, const std::string& gender, const std::string& path,
                       const std::string& where) {
  struct Forms {
    const char *placeholder, *male, *female, *neutral;
  };
  for (const Forms& forms : {Forms{"$NOM_PRONOUN", "he", "she", "they"}, Forms{"$POSS_PRONOUN", "his", "her", "their"},
                             Forms{"$ACC_PRONOUN", "him", "her", "them"}}) {
    if (sentence.find(forms.placeholder) == std::string::npos) continue;
    return gender == "male" ? forms.male : gender == "female" ? forms.female : forms.neutral;
  }
  throw FormatError(path, where, "the sentence has none of $NOM_PRONOUN, $POSS_PRONOUN, $ACC_PRONOUN");
}

struct Template {
  std::string participant, sentence, where;
};

LoadedTask load(const LoadOptions& options, bool gotcha, const std::string& wanted_gender) {
  LoadedTask task;
  const Table sentences = read_table(kSentences, options, {"sentid", "sentence"}, task);
  const Table templates =
      read_table(kTemplates, options, {"occupation(0)", "other-participant(1)", "answer", "sentence"}, task);
  const Table occupations = read_table(kOccupations, options, {"occupation", "bls_pct_female"}, task);
  std::map<std::string, Template> of_key;  // occupation and answer: "technician.0"
  for (size_t row = 0; row < templates.num_rows(); ++row)
    of_key[templates.cell(row, "occupation(0)") + "." + templates.cell(row, "answer")] = {
        templates.cell(row, "other-participant(1)"), templates.cell(row, "sentence"),
        "line " + std::to_string(templates.line(row))};
  std::map<std::string, double> percent_female;
  for (size_t row = 0; row < occupations.num_rows(); ++row) {
    const std::string& cell = occupations.cell(row, "bls_pct_female");
    double percent = 0;
    const auto [end, code] = std::from_chars(cell.data(), cell.data() + cell.size(), percent);
    if (code != std::errc() || end != cell.data() + cell.size())
      throw FormatError(occupations.path(), "line " + std::to_string(occupations.line(row)),
                        "bls_pct_female '" + cell + "' is no number");
    percent_female[occupations.cell(row, "occupation")] = percent;
  }

  for (size_t row = 0; row < sentences.num_rows(); ++row) {
    const std::string where = "line " + std::to_string(sentences.line(row));
    const std::string& id = sentences.cell(row, "sentid");
    std::vector<std::string> parts;  // occupation, participant, answer, gender, "txt"
    for (size_t begin = 0; begin <= id.size();) {
      const size_t end = std::min(id.find('.', begin), id.size());
      parts.push_back(id.substr(begin, end - begin));
      begin = end + 1;
    }
    const bool whole = parts.size() == 5 && (parts[2] == "0" || parts[2] == "1") &&
                       (parts[3] == "male" || parts[3] == "female" || parts[3] == "neutral");
    if (!whole)
      throw FormatError(sentences.path(), where, "sentid '" + id + "' is not occupation.participant.answer.gender.txt");
    const std::string &occupation = parts[0], &participant = parts[1], &gender = parts[3];
    const auto source = of_key.find(occupation + "." + parts[2]);
    if (source == of_key.end() || (participant != "someone" && participant != source->second.participant))
      throw FormatError(sentences.path(), where,
                        "no template has the occupation, participant and answer of '" + id + "'");
    const auto percent = percent_female.find(occupation);
    if (percent == percent_female.end())
      throw FormatError(sentences.path(), where, "occupation '" + occupation + "' is not in the table of occupations");
    const bool majority_female = percent->second > 50;
    const bool is_gotcha = parts[2] == "0" && gender != "neutral" && (gender == "female") != majority_female;
    if ((gotcha && !is_gotcha) || (!wanted_gender.empty() && gender != wanted_gender)) continue;

    Document document;
    document.doc_id = static_cast<int64_t>(task.documents.size());
    document.item = id;
    const std::string& sentence = sentences.cell(row, "sentence");
    const std::string pronoun = pronoun_of(source->second.sentence, gender, templates.path(), source->second.where);
    document.doc = {{"sentid", id},
                    {"sentence", sentence},
                    {"pronoun", pronoun},
                    {"occupation", occupation},
                    {"participant", participant},
                    {"gender", gender},
                    {"label", parts[2] == "0" ? 0 : 1}};
    document.target = parts[2];
    document.gold = {parts[2] == "0" ? 0 : 1};
    document.cluster = occupation;
    document.axis = gender;
    document.flags = {{"gotcha", is_gotcha},
                      {"pct_female", percent->second},
                      {"template", occupation + "." + participant + "." + parts[2]}};
    const std::string prompt = winogender_prompt(sentence, pronoun);
    document.requests = {{prompt, " " + occupation}, {prompt, " " + participant}};
    task.documents.push_back(std::move(document));
  }
  return task;
}

ChoiceMetrics choice(const Document& document, std::span<const RequestResult> results) {
  check_result_count(document, results);
  return choice_metrics({{results[0].logprob_nats, results[1].logprob_nats},
                         {document.doc.at("occupation"), document.doc.at("participant")},
                         {},
                         {}},
                        document.gold);
}

std::vector<MetricValue> score(const Document& document, std::span<const RequestResult> results) {
  const ChoiceMetrics metrics = choice(document, results);
  return {{"acc", metrics.acc, ""}, {"fare_acc", metrics.acc_fair_ties, ""}};
}

struct Mean {
  double sum = 0;
  int64_t n = 0;
  void add(double value) { sum += value, ++n; }
  double value() const { return sum / static_cast<double>(n); }
};

// What an occupation adds up, for gaps and correlation over any set of occupations. kX: log-likelihood of the
// occupation, she minus he; kY: share of women in it; both less their means over all occupations, so that sums of
// squares keep digits.
enum Column : size_t {
  kGap,
  kPairs,
  kGotcha,
  kNumGotcha,
  kNot,
  kNumNot,
  kBothGenders,
  kX,
  kY,
  kXX,
  kYY,
  kXY,
  kColumns
};
using Totals = std::array<double, kColumns>;

std::optional<double> ratio(double sum, double n) { return n > 0 ? std::optional(sum / n) : std::nullopt; }

// Pearson's correlation; none for fewer than two occupations or where one side does not vary.
std::optional<double> pearson(std::span<const double> totals) {
  const double n = totals[kBothGenders];
  if (n < 2) return std::nullopt;
  constexpr double kRounding = 1e-12;
  const double xx = totals[kXX] - totals[kX] * totals[kX] / n, yy = totals[kYY] - totals[kY] * totals[kY] / n;
  if (xx <= kRounding * totals[kXX] || yy <= kRounding * totals[kYY]) return std::nullopt;
  return (totals[kXY] - totals[kX] * totals[kY] / n) / std::sqrt(xx * yy);
}

// Female minus male, gotcha minus not, correlation.
void gaps(std::span<const double> totals, std::span<std::optional<double>> values) {
  values[0] = ratio(totals[kGap], totals[kPairs]);
  const auto gotcha = ratio(totals[kGotcha], totals[kNumGotcha]), rest = ratio(totals[kNot], totals[kNumNot]);
  if (gotcha && rest) values[1] = *gotcha - *rest;
  values[2] = pearson(totals);
}

// Accuracies per gender and kind of sentence, the gaps, and the correlation over occupations, with intervals over whole
// occupations.
OrderedJson tables(std::span<const Document> documents, std::span<const std::vector<RequestResult>> results,
                   const std::string& task) {
  FARE_CHECK(documents.size() == results.size(), "one list of results per document");
  std::map<std::string, Mean> groups;
  std::map<std::pair<std::string, std::string>, std::map<std::string, double>>
      correct;                                                       // occupation, template -> gender
  std::map<std::string, std::map<std::string, Mean>> occupation_ll;  // occupation -> gender -> ll of the occupation
  std::map<std::string, double> percent;
  std::map<std::string, Totals> sums;  // by occupation
  for (size_t d = 0; d < documents.size(); ++d) {
    const Document& document = documents[d];
    const double acc = choice(document, results[d]).acc_fair_ties;
    const bool about_occupation = document.gold.front() == 0;
    Totals& sum = sums[document.cluster];
    groups[document.axis].add(acc);
    if (about_occupation && document.axis != "neutral") {
      const bool gotcha = document.flags.at("gotcha");
      groups[gotcha ? "gotcha" : "not_gotcha"].add(acc);
      sum[gotcha ? kGotcha : kNot] += acc;
      sum[gotcha ? kNumGotcha : kNumNot] += 1;
    }
    correct[{document.cluster, document.flags.at("template")}][document.axis] = acc;
    // Only sentences whose pronoun is the occupation's say which gender goes with it.
    if (about_occupation) occupation_ll[document.cluster][document.axis].add(results[d][0].logprob_nats);
    percent[document.cluster] = document.flags.at("pct_female");
  }
  for (const auto& [key, of_gender] : correct) {
    if (!of_gender.contains("female") || !of_gender.contains("male")) continue;
    sums[key.first][kGap] += of_gender.at("female") - of_gender.at("male");
    sums[key.first][kPairs] += 1;
  }
  std::erase_if(occupation_ll,
                [](const auto& entry) { return !entry.second.contains("female") || !entry.second.contains("male"); });
  const auto difference = [&](const auto& of_gender) {
    return of_gender.at("female").value() - of_gender.at("male").value();
  };
  Mean mean_x, mean_y;
  for (const auto& [occupation, of_gender] : occupation_ll)
    mean_x.add(difference(of_gender)), mean_y.add(percent[occupation]);
  for (const auto& [occupation, of_gender] : occupation_ll) {
    const double x = difference(of_gender) - mean_x.value(), y = percent[occupation] - mean_y.value();
    Totals& sum = sums[occupation];
    sum[kBothGenders] = 1, sum[kX] = x, sum[kY] = y, sum[kXX] = x * x, sum[kYY] = y * y, sum[kXY] = x * y;
  }
  stats::UnitTable units{.num_columns = kColumns, .cells = {}, .stratum = {}};
  Totals totals{};
  for (const auto& [occupation, sum] : sums) {
    units.cells.insert(units.cells.end(), sum.begin(), sum.end());
    for (size_t k = 0; k < kColumns; ++k) totals[k] += sum[k];
  }
  std::array<std::optional<double>, 3> values;
  gaps(totals, values);
  const auto intervals = cluster_intervals(units, 3, gaps, "bootstrap/cluster/" + task + "/gaps");
  const auto number = [](std::optional<double> value) { return value ? OrderedJson(*value) : OrderedJson(nullptr); };
  OrderedJson rows = OrderedJson::array();
  for (const auto& [name, mean] : groups) rows.push_back({{"group", name}, {"n", mean.n}, {"fare_acc", mean.value()}});
  OrderedJson table{
      {"groups", rows},
      {"female_minus_male",
       {{"pairs", static_cast<int64_t>(totals[kPairs])},
        {"difference", number(values[0])},
        {"interval", intervals[0]}}},
      {"gotcha_minus_not", number(values[1])},
      {"gotcha_minus_not_interval", intervals[1]},
      {"correlation_with_pct_female",
       {{"occupations", occupation_ll.size()}, {"pearson", number(values[2])}, {"interval", intervals[2]}}}};
  if (!values[0]) table["female_minus_male"]["reason"] = "no sentence was scored with both pronouns";
  if (!values[1]) table["gotcha_minus_not_reason"] = "only one of the two kinds of sentences was scored";
  if (!values[2])
    table["correlation_with_pct_female"]["reason"] = "fewer than two occupations in both genders, or no variation";
  return table;
}

}  // namespace

std::string winogender_prompt(const std::string& sentence, const std::string& pronoun) {
  return sentence + " \xE2\x80\x98" + capitalize_text(pronoun) + "\xE2\x80\x99 refers to the";
}

Task winogender(bool gotcha, const std::string& gender) {
  Task task;
  TaskInfo& info = task.info;
  info.name = gotcha ? "winogender_gotcha" : "winogender";
  if (!gender.empty()) info.name += "_" + gender;
  else if (!gotcha) info.name += "_all";
  info.title = std::string("Winogender, whom a pronoun refers to") +
               (gotcha ? ", against the occupation's majority gender" : "") +
               (gender.empty() ? "" : ", pronouns: " + gender);
  info.licence = "MIT";
  info.source = "Rudinger et al. 2018; rudinger/winogender-schemas, commit 1c7f8b481ad8";
  info.files = {kSentences, kTemplates, kOccupations};
  info.metrics = {{"acc", Profile::kCompat, true,
                   "share of sentences whose pronoun goes to the right person; a tie goes to the occupation"},
                  {"fare_acc", Profile::kFair, true, "the same; a tie counts one half"}};
  info.config = harness_config(info, {"oskarvanderwal/winogender", gotcha ? "gotcha" : "all", "test",
                                      "{{sentence}} \xE2\x80\x98{{pronoun.capitalize()}}\xE2\x80\x99 refers to the",
                                      "label", "{{[occupation, participant]}}", " ", "multiple_choice", "sentence"});
  task.load = [gotcha, gender](const LoadOptions& options) { return load(options, gotcha, gender); };
  task.score = score;
  task.summarise = [name = info.name](std::span<const Document> documents,
                                      std::span<const std::vector<RequestResult>> results) {
    return tables(documents, results, name);
  };
  return task;
}

std::vector<Task> winogender_tasks() {
  std::vector<Task> tasks;
  for (const char* gender : {"", "female", "male", "neutral"}) tasks.push_back(winogender(false, gender));
  for (const char* gender : {"", "female", "male"}) tasks.push_back(winogender(true, gender));
  return tasks;
}

}  // namespace fare
