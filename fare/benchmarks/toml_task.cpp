#include "fare/benchmarks/toml_task.h"

#include <toml++/toml.h>
#include <algorithm>

#include "fare/benchmarks/crows_pairs_metrics.h"
#include "fare/benchmarks/csv.h"
#include "fare/benchmarks/generation.h"
#include "fare/benchmarks/multiple_choice.h"
#include "fare/benchmarks/pair_flags.h"
#include "fare/benchmarks/python_json.h"
#include "fare/benchmarks/record.h"
#include "fare/benchmarks/registry.h"
#include "fare/benchmarks/reply_rules.h"
#include "fare/benchmarks/unicode_case.h"
#include "fare/benchmarks/unicode_text.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/sha256.h"

namespace fare {
namespace {

namespace fs = std::filesystem;

enum class Kind { kMultipleChoice, kPair, kGenerate };

// The file, read.
struct Description {
  fs::path path;
  std::string sha256;
  std::string name, title, licence = "not stated", source;
  double version = 1;
  Kind kind = Kind::kMultipleChoice;
  DataFile data, examples;  // below the folder of the description; examples.path "" = none
  std::string description, question, answer, target_delimiter = " ", fewshot_delimiter = "\n\n";
  std::vector<std::string> choices;  // patterns
  std::string choices_field;         // or a list in the record
  std::string stereo, anti;          // pairs: patterns
  std::string item, cluster, axis;   // fields; "" = none
  int64_t num_fewshot = 0;
  OrderedJson generation = OrderedJson::object();
  bool ignore_case = false, ignore_punctuation = false;
};

// One table of the file; notes which keys were read, so that a misspelled one is not passed over.
class Keys {
 public:
  Keys(const toml::table& table, std::string place, std::string path)
      : table_(table), place_(std::move(place)), path_(std::move(path)) {}

  [[noreturn]] void fail(const std::string& key, const std::string& what) const {
    const auto* node = table_.get(key);
    const auto line = node != nullptr ? node->source().begin.line : table_.source().begin.line;
    throw FormatError(path_, "line " + std::to_string(line), "key '" + place_ + key + "' " + what);
  }

  template <typename T>
  T get(const std::string& key, std::optional<T> otherwise = std::nullopt) {
    known_.push_back(key);
    const auto* node = table_.get(key);
    if (node == nullptr) {
      if (!otherwise) fail(key, "is missing");
      return *otherwise;
    }
    const auto value = node->value_exact<T>();
    if (!value) fail(key, "has the wrong type");
    return *value;
  }
  std::string text(const std::string& key, std::optional<std::string> otherwise = std::nullopt) {
    std::string value = get<std::string>(key, otherwise);
    if (value.empty() && !otherwise) fail(key, "must not be empty");
    return value;
  }
  std::vector<std::string> texts(const std::string& key) {
    known_.push_back(key);
    std::vector<std::string> list;
    const auto* node = table_.get(key);
    if (node == nullptr) return list;
    if (!node->is_array()) fail(key, "must be a list of texts");
    for (const auto& entry : *node->as_array()) {
      const auto value = entry.value_exact<std::string>();
      if (!value) fail(key, "must be a list of texts");
      list.push_back(*value);
    }
    return list;
  }
  bool has(const std::string& key) const { return table_.contains(key); }
  void ignore(const std::string& key) { known_.push_back(key); }
  const toml::table& table() const { return table_; }

  void refuse_others() const {
    for (const auto& [key, value] : table_) {
      const std::string name(key.str());
      if (std::find(known_.begin(), known_.end(), name) == known_.end())
        fail(name, "is unknown; see docs/task-toml.md");
    }
  }

