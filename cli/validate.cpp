#include "cli/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/validate_model.h"
#include "cli/validate_results.h"
#include "fare/benchmarks/study_data.h"
#include "fare/checkpoint/shard_index.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/json.h"
#include "fare/routing/intervention.h"
#include "fare/routing/trace_file.h"
#include "fare/scoring/prompt_file.h"
#include "fare/scoring/request_file.h"

namespace fare::cli {
namespace {

namespace fs = std::filesystem;

struct ValidateFlags {
  std::vector<fs::path> paths;
  std::string kind;  // empty = by what the file looks like
  bool config_only = false, json = false;
  ModelChecks model;
};

// What can be seen of a file without reading it whole.
struct Look {
  fs::path path;
  std::string name;  // without folder and ".gz"
  bool is_folder = false;
  bool is_lines = false;       // *.jsonl
  std::optional<Json> object;  // the whole *.json file, or the first line of a *.jsonl file

  bool ends(const char* ending) const { return name.ends_with(ending); }
  bool has(std::initializer_list<const char*> keys) const {
    return object && std::all_of(keys.begin(), keys.end(), [&](const char* key) { return object->contains(key); });
  }
  bool lines_with(std::initializer_list<const char*> keys) const { return is_lines && has(keys); }
  bool says(const std::string& format) const {
    return object && !is_lines && object->contains("format") && (*object)["format"].is_string() &&
           (*object)["format"].get<std::string>().starts_with(format);
  }
};

struct Checker {
  const char* kind;
  const char* what;  // one line for the help
  bool (*fits)(const Look&);
  Finding (*check)(const fs::path&, const ValidateFlags&);  // throws what is wrong
};

Finding found_items(const char* title, size_t count, const char* of_what) {
  Finding finding{title};
  finding.row(of_what, std::to_string(count));
  finding.fields[of_what] = count;
  return finding;
}

template <typename Item>
Finding found_study(const char* title, const StudyFile<Item>& file, const char* of_what) {
  Finding finding = found_items(title, file.items.size(), of_what);
  for (const auto& field : file.ignored_fields) finding.note("field '" + field + "' is read by nobody");
  return finding;
}

// The first that fits is taken. A new kind of file is one line here.
const Checker kCheckers[] = {
    {"run", "a run folder (config.toml, rows.sqlite)",
     [](const Look& look) {
       return look.is_folder && fs::exists(look.path / "config.toml") && fs::exists(look.path / "rows.sqlite");
     },
     [](const fs::path& path, const ValidateFlags&) { return check_run(path); }},
    {"model", "a folder with config.json and *.safetensors", [](const Look& look) { return look.is_folder; },
     [](const fs::path& path, const ValidateFlags& flags) { return check_model_folder(path, flags.model); }},
    {"config", "a model's config.json",
     [](const Look& look) {
       return !look.is_lines && (look.has({"architectures"}) || look.has({"model_type", "hidden_size"}));
     },
     [](const fs::path& path, const ValidateFlags&) { return check_model_config(path); }},
    {"trace", "routes written by --trace routes", [](const Look& look) { return look.ends(".trace.safetensors"); },
     [](const fs::path& path, const ValidateFlags&) {
       return found_items("trace of routes", read_trace_file(path).token_ids.size(), "rows");
     }},
    {"weights", "a single *.safetensors file", [](const Look& look) { return look.ends(".safetensors"); },
     [](const fs::path& path, const ValidateFlags& flags) { return check_weight_file(path, flags.model); }},
    {"index", "model.safetensors.index.json",
     [](const Look& look) { return !look.is_lines && look.has({"weight_map"}); },
     [](const fs::path& path, const ValidateFlags&) {
       return found_items("shard index", read_shard_index(path).file_of.size(), "tensors");
     }},
    {"tokenizer", "a tokenizer.json",
     [](const Look& look) {
       return !look.is_lines && look.has({"model", "pre_tokenizer"});
     },
     [](const fs::path& path, const ValidateFlags&) { return check_tokenizer_file(path); }},
    {"intervention", "an intervention (fare-intervention/1)",
     [](const Look& look) { return look.says("fare-intervention/") || (!look.is_lines && look.has({"edits"})); },
     [](const fs::path& path, const ValidateFlags&) {
       return found_items("intervention", Intervention::read(path).edits.size(), "edits");
     }},
    {"receipt", "what an intervention did (fare-receipt/1)",
     [](const Look& look) { return look.says("fare-receipt/"); },
     [](const fs::path& path, const ValidateFlags&) { return check_receipt(path); }},
    {"report", "report.json of fare diagnose, probe and mask",
     [](const Look& look) { return look.says("fare-report/") || look.says("fare-probe/") || look.says("fare-mask/"); },
     [](const fs::path& path, const ValidateFlags&) { return check_report(path); }},
    {"rows", "rows.sqlite of a run", [](const Look& look) { return look.ends(".sqlite"); },
     [](const fs::path& path, const ValidateFlags&) { return check_rows(path); }},
    {"scores", "what fare score wrote", [](const Look& look) { return look.lines_with({"logprob_nats"}); },
     [](const fs::path& path, const ValidateFlags&) { return check_scores(path); }},
    {"texts", "what fare generate wrote",
     [](const Look& look) {
       return look.lines_with({"sample", "token_ids"});
     },
     [](const fs::path& path, const ValidateFlags&) { return check_texts(path); }},
    {"requests", "JSON lines for fare score",
     [](const Look& look) { return look.lines_with({"continuation"}) || look.lines_with({"continuation_ids"}); },
     [](const fs::path& path, const ValidateFlags&) {
       return found_items("requests", read_requests(path).size(), "requests");
     }},
    {"generation", "study data: prompts with stereotyped and opposite answers",
     [](const Look& look) {
       return look.lines_with({"prompt", "stereo"}) || look.lines_with({"prompt", "anti"});
     },
     [](const fs::path& path, const ValidateFlags&) {
       return found_study("generation", read_generation(path), "prompts");
     }},
    {"prompts", "JSON lines for fare generate",
     [](const Look& look) {
       return look.lines_with({"prompt"}) || look.lines_with({"prompt_ids"}) || look.lines_with({"messages"});
     },
     [](const fs::path& path, const ValidateFlags&) {
       return found_items("prompts", read_prompts(path).size(), "prompts");
     }},
    {"pairs", "study data: pairs of texts",
     [](const Look& look) { return look.lines_with({"stereo"}) || look.lines_with({"anti"}); },
     [](const fs::path& path, const ValidateFlags&) { return found_study("pairs", read_pairs(path), "pairs"); }},
    {"utility", "study data: multiple-choice questions",
     [](const Look& look) { return look.lines_with({"choices"}) || look.lines_with({"gold"}); },
     [](const fs::path& path, const ValidateFlags&) {
       return found_study("utility", read_utility(path), "questions");
     }},
    {"neutral", "study data: neutral texts", [](const Look& look) { return look.lines_with({"text"}); },
     [](const fs::path& path, const ValidateFlags&) { return found_study("neutral", read_neutral(path), "texts"); }},
};

std::string kinds() {
  std::string text;
  for (const Checker& checker : kCheckers) text += (text.empty() ? "" : ", ") + std::string(checker.kind);
  return text;
}

// The first object of a JSON-lines file; its later lines are left to the reader of its kind.
Json first_line(const fs::path& path) {
  const std::string text = read_file(path);
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line(text.data() + begin, end - begin);
    ++number;
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) {
      Json object = parse_json(line, path.string(), "line " + std::to_string(number));
      if (!object.is_object())
        throw FormatError(path.string(), "line " + std::to_string(number), "expected a JSON object");
      return object;
    }
    begin = end + 1;
  }
  throw FormatError(path.string(), "", "is empty; a JSON-lines file has one object a line");
}

