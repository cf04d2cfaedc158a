#include "fare/benchmarks/perplexity.h"

#include <algorithm>
#include <cmath>

#include "fare/benchmarks/csv.h"
#include "fare/benchmarks/record.h"
#include "fare/benchmarks/unicode_text.h"
#include "fare/core/error.h"
#include "fare/core/file.h"

namespace fare {
namespace {

const DataFile kWiki{"lm-text/wikitext103_test.csv",
                     {},
                     "752892158bef3400c1a185999bf986f60783656c8b44d883f3b015e6b6ea6fa8",
                     56,
                     "CC BY-SA 4.0"};
const DataFile kC4{
    "lm-text/c4_texts.txt", {}, "ee2fb5542e72c3b6979b362f41182d2dd043549912b32fe1438685bc16c563e3", 7520, "ODC-BY"};
constexpr size_t kLinesPerText = 64;  // the web text does not say where documents end

// From each `open` to the next `close`: the white space just inside is removed. `open` may equal `close`.
void trim_inside(std::string& text, char open, char close) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const size_t end = text[i] == open ? text.find(close, i + 1) : std::string::npos;
    if (end == std::string::npos) {
      out += text[i++];
      continue;
    }
    (out += open).append(strip(std::string_view(text).substr(i + 1, end - i - 1))) += close;
    i = end + 1;
  }
  text = std::move(out);
}

Document text_document(const std::string& page, const std::string& text, size_t index) {
  Document document;
  document.doc_id = static_cast<int64_t>(index);
  document.item = std::to_string(index);
  document.doc = {{"page", page}};
  document.target = text;
  document.cluster = document.item;
  document.flags = {{"num_words", count_wikitext_words(page)}, {"num_bytes", page.size()}};
  document.requests = {{"", text, RequestKind::kRolling}};
  return document;
}

LoadedTask load_wiki(const LoadOptions& options) {
  LoadedTask task;
  LoadedFile file = load_data_file(kWiki, options.data, options.accept_changed_data);
  for (const CsvRecord& record : parse_csv(file.content, file.path)) {
    const std::string where = "line " + std::to_string(record.line);
    if (record.cells.size() != 1) throw FormatError(file.path, where, "expected one column, the text of a page");
    if (strip(record.cells[0]).empty()) throw FormatError(file.path, where, "the page is empty");
    task.documents.push_back(
        text_document(record.cells[0], wikitext_detokenized(record.cells[0]), task.documents.size()));
  }
  file.content.clear();
  check_num_records(file, kWiki, static_cast<int64_t>(task.documents.size()), options.accept_changed_data);
  task.files.push_back(std::move(file));
  return task;
}

LoadedTask load_c4(const LoadOptions& options) {
  LoadedTask task;
  LoadedFile file = load_data_file(kC4, options.data, options.accept_changed_data);
  std::string text;
  int64_t num_lines = 0;
  const auto add = [&] {
    if (!strip(text).empty()) task.documents.push_back(text_document(text, text, task.documents.size()));
    text.clear();
  };
  for_each_line(file.content, [&](std::string_view line, size_t) {
    (text += line) += '\n';
    if (static_cast<size_t>(++num_lines) % kLinesPerText == 0) add();
  });
  add();
  file.content.clear();
  check_num_records(file, kC4, num_lines, options.accept_changed_data);
  task.files.push_back(std::move(file));
  task.notes.push_back("the file does not mark where documents end; a text is " + std::to_string(kLinesPerText) +
                       " of its lines");
  return task;
}

std::vector<MetricValue> score(const Document& document, std::span<const RequestResult> results) {
  check_result_count(document, results);
  const double ll = results[0].logprob_nats;
  const int64_t words = document.flags.at("num_words"), bytes = document.flags.at("num_bytes");
  std::vector<MetricValue> values;
  const auto add = [&](const char* name, int64_t count) {
    values.push_back({name, std::nullopt, "", "none", OrderedJson::array({ll, count})});
  };
  add("word_perplexity", words);
  add("byte_perplexity", bytes);
  add("bits_per_byte", bytes);
  values.push_back({"fare_nats_per_byte", -ll / static_cast<double>(bytes), ""});
  return values;
}

std::vector<double> row(const Document& document, std::span<const RequestResult> results) {
  return {results[0].logprob_nats, document.flags.at("num_words").get<double>(),
          document.flags.at("num_bytes").get<double>()};
}