 private:
  const toml::table& table_;
  std::string place_, path_;
  std::vector<std::string> known_;
};

const toml::table& sub_table(Keys& keys, const std::string& name, bool needed) {
  static const toml::table none;
  keys.ignore(name);
  const auto* node = keys.table().get(name);
  if (node == nullptr) {
    if (needed) keys.fail(name, "is missing: it is a table");
    return none;
  }
  if (!node->is_table()) keys.fail(name, "must be a table");
  return *node->as_table();
}

DataFile data_file(Keys& keys, const std::string& prefix, const std::string& licence) {
  const std::string name = keys.text(prefix + "file");
  if (fs::path(name).is_absolute()) keys.fail(prefix + "file", "must be relative to the description's folder");
  const std::string sha256 = keys.text(prefix + "sha256", "");
  if (!sha256.empty() && (sha256.size() != 64 || sha256.find_first_not_of("0123456789abcdef") != std::string::npos))
    keys.fail(prefix + "sha256", "must be 64 hexadecimal digits");
  const int64_t records = keys.get<int64_t>(prefix + "records", 0);
  if (records < 0) keys.fail(prefix + "records", "must not be negative");
  return {name, {}, sha256, records, licence};
}

Description read_description(const fs::path& path) {
  Description out;
  out.path = path;
  const std::string content = read_file(path);
  out.sha256 = sha256_hex(content);
  toml::table root;
  try {
    root = toml::parse(content, path.string());
  } catch (const toml::parse_error& error) {
    throw FormatError(path.string(), "line " + std::to_string(error.source().begin.line),
                      std::string(error.description()));
  }
  Keys keys(root, "", path.string());
  out.name = keys.text("name");
  if (out.name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") !=
      std::string::npos)
    keys.fail("name", "must be made of letters, digits and '_'");
  for (const Task& task : all_tasks())
    if (task.info.name == out.name) keys.fail("name", "is the name of a task that FARE has: " + out.name);
  if (find_group(out.name) != nullptr) keys.fail("name", "is the name of a group that FARE has: " + out.name);
  out.title = keys.text("title", out.name);
  out.licence = keys.text("licence", out.licence);
  out.source = keys.text("source", path.filename().string());
  out.version = static_cast<double>(keys.get<int64_t>("version", 1));
  const std::string kind = keys.text("type");
  if (kind == "multiple_choice") out.kind = Kind::kMultipleChoice;
  else if (kind == "pair") out.kind = Kind::kPair;
  else if (kind == "generate") out.kind = Kind::kGenerate;
  else keys.fail("type", "is '" + kind + "', not multiple_choice, pair or generate");

  Keys data(sub_table(keys, "data", true), "data.", path.string());
  out.data = data_file(data, "", out.licence);
  if (data.has("examples_file")) out.examples = data_file(data, "examples_", out.licence);
  out.item = data.text("item", "");
  out.cluster = data.text("cluster", "");
  out.axis = data.text("axis", "");
  data.refuse_others();

  Keys prompt(sub_table(keys, "prompt", true), "prompt.", path.string());
  if (out.kind == Kind::kPair) {
    out.stereo = prompt.text("stereo");
    out.anti = prompt.text("anti");
    out.question = prompt.text("text", "");
  } else {
    out.description = prompt.text("description", "");
    out.question = prompt.text("text");
    out.target_delimiter = prompt.text("target_delimiter", " ");
    out.fewshot_delimiter = prompt.text("fewshot_delimiter", "\n\n");
    out.answer = prompt.text("answer", out.kind == Kind::kGenerate ? std::optional<std::string>("") : std::nullopt);
    out.num_fewshot = prompt.get<int64_t>("num_fewshot", 0);
    if (out.num_fewshot < 0) prompt.fail("num_fewshot", "must not be negative");
    if (out.num_fewshot > 0 && out.examples.path.empty()) prompt.fail("num_fewshot", "needs data.examples_file");
    if (out.kind == Kind::kMultipleChoice) {
      out.choices = prompt.texts("choices");
      out.choices_field = prompt.text("choices_field", "");
      if (out.choices.empty() == out.choices_field.empty())
        prompt.fail("choices", "or 'prompt.choices_field' must be given, one of them");
      if (out.choices.size() == 1) prompt.fail("choices", "needs at least two choices");
    }
  }
  prompt.refuse_others();

  if (out.kind == Kind::kGenerate) {
    Keys generation(sub_table(keys, "generation", false), "generation.", path.string());
    if (const auto until = generation.texts("until"); !until.empty()) out.generation["until"] = until;
    else out.generation["until"] = OrderedJson::array({"\n\n"});
    out.generation["max_gen_toks"] = generation.get<int64_t>("max_gen_toks", 256);
    out.generation["do_sample"] = generation.get<bool>("do_sample", false);
    if (generation.has("temperature")) out.generation["temperature"] = generation.get<double>("temperature");
    if (generation.has("top_p")) out.generation["top_p"] = generation.get<double>("top_p");
    out.ignore_case = generation.get<bool>("ignore_case", false);
    out.ignore_punctuation = generation.get<bool>("ignore_punctuation", false);
    generation.refuse_others();
    try {
      generation_settings(out.generation);
    } catch (const UsageError& error) {
      throw FormatError(path.string(), "generation", error.what());
    }
  }
  keys.refuse_others();
  return out;
}

struct Record {
  OrderedJson fields;
  std::string where;
};

// JSON lines, or a table whose header names the fields.
std::vector<Record> read_records(const DataFile& wanted, const fs::path& folder, bool accept_changed,
                                 LoadedTask& task) {
  LoadedFile file = load_data_file(wanted, folder, accept_changed);
  std::vector<Record> records;
  std::string name = wanted.path;
  if (name.ends_with(".gz")) name.resize(name.size() - 3);
  if (name.ends_with(".csv") || name.ends_with(".tsv")) {
    auto rows = name.ends_with(".csv") ? parse_csv(file.content, file.path) : parse_tsv(file.content, file.path);
    if (rows.empty()) throw FormatError(file.path, "", "the table has no header");
    const std::vector<std::string> header = rows.front().cells;
    const Table table(std::move(rows), file.path, {});
    for (size_t row = 0; row < table.num_rows(); ++row) {
      Record record{OrderedJson::object(), "line " + std::to_string(table.line(row))};
      for (const auto& column : header) record.fields[column] = table.cell(row, column);
      records.push_back(std::move(record));
    }
  } else if (name.ends_with(".jsonl")) {
    for_each_line(file.content, [&](std::string_view line, size_t number) {
      if (strip(line).empty()) return;
      Record record{{}, "line " + std::to_string(number)};
      record.fields = python_json_loads(line, file.path, record.where);
      if (!record.fields.is_object()) throw FormatError(file.path, record.where, "expected an object");
      records.push_back(std::move(record));
    });
  } else {
    throw FormatError(file.path, "", "data files end in .jsonl, .csv or .tsv (.gz may follow)");
  }
  file.content.clear();
  check_num_records(file, wanted, static_cast<int64_t>(records.size()), accept_changed);
  if (records.empty()) throw FormatError(file.path, "", "the file holds no record");
  task.files.push_back(std::move(file));
  return records;
}

// A record turned into what is asked.
struct Item {
  std::string question;
  std::vector<std::string> choices;
  std::vector<int64_t> gold;
  std::string answer;  // as an example shows it
};

const OrderedJson* field_at(const OrderedJson& record, const std::string& name) {
  const OrderedJson* node = &record;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string part = name.substr(begin, end - begin);
    begin = end + 1;
    if (node->is_object()) {
      const auto found = node->find(part);
      if (found == node->end()) return nullptr;
      node = &*found;
    } else if (node->is_array() && !part.empty() && part.size() < 9 &&
               part.find_first_not_of("0123456789") == std::string::npos) {
      const auto index = static_cast<size_t>(std::stoul(part));
      if (index >= node->size()) return nullptr;
      node = &(*node)[index];
    } else {
      return nullptr;
    }
  }
  return node;
}

std::string plain_field(const OrderedJson& record, const std::string& name, const std::string& path,
                        const std::string& where) {
  const OrderedJson* node = field_at(record, name);
  if (node == nullptr) throw FormatError(path, where, "the record has no field '" + name + "'");
  if (node->is_string()) return node->get<std::string>();
  if (node->is_number() || node->is_boolean()) return node->dump();
  throw FormatError(path, where, "field '" + name + "' is no text, number or truth value: " + node->dump());
}

// Index of the right choice: the answer is a choice's number from 0, its letter, or its text.
int64_t gold_index(const OrderedJson& value, const std::vector<std::string>& choices, const std::string& name,
                   const std::string& path, const std::string& where) {
  const auto n = static_cast<int64_t>(choices.size());
  const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  for (int64_t k = 0; k < n; ++k)
    if (value.is_string() && choices[static_cast<size_t>(k)] == text) return k;
  if (!text.empty() && text.size() < 9 && text.find_first_not_of("0123456789") == std::string::npos) {
    const int64_t index = std::stoll(text);
    if (index < n) return index;
  } else if (text.size() == 1 && text[0] >= 'A' && text[0] < 'A' + n) {
    return text[0] - 'A';
  }
  throw FormatError(path, where,
                    "field '" + name + "' is " + value.dump() + ": no number from 0 to " + std::to_string(n - 1) +
                        ", letter or text of one of the " + std::to_string(n) + " choices");
}

Item make_item(const Description& description, const Record& record, const std::string& path) {
  Item item;
  item.question = fill_pattern(description.question, record.fields, path, record.where);
  if (description.kind == Kind::kMultipleChoice) {
    for (const auto& pattern : description.choices)
      item.choices.push_back(fill_pattern(pattern, record.fields, path, record.where));
    if (!description.choices_field.empty()) {
      const OrderedJson* list = field_at(record.fields, description.choices_field);
      if (list == nullptr || !list->is_array() || list->size() < 2)
        throw FormatError(path, record.where,
                          "field '" + description.choices_field + "' must be a list of at least two choices");
      for (const auto& choice : *list) {
        if (!choice.is_string())
          throw FormatError(path, record.where, "field '" + description.choices_field + "' must hold texts");
        item.choices.push_back(choice);
      }
    }
    for (const auto& choice : item.choices)
      if (choice.empty()) throw FormatError(path, record.where, "a choice is empty");
    const OrderedJson* answer = field_at(record.fields, description.answer);
    if (answer == nullptr)
      throw FormatError(path, record.where, "the record has no field '" + description.answer + "'");
    const OrderedJson all = answer->is_array() ? *answer : OrderedJson::array({*answer});
    for (const auto& one : all)
      item.gold.push_back(gold_index(one, item.choices, description.answer, path, record.where));
    if (item.gold.empty())
      throw FormatError(path, record.where, "field '" + description.answer + "' names no right answer");
    item.answer = item.choices[static_cast<size_t>(item.gold.front())];
  } else if (description.kind == Kind::kGenerate && !description.answer.empty()) {
    item.answer = plain_field(record.fields, description.answer, path, record.where);
  }
  return item;
}

LoadedTask load(const LoadOptions& options, const Description& description) {
  LoadedTask task;
  const fs::path folder = description.path.parent_path();
  LoadedFile self{description.path.filename().string(), description.sha256};
  const auto records = read_records(description.data, folder, options.accept_changed_data, task);
  const std::string path = task.files.back().path;
  const auto primer = std::make_shared<Primer>();
  primer->describe(description.description);
  if (const int64_t shots = options.num_fewshot.value_or(description.num_fewshot); shots > 0) {
    const auto examples = read_records(description.examples, folder, options.accept_changed_data, task);
    if (shots > static_cast<int64_t>(examples.size()))
      throw UsageError("task '" + description.name + "': " + std::to_string(shots) + " examples are asked for, but " +
                       description.examples.path + " has " + std::to_string(examples.size()));
    for (int64_t i = 0; i < shots; ++i) {
      const Item example = make_item(description, examples[static_cast<size_t>(i)], task.files.back().path);
      primer->add_example(example.question, example.answer, description.target_delimiter,
                          description.fewshot_delimiter);
    }
  }
  task.files.push_back(std::move(self));
  Duplicates names;
  for (const Record& record : records) {
    const Item item = make_item(description, record, path);
    Document document;
    document.doc_id = static_cast<int64_t>(task.documents.size());
    document.item = description.item.empty() ? std::to_string(document.doc_id)
                                             : plain_field(record.fields, description.item, path, record.where);
    if (!names.seen_before(document.item, document.item).is_null())
      throw FormatError(path, record.where, "item '" + document.item + "' is there twice");
    document.cluster = description.cluster.empty()
                           ? document.item
                           : plain_field(record.fields, description.cluster, path, record.where);
    if (!description.axis.empty()) document.axis = plain_field(record.fields, description.axis, path, record.where);
    document.doc = record.fields;
    document.gold = item.gold;
    document.primer = primer;
    const std::string context = primer->text + item.question;
    switch (description.kind) {
      case Kind::kMultipleChoice:
        document.target = std::to_string(item.gold.front());
        for (const auto& choice : item.choices)
          document.requests.push_back({context, description.target_delimiter + choice});
        document.flags = {{"choices", item.choices}};
        break;
      case Kind::kPair: {
        const std::string stereo = fill_pattern(description.stereo, record.fields, path, record.where);
        const std::string anti = fill_pattern(description.anti, record.fields, path, record.where);
        if (stereo.empty() || anti.empty() || stereo == anti)
          throw FormatError(path, record.where, "the two texts of a pair must differ and not be empty");
        document.target = "0";
        document.pair = {0, 1};
        document.requests = {{context, stereo}, {context, anti}};
        const PairFlags flags = pair_flags(stereo, anti);
        document.flags = {{"direction", "stereo"},
                          {"pair_class", std::string(name_of(flags.pair_class))},
                          {"num_spans", flags.num_spans},
                          {"filtered", flags.filtered}};
        break;
      }
      case Kind::kGenerate:
        document.target = item.answer;
        document.requests = {{context, "", RequestKind::kGenerate, false, description.generation}};
        break;
    }
    task.documents.push_back(std::move(document));
  }
  return task;
}

std::vector<MetricValue> score_choices(const Document& document, std::span<const RequestResult> results) {
  check_result_count(document, results);
  ChoiceScores scores;
  for (const auto& result : results) scores.loglikelihoods.push_back(result.logprob_nats);
  scores.choices = document.flags.at("choices").get<std::vector<std::string>>();
  const ChoiceMetrics metrics = choice_metrics(scores, document.gold);
  return {{"acc", metrics.acc, ""}, {"acc_norm", metrics.acc_norm, ""}, {"fare_acc", metrics.acc_fair_ties, ""}};
}

std::vector<MetricValue> score_text(const Document& document, std::span<const RequestResult> results,
                                    const Description& description) {
  check_result_count(document, results);
  const auto normal = [&](std::string_view text) {
    std::string out(strip(text));
    if (description.ignore_case) out = lower_text(out);
    return description.ignore_punctuation ? without_punctuation(out) : out;
  };
  std::vector<MetricValue> values;
  if (!description.answer.empty())
    values.push_back({"exact_match", normal(results[0].text) == normal(document.target) ? 1.0 : 0.0, ""});
  values.push_back({"fare_refusal", reply_of(results[0].text) == Reply::kRefusal ? 1.0 : 0.0, ""});
  values.push_back({"fare_broken", is_broken(results[0].text) ? 1.0 : 0.0, ""});
  return values;
}

}  // namespace