Look look_at(const fs::path& path) {
  Look look;
  look.path = path;
  look.name = path.extension() == ".gz" ? path.stem().string() : path.filename().string();
  std::error_code ignored;
  if (!fs::exists(path, ignored)) throw IoError(path.string() + ": no such file or folder");
  look.is_folder = fs::is_directory(path, ignored);
  if (look.is_folder) return look;
  look.is_lines = look.ends(".jsonl");
  if (look.is_lines) look.object = first_line(path);
  if (look.ends(".json")) {
    look.object = read_json_file(path);
    if (!look.object->is_object()) throw FormatError(path.string(), "", "expected a JSON object");
  }
  return look;
}

const Checker& checker_of(const fs::path& path, const std::string& kind) {
  if (!kind.empty())
    return *std::find_if(std::begin(kCheckers), std::end(kCheckers), [&](const Checker& c) { return kind == c.kind; });
  const Look look = look_at(path);
  for (const Checker& checker : kCheckers)
    if (checker.fits(look)) return checker;
  std::string keys;
  if (look.object)
    for (const auto& [key, value] : look.object->items()) keys += (keys.empty() ? " (its fields: " : ", ") + key;
  throw FormatError(
      path.string(), "",
      "no kind of file that FARE checks" + (keys.empty() ? "" : keys + ")") + "; name it with --kind: " + kinds());
}

