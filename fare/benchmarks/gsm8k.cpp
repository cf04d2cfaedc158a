#include "fare/benchmarks/gsm8k.h"

#include <algorithm>
#include <charconv>

#include "fare/benchmarks/fewshot.h"
#include "fare/benchmarks/python_json.h"
#include "fare/benchmarks/record.h"
#include "fare/benchmarks/unicode_case.h"
#include "fare/benchmarks/unicode_text.h"
#include "fare/core/error.h"
#include "fare/core/file.h"

namespace fare {
namespace {

const DataFile kTest{"gsm8k/test.jsonl",
                     {"grade_school_math/data/test.jsonl"},
                     "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
                     1319,
                     "MIT"};
const DataFile kTrain{"gsm8k/train.jsonl",
                      {"grade_school_math/data/train.jsonl"},
                      "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
                      7473,
                      "MIT"};
constexpr char kInvalid[] = "[invalid]";
constexpr char kMarker[] = "#### ";
constexpr int kShots = 5;

struct Problem {
  std::string question, answer;
};

std::vector<Problem> read_problems(const DataFile& wanted, const LoadOptions& options, LoadedTask& task) {
  LoadedFile file = load_data_file(wanted, options.data, options.accept_changed_data);
  std::vector<Problem> problems;
  for_each_line(file.content, [&](std::string_view line, size_t number) {
    if (strip(line).empty()) return;
    const std::string where = "line " + std::to_string(number);
    const OrderedJson record = python_json_loads(line, file.path, where);
    if (!record.is_object()) throw FormatError(file.path, where, "expected an object");
    Problem problem{text_field(record, "question", file.path, where), text_field(record, "answer", file.path, where)};
    if (problem.answer.find(kMarker) == std::string::npos)
      throw FormatError(file.path, where, "the answer has no line '#### number'");
    problems.push_back(std::move(problem));
  });
  file.content.clear();
  check_num_records(file, wanted, static_cast<int64_t>(problems.size()), options.accept_changed_data);
  task.files.push_back(std::move(file));
  return problems;
}

std::string question_text(const Problem& problem) { return "Question: " + problem.question + "\nAnswer:"; }

OrderedJson generation_kwargs() {
  return {
      {"until", OrderedJson::array({"Question:", "</s>", "<|im_end|>"})}, {"do_sample", false}, {"temperature", 0.0}};
}

LoadedTask load(const LoadOptions& options) {
  LoadedTask task;
  const auto problems = read_problems(kTest, options, task);
  const auto shots = static_cast<size_t>(options.num_fewshot.value_or(kShots));
  std::vector<Problem> pool;
  if (shots > 0) pool = read_problems(kTrain, options, task);
  FewshotSampler sampler(pool.size());
  for (const Problem& problem : problems) {
    Document document;
    document.doc_id = static_cast<int64_t>(task.documents.size());
    document.item = std::to_string(document.doc_id);
    document.doc = {{"question", problem.question}, {"answer", problem.answer}};
    document.target = problem.answer;
    document.cluster = document.item;
    auto primer = std::make_shared<Primer>();
    if (shots > 0)
      for (const size_t i : sampler.draw(shots)) primer->add_example(question_text(pool[i]), pool[i].answer);
    document.primer = primer;
    document.requests = {
        {primer->text + question_text(problem), "", RequestKind::kGenerate, false, generation_kwargs()}};
    task.documents.push_back(std::move(document));
  }
  return task;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::vector<MetricValue> score(const Document& document, std::span<const RequestResult> results) {
  check_result_count(document, results);
  const std::string gold = gsm8k_normalised(document.target);
  std::vector<MetricValue> values;
  for (const auto& [filter, extract] :
       {std::pair{"strict-match", &gsm8k_strict}, std::pair{"flexible-extract", &gsm8k_flexible}}) {
    const std::string found = extract(results[0].text);
    values.push_back({"exact_match", gsm8k_normalised(found) == gold ? 1.0 : 0.0, "", filter});
    values.push_back({"fare_number_match",
                      gsm8k_numbers_equal(gsm8k_normalised(found), gold).value_or(false) ? 1.0 : 0.0, "", filter});
    values.push_back({"fare_invalid", found == kInvalid ? 1.0 : 0.0, "", filter});
  }
  return values;
}

}  // namespace

std::string gsm8k_strict(const std::string& text) {
  // "#### ", an optional minus, then at least one of 0-9 . ,
  for (size_t at = text.find(kMarker); at != std::string::npos; at = text.find(kMarker, at + 1)) {
    const size_t begin = at + 5;
    size_t end = begin + (begin < text.size() && text[begin] == '-' ? 1 : 0);
    const size_t number = end;
    while (end < text.size() && (is_digit(text[end]) || text[end] == '.' || text[end] == ',')) ++end;
    if (end > number) return text.substr(begin, end - begin);
  }
  return kInvalid;
}

std::string gsm8k_flexible(const std::string& text) {
  // An optional minus and at least two of $ 0-9 . , or else an optional minus and digits; matches do not overlap.
  std::string last = kInvalid;
  for (size_t at = 0; at < text.size();) {
    const size_t sign = text[at] == '-' ? 1 : 0;
    const auto run = [&](auto&& accepts) {
      size_t end = at + sign;
      while (end < text.size() && accepts(text[end])) ++end;
      return end;
    };
    const size_t wide = run([](char c) { return is_digit(c) || c == '$' || c == '.' || c == ','; });
    const size_t plain = run(is_digit);
    if (wide >= at + sign + 2) last = text.substr(at, wide - at), at = wide;
    else if (plain > at + sign) last = text.substr(at, plain - at), at = plain;
    else ++at;
  }
  return last;
}

std::string gsm8k_normalised(const std::string& text) {
  std::string out;
  for (const char c : text)
    if (c != ',' && c != '$') out += c;
  if (const size_t marker = out.rfind(kMarker); marker != std::string::npos) out = out.substr(marker + 5);
  // "\.$" also matches before a final line end.
  if (out.ends_with(".")) out.pop_back();
  else if (out.ends_with(".\n")) out.erase(out.size() - 2, 1);
  return lower_text(out);
}

std::optional<bool> gsm8k_numbers_equal(const std::string& a, const std::string& b) {
  const auto number = [](const std::string& text) -> std::optional<double> {
    double value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
    return value;
  };
  const auto x = number(a), y = number(b);
  if (!x || !y) return std::nullopt;
  return *x == *y;
}

Task gsm8k() {
  Task task;
  TaskInfo& info = task.info;
  info.name = "gsm8k";
  info.version = 3;
  info.title = "GSM8K, grade-school mathematics answered in words (1,319 problems)";
  info.licence = "MIT";
  info.source = "Cobbe et al. 2021; openai/grade-school-math, commit 3101c7d50724";
  info.files = {kTest, kTrain};
  info.num_fewshot = kShots;
  info.max_fewshot = kTrain.num_records;
  for (const char* filter : {"strict-match", "flexible-extract"}) {
    info.metrics.push_back(
        {"exact_match", Profile::kCompat, true, "share of problems whose extracted answer is the right text", filter});
    info.metrics.push_back({"fare_number_match", Profile::kFair, true,
                            "share of problems whose extracted answer is the right number", filter});
    info.metrics.push_back(
        {"fare_invalid", Profile::kFair, false, "share of texts in which the filter finds no answer", filter});
  }
  ConfigFields fields{"openai/gsm8k", "main", "test", "Question: {{question}}\nAnswer:", "{{answer}}"};
  fields.output_type = "generate_until";
  fields.generation_kwargs = generation_kwargs();
  info.config = harness_config(info, fields);
  info.config["metric_list"][0].update({{"ignore_case", true},
                                        {"ignore_punctuation", false},
                                        {"regexes_to_ignore", {",", "\\$", "(?s).*#### ", "\\.$"}}});
  info.config["training_split"] = "train";
  info.config["fewshot_split"] = "train";
  task.load = load;
  task.score = score;
  task.filters = {{"strict-match", gsm8k_strict}, {"flexible-extract", gsm8k_flexible}};
  return task;
}

}  // namespace fare