std::vector<MetricValue> pooled(std::span<const double> totals) {
  const auto found = perplexities(totals[0], totals[1], totals[2]);
  std::vector<MetricValue> values;
  for (const bool fair : {false, true}) {
    const auto add = [&](const char* name, double Perplexities::*member) {
      if (found) values.push_back({(fair ? "fare_" : "") + std::string(name), (*found).*member, ""});
      else if (fair) values.push_back({"fare_" + std::string(name), std::nullopt, "the texts hold no word"});
      else values.push_back({name, std::nan(""), ""});
    };
    add("word_perplexity", &Perplexities::word_perplexity);
    add("byte_perplexity", &Perplexities::byte_perplexity);
    add("bits_per_byte", &Perplexities::bits_per_byte);
  }
  return values;
}

Task make_task(const char* name, const char* title, const DataFile& file, const char* source,
               LoadedTask (*load)(const LoadOptions&)) {
  Task task;
  TaskInfo& info = task.info;
  info.name = name;
  info.title = title;
  info.licence = file.licence;
  info.source = source;
  info.files = {file};
  for (const auto profile : {Profile::kCompat, Profile::kFair}) {
    const bool fair = profile == Profile::kFair;
    const std::string how = fair ? "; without the tokenizer's own first token" : "";
    const auto add = [&](const char* metric, const std::string& meaning) {
      info.metrics.push_back(
          {(fair ? "fare_" : "") + std::string(metric), profile, false, meaning + how, "none", true});
    };
    add("word_perplexity", "exp of the mean negative log-likelihood per word of the page");
    add("byte_perplexity", "exp of the mean negative log-likelihood per byte of the page");
    add("bits_per_byte", "mean negative log2-likelihood per byte of the page");
  }
  info.metrics.push_back(
      {"fare_nats_per_byte", Profile::kFair, false,
       "mean over texts of the negative log-likelihood per byte: what interventions are compared by"});
  ConfigFields fields{file.path, {}, "test", "", "{{page}}"};
  fields.output_type = "loglikelihood_rolling";
  fields.decontamination_query = "{{page}}";
  info.config = harness_config(info, fields);
  task.load = load;
  task.score = score;
  task.pooled = PooledMetrics{row, nullptr, pooled};
  return task;
}

}  // namespace

std::string wikitext_detokenized(std::string page) {
  for (const auto& [from, to] : {std::pair{"s '", "s'"},
                                 {" @-@ ", "-"},
                                 {" @,@ ", ","},
                                 {" @.@ ", "."},
                                 {" : ", ": "},
                                 {" ; ", "; "},
                                 {" . ", ". "},
                                 {" ! ", "! "},
                                 {" ? ", "? "},
                                 {" , ", ", "}})
    page = replaced(page, from, to);
  for (const auto& [open, close] : {std::pair{'(', ')'}, {'[', ']'}, {'{', '}'}, {'"', '"'}, {'\'', '\''}})
    trim_inside(page, open, close);
  for (const auto& [from, to] : {std::pair{"= = = =", "===="},
                                 {"= = =", "==="},
                                 {"= =", "=="},
                                 {" \xC2\xB0 ", "\xC2\xB0"},
                                 {" \n", "\n"},
                                 {"\n ", "\n"},
                                 {" N ", " 1 "},
                                 {" 's", "'s"}})
    page = replaced(page, from, to);
  return page;
}

int64_t count_wikitext_words(const std::string& text) {
  int64_t pieces = 1;
  bool in_space = false;
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    at += point.num_bytes;
    const bool space = is_python_space(point.value);
    if (space && !in_space) ++pieces;
    in_space = space;
  }
  return pieces;
}

std::optional<Perplexities> perplexities(double sum_ll, double num_words, double num_bytes) {
  if (!(num_words > 0) || !(num_bytes > 0)) return std::nullopt;
  return Perplexities{std::exp(-sum_ll / num_words), std::exp(-sum_ll / num_bytes),
                      -sum_ll / (num_bytes * std::log(2.0))};
}

Task fare_wikitext103() {
  return make_task("fare_wikitext103", "Perplexity of 56 encyclopaedia pages; not the published WikiText-2 test set",
                   kWiki, "Merity et al. 2016; pages as in kamanphoebe/Look-into-MoEs, commit f53d24b88e30", load_wiki);
}

Task fare_c4() {
  return make_task("fare_c4", "Perplexity of web text (306,159 words)", kC4,
                   "Raffel et al. 2020; texts as in allenai/OLMoE, commit 357454f4f647", load_c4);
}

}  // namespace fare