void print(const fs::path& path, const Finding& finding) {
  fmt::print("{}: {}\n", path.string(), finding.title);
  for (const auto& [name, text] : finding.rows) fmt::print("  {:<13} {}\n", name, text);
}

// Every file is looked at, whatever the others hold. Returns the exit status.
int validate(const ValidateFlags& flags) {
  size_t num_wrong = 0;
  OrderedJson files = OrderedJson::array();
  for (const fs::path& path : flags.paths) {
    OrderedJson file = {{"path", path.string()}};
    try {
      const Finding finding =
          flags.config_only ? check_model_config(path) : checker_of(path, flags.kind).check(path, flags);
      file.update(OrderedJson{{"kind", finding.title}, {"sound", true}});
      file.update(finding.fields);
      if (!flags.json) print(path, finding);
    } catch (const Error& error) {
      const bool named = std::string_view(error.what()).find(path.string()) != std::string_view::npos;
      const std::string message = named ? error.what() : path.string() + ": " + error.what();
      std::fflush(stdout);
      fmt::print(stderr, "fare: {}\n", message);
      file.update(OrderedJson{{"sound", false}, {"error", message}});
      ++num_wrong;
    }
    files.push_back(file);
  }
  if (flags.json)
    fmt::print("{}\n", OrderedJson{{"format", "fare-validation/1"}, {"files", files}, {"wrong", num_wrong}}.dump(
                           2, ' ', false, OrderedJson::error_handler_t::replace));
  if (num_wrong > 0) {
    fmt::print(stderr, "fare: {} of {} not sound\n", num_wrong, flags.paths.size());
    return 1;
  }
  if (!flags.json) fmt::print("sound: {}\n", flags.paths.size());
  return 0;
}

}  // namespace

void add_validate_command(CLI::App& program, int& exit_status) {
  auto flags = std::make_shared<ValidateFlags>();
  CLI::App* command = program.add_subcommand(
      "validate",
      "Checks model folders, tokenizers, the files that go in and those that came out, without running a model");
  command->add_option("PATH", flags->paths, "folders and files; every one is checked, status 1 if any is wrong")
      ->required();
  std::vector<std::string> names;
  for (const Checker& checker : kCheckers) names.push_back(checker.kind);
  command->add_option("--kind", flags->kind, "what the files are; without it, what they look like")
      ->check(CLI::IsMember(names));
  command->add_flag("--weights", flags->model.read_weights, "read every weight and look for NaN and Inf");
  command->add_flag("--fingerprint", flags->model.fingerprint, "print the fingerprint of a model folder");
  command->add_flag("--config-only", flags->config_only,
                    "only the config.json of a model: the file, or a folder that holds it");
  command->add_flag("--json", flags->json, "what was found as JSON on stdout (docs/validate.md)");
  std::string footer = "Kinds:\n";
  for (const Checker& checker : kCheckers) footer += fmt::format("  {:<13} {}\n", checker.kind, checker.what);
  footer +=
      "\nExamples:\n"
      "  fare validate models/olmoe --fingerprint\n"
      "  fare validate --config-only config.json --json\n"
      "  fare validate pairs.jsonl utility.jsonl edit.json\n";
  command->footer(footer);
  command->callback([flags, &exit_status] { exit_status = validate(*flags); });
}

}  // namespace fare::cli