std::string fill_pattern(const std::string& pattern, const OrderedJson& record, const std::string& path,
                         const std::string& where) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c != '{' && c != '}') {
      out += c;
    } else if (i + 1 < pattern.size() && pattern[i + 1] == c) {
      out += c;
      ++i;
    } else {
      const size_t end = c == '{' ? pattern.find('}', i) : std::string::npos;
      if (end == std::string::npos)
        throw FormatError(path, where,
                          "the pattern '" + pattern + "' has a lone brace; write {{ or }} for a brace itself");
      out += plain_field(record, pattern.substr(i + 1, end - i - 1), path, where);
      i = end;
    }
  }
  return out;
}

Task toml_task(const fs::path& path) {
  const Description description = read_description(path);
  Task task;
  TaskInfo& info = task.info;
  info.name = description.name;
  info.version = description.version;
  info.title = description.title;
  info.licence = description.licence;
  info.source = description.source;
  info.files = {description.data};
  info.num_fewshot = static_cast<int>(description.num_fewshot);
  // The examples are counted when they are read.
  if (!description.examples.path.empty()) {
    info.files.push_back(description.examples);
    info.max_fewshot = description.examples.num_records > 0 ? description.examples.num_records : INT64_MAX;
  }
  ConfigFields fields{
      description.data.path,       {}, "test", description.question, description.answer, description.choices_field,
      description.target_delimiter};
  if (!description.choices.empty()) fields.doc_to_choice = description.choices;
  switch (description.kind) {
    case Kind::kMultipleChoice:
      info.metrics = {
          {"acc", Profile::kCompat, true, "share of items whose right choice has the largest log-likelihood"},
          {"acc_norm", Profile::kCompat, true, "the same by the log-likelihood per character of the choice"},
          {"fare_acc", Profile::kFair, true, "acc where k tied best choices count 1/k each"}};
      task.score = score_choices;
      break;
    case Kind::kPair:
      info.metrics = crows_pairs_metrics();
      fields.doc_to_choice = {description.stereo, description.anti};
      fields.target_delimiter = "";
      task.score = score_crows_pair;
      task.summarise = crows_pairs_tables;
      break;
    case Kind::kGenerate:
      if (!description.answer.empty())
        info.metrics.push_back(
            {"exact_match", Profile::kCompat, true, "share of texts that are the answer, outer white space aside"});
      info.metrics.push_back(
          {"fare_refusal", Profile::kFair, std::nullopt, "share of texts that refuse, by their first words"});
      info.metrics.push_back(
          {"fare_broken", Profile::kFair, false, "share of texts that are empty or mostly repeat themselves"});
      fields.output_type = "generate_until";
      fields.generation_kwargs = description.generation;
      fields.doc_to_choice = nullptr;
      task.score = [description](const Document& document, std::span<const RequestResult> results) {
        return score_text(document, results, description);
      };
      break;
  }
  info.config = harness_config(info, fields);
  info.config["description"] = description.description;
  info.config["fewshot_delimiter"] = description.fewshot_delimiter;
  task.load = [description](const LoadOptions& options) { return load(options, description); };
  return task;
}

}  // namespace fare
