#include "fare/benchmarks/mmlu.h"

#include <fmt/format.h>

#include <algorithm>

#include "fare/benchmarks/csv.h"
#include "fare/benchmarks/multiple_choice.h"
#include "fare/benchmarks/record.h"
#include "fare/benchmarks/unicode_text.h"
#include "fare/core/error.h"

namespace fare {
namespace {

constexpr const char* kLetters[] = {"A", "B", "C", "D"};
constexpr size_t kNumChoices = std::size(kLetters);
constexpr char kSource[] = "Hendrycks et al. 2021; as comma-separated files with a header and answers 0 to 3";

struct Question {
  std::string text;
  std::vector<std::string> choices;
  size_t answer = 0;
};

DataFile file_of(const MmluSubject& subject, const std::string& split, const char* sha256, int64_t num_records) {
  const std::string name = split + "/" + subject.name + "_" + split + ".csv";
  return {"mmlu/" + name, {"mmlu/data/" + name, "data/" + name}, sha256, num_records, "MIT"};
}

std::vector<Question> read_questions(const DataFile& wanted, const LoadOptions& options, LoadedTask& task) {
  LoadedFile file = load_data_file(wanted, options.data, options.accept_changed_data);
  const Table table(parse_csv(file.content, file.path), file.path,
                    {"question", "choice0", "choice1", "choice2", "choice3", "answer"});
  file.content.clear();
  check_num_records(file, wanted, static_cast<int64_t>(table.num_rows()), options.accept_changed_data);
  std::vector<Question> questions;
  for (size_t row = 0; row < table.num_rows(); ++row) {
    const std::string where = "line " + std::to_string(table.line(row));
    const std::string& answer = table.cell(row, "answer");
    if (answer.size() != 1 || answer[0] < '0' || answer[0] > '3')
      throw FormatError(file.path, where, "answer '" + answer + "' is not 0, 1, 2 or 3");
    Question question{table.cell(row, "question"), {}, static_cast<size_t>(answer[0] - '0')};
    if (strip(question.text).empty()) throw FormatError(file.path, where, "the question is empty");
    for (size_t k = 0; k < kNumChoices; ++k) question.choices.push_back(table.cell(row, "choice" + std::to_string(k)));
    questions.push_back(std::move(question));
  }
  task.files.push_back(std::move(file));
  return questions;
}

enum class Asked { kLetter, kText };

std::string description_of(const MmluSubject& subject, Asked asked) {
  std::string spoken = subject.name;
  std::replace(spoken.begin(), spoken.end(), '_', ' ');
  return fmt::format("The following are {}questions (with answers) about {}.\n\n",
                     asked == Asked::kLetter ? "multiple choice " : "", spoken);
}

std::string plain_question(const std::string& question) {
  return fmt::format("Question: {}\nAnswer:", strip(question));
}

LoadedTask load(const LoadOptions& options, const MmluSubject& subject, Asked asked) {
  LoadedTask task;
  const auto questions = read_questions(file_of(subject, "test", subject.test_sha256, subject.num_test), options, task);
  const auto primer = std::make_shared<Primer>();
  primer->describe(description_of(subject, asked));
  if (const int64_t shots = options.num_fewshot.value_or(0); shots > 0) {
    const auto examples = read_questions(file_of(subject, "dev", subject.dev_sha256, kMmluExamples), options, task);
    for (int64_t i = 0; i < std::min<int64_t>(shots, static_cast<int64_t>(examples.size())); ++i) {
      const Question& example = examples[static_cast<size_t>(i)];
      if (asked == Asked::kText) primer->add_example(plain_question(example.text), example.choices[example.answer]);
      else primer->add_example(mmlu_question(example.text, example.choices, 0), kLetters[example.answer]);
    }
  }
  Duplicates duplicates;
  for (const Question& question : questions) {
    Document document;
    document.doc_id = static_cast<int64_t>(task.documents.size());
    document.item = std::to_string(document.doc_id);
    document.doc = {{"question", question.text},
                    {"subject", subject.name},
                    {"choices", question.choices},
                    {"answer", question.answer}};
    document.target = std::to_string(question.answer);
    document.gold = {static_cast<int64_t>(question.answer)};
    document.cluster =
        document.item;  // within a subject questions stand for themselves; over subjects the subject is the cluster
    document.axis = subject.name;
    document.primer = primer;
    std::string content = question.text;
    for (const auto& choice : question.choices) content += "\n" + choice;
    document.flags = {{"duplicate_of", duplicates.seen_before(content, document.item)}};
    if (asked == Asked::kText)
      for (const auto& choice : question.choices)
        document.requests.push_back({primer->text + plain_question(question.text), " " + choice});
    const size_t num_rotations = asked == Asked::kText ? 0 : options.extra_requests ? kNumChoices : 1;
    for (size_t rotation = 0; rotation < num_rotations; ++rotation) {
      const std::string context = primer->text + mmlu_question(question.text, question.choices, rotation);
      for (const char* letter : kLetters)
        document.requests.push_back(
            {context, std::string(" ") + letter, RequestKind::kLoglikelihood, /*extra=*/rotation > 0});
    }
    task.documents.push_back(std::move(document));
  }
  return task;
}

std::vector<MetricValue> score(const Document& document, std::span<const RequestResult> results) {
  check_result_count(document, results);
  const std::vector<std::string> letters(std::begin(kLetters), std::end(kLetters));
  const size_t gold = static_cast<size_t>(document.gold.front());
  const auto metrics_of = [&](size_t rotation) {
    std::vector<double> lls;
    for (size_t k = 0; k < kNumChoices; ++k) lls.push_back(results[rotation * kNumChoices + k].logprob_nats);
    const int64_t place[] = {static_cast<int64_t>((gold + rotation) % kNumChoices)};
    return choice_metrics({lls, letters, {}, {}}, place);
  };
  std::vector<MetricValue> values{{"acc", metrics_of(0).acc, ""}};
  const size_t num_rotations = results.size() / kNumChoices;
  if (num_rotations < kNumChoices) return values;
  if (document.flags.at("duplicate_of").is_string()) {
    values.push_back(
        {"fare_acc", std::nullopt, "duplicate of item " + document.flags["duplicate_of"].get<std::string>()});
    return values;
  }
  double sum = 0;
  for (size_t rotation = 0; rotation < num_rotations; ++rotation) sum += metrics_of(rotation).acc_fair_ties;
  values.push_back({"fare_acc", sum / static_cast<double>(num_rotations), ""});
  return values;
}

std::vector<MetricValue> score_texts(const Document& document, std::span<const RequestResult> results) {
  check_result_count(document, results);
  ChoiceScores scores{{}, document.doc.at("choices").get<std::vector<std::string>>(), {}, {}};
  for (const auto& result : results) scores.loglikelihoods.push_back(result.logprob_nats);
  const ChoiceMetrics metrics = choice_metrics(scores, document.gold);
  const auto& first = document.flags.at("duplicate_of");
  return {{"acc", metrics.acc, ""},
          {"acc_norm", metrics.acc_norm, ""},
          {"fare_acc", first.is_string() ? std::nullopt : std::optional(metrics.acc_fair_ties),
           first.is_string() ? "duplicate of item " + first.get<std::string>() : ""}};
}

}  // namespace

std::string mmlu_question(const std::string& question, const std::vector<std::string>& choices, size_t rotation) {
  FARE_CHECK(choices.size() == kNumChoices, "four options");
  std::string text(strip(question));
  for (size_t place = 0; place < kNumChoices; ++place)
    text += std::string("\n") + kLetters[place] + ". " +
            choices[(place + kNumChoices - rotation % kNumChoices) % kNumChoices];
  return text + "\nAnswer:";
}

Task mmlu(const MmluSubject& subject) {
  Task task;
  TaskInfo& info = task.info;
  info.name = std::string("mmlu_") + subject.name;
  info.alias = subject.name;
  info.title = std::string("MMLU, ") + subject.name + " (" + std::to_string(subject.num_test) + " questions)";
  info.licence = "MIT";
  info.source = kSource;
  info.files = {file_of(subject, "test", subject.test_sha256, subject.num_test),
                file_of(subject, "dev", subject.dev_sha256, kMmluExamples)};
  info.metrics = {
      {"acc", Profile::kCompat, true, "share of questions whose right letter is the most probable one"},
      {"fare_acc", Profile::kFair, true,
       "the same, averaged over the four rotations of the options; k tied letters count 1/k; repeats left out"}};
  info.max_fewshot = kMmluExamples;
  info.config = harness_config(
      info,
      {"cais/mmlu", subject.name, "test",
       "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:",
       "answer", OrderedJson::array({"A", "B", "C", "D"})});
  info.config["description"] = description_of(subject, Asked::kLetter);
  task.load = [&subject](const LoadOptions& options) { return load(options, subject, Asked::kLetter); };
  task.score = score;
  return task;
}

Task mmlu_continuation(const MmluSubject& subject) {
  Task task = mmlu(subject);
  TaskInfo& info = task.info;
  info.name += "_continuation";
  info.alias = "";
  info.title += ", answers as texts";
  info.metrics = {
      {"acc", Profile::kCompat, true, "share of questions whose right answer text has the largest log-likelihood"},
      {"acc_norm", Profile::kCompat, true, "the same by the log-likelihood per character of the text"},
      {"fare_acc", Profile::kFair, true, "acc where k tied texts count 1/k each; repeats left out"}};
  info.config = harness_config(info, {"cais/mmlu", subject.name, "test",
                                      "Question: {{question.strip()}}\nAnswer:", "{{answer}}", "{{choices}}"});
  info.config["description"] = description_of(subject, Asked::kText);
  task.load = [&subject](const LoadOptions& options) { return load(options, subject, Asked::kText); };
  task.score = score_texts;
  return task;
}

}  // namespace fare
