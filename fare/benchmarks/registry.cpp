#include "fare/benchmarks/registry.h"

#include <algorithm>

#include "fare/benchmarks/bbq.h"
#include "fare/benchmarks/bbq_letters.h"
#include "fare/benchmarks/bold.h"
#include "fare/benchmarks/crows_pairs.h"
#include "fare/benchmarks/gsm8k.h"
#include "fare/benchmarks/holisticbias.h"
#include "fare/benchmarks/honest.h"
#include "fare/benchmarks/mmlu.h"
#include "fare/benchmarks/perplexity.h"
#include "fare/benchmarks/refusal_tasks.h"
#include "fare/benchmarks/stereoset.h"
#include "fare/benchmarks/truthfulqa.h"
#include "fare/benchmarks/utility_tasks.h"
#include "fare/benchmarks/winobias.h"
#include "fare/benchmarks/winogender.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/sha256.h"

namespace fare {
namespace {

std::vector<Task> make_tasks() {
  std::vector<Task> tasks;
  tasks.push_back(crows_pairs_english(""));
  for (const auto& category : crows_pairs_categories()) tasks.push_back(crows_pairs_english(category));
  tasks.push_back(fare_crows_pairs());
  tasks.push_back(truthfulqa_mc1());
  tasks.push_back(truthfulqa_mc2());
  tasks.push_back(fare_truthfulqa_mc1_no_question());
  tasks.push_back(fare_truthfulqa_mc2_no_question());
  tasks.push_back(fare_truthfulqa_generate());
  for (const auto half : {StereoSetHalf::kIntra, StereoSetHalf::kInter, StereoSetHalf::kBoth})
    tasks.push_back(fare_stereoset(half));
  for (const auto rows : {BbqRows::kAll, BbqRows::kAmbiguous, BbqRows::kDisambiguated}) tasks.push_back(bbq(rows));
  for (const auto& category : bbq_categories()) tasks.push_back(bbq_category(category));
  tasks.push_back(bbq_generate());
  tasks.push_back(fare_bbq_letters());
  for (auto& task : winogender_tasks()) tasks.push_back(std::move(task));
  tasks.push_back(fare_winobias());
  for (const auto& subject : mmlu_subjects()) tasks.push_back(mmlu(subject));
  for (const auto& subject : mmlu_subjects()) tasks.push_back(mmlu_continuation(subject));
  for (auto& task : utility_tasks()) tasks.push_back(std::move(task));
  tasks.push_back(gsm8k());
  for (auto* make : {fare_bold, fare_honest, fare_holisticbias, fare_holisticbias_nouns, fare_xstest,
                     fare_do_not_answer, fare_wikitext103, fare_c4})
    tasks.push_back(make());
  return tasks;
}

std::vector<TaskGroup> make_groups() {
  TaskGroup crows{"crows_pairs", {}};
  for (const auto& task : all_tasks())
    if (task.info.name.rfind("crows_pairs_english", 0) == 0) crows.members.push_back(task.info.name);
  std::vector<TaskGroup> groups{crows, {"truthfulqa", {"truthfulqa_mc1", "truthfulqa_mc2"}}};
  TaskGroup winogender{"winogender", {}};
  for (const auto& task : all_tasks())
    if (task.info.name.starts_with("winogender_")) winogender.members.push_back(task.info.name);
  groups.push_back(winogender);
  groups.push_back({"ai2_arc", {"arc_easy", "arc_challenge"}});
  // The harness names the task of a subject and the groups of its variants in these ways.
  for (const std::string variant : {"", "_continuation"}) {
    TaskGroup all{"mmlu" + variant, {}, variant.empty() ? "" : "mmlu (continuation)", {"acc", "fare_acc"}, 2};
    for (const auto& [name, alias] : {std::pair{"stem", "stem"},
                                      {"other", "other"},
                                      {"social_sciences", "social sciences"},
                                      {"humanities", "humanities"}}) {
      TaskGroup group{std::string("mmlu_") + name + variant, {}, alias, {"acc", "fare_acc"}, 2};
      for (const auto& subject : mmlu_subjects())
        if (std::string(subject.group) == name) group.members.push_back(std::string("mmlu_") + subject.name + variant);
      all.members.push_back(group.name);
      groups.push_back(std::move(group));
    }
    groups.push_back(std::move(all));
  }
  return groups;
}

std::vector<std::string> all_names() {
  std::vector<std::string> names;
  for (const auto& task : all_tasks()) names.push_back(task.info.name);
  for (const auto& group : all_task_groups()) names.push_back(group.name);
  return names;
}

template <typename Entries, typename NameOf>
auto* entry_or_null(const Entries& entries, const std::string& name, const NameOf& name_of) {
  for (const auto& entry : entries)
    if (name_of(entry) == name) return &entry;
  return static_cast<decltype(&*entries.begin())>(nullptr);
}

const Task* task_or_null(const std::string& name) {
  return entry_or_null(all_tasks(), name, [](const Task& task) { return task.info.name; });
}

const TaskGroup* group_or_null(const std::string& name) {
  return entry_or_null(all_task_groups(), name, [](const TaskGroup& group) { return group.name; });
}

std::string full_name(const std::string& name) {
  const auto known = all_names();
  if (const auto found = known_name(name, known)) return *found;
  throw UsageError("unknown task '" + name + "'" + did_you_mean(name, known) + " (fare tasks lists them all)");
}

}  // namespace

const std::vector<Task>& all_tasks() {
  static const std::vector<Task> tasks = make_tasks();
  return tasks;
}

const std::vector<TaskGroup>& all_task_groups() {
  static const std::vector<TaskGroup> groups = make_groups();
  return groups;
}

std::optional<std::string> known_name(const std::string& name, const std::vector<std::string>& known) {
  const auto lower = [](std::string text) {
    for (char& c : text)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
  };
  for (const auto& candidate : {name, "fare_" + name})
    if (std::find(known.begin(), known.end(), candidate) != known.end()) return candidate;
  for (const auto& candidate : known)
    if (lower(candidate) == lower(name)) return candidate;  // bbq_age means bbq_Age
  return std::nullopt;
}

const Task& find_task(const std::string& name) {
  const std::string full = full_name(name);
  if (const Task* task = task_or_null(full)) return *task;
  std::string members;
  for (const auto& member : group_or_null(full)->members) members += (members.empty() ? "" : ", ") + member;
  throw UsageError("'" + name + "' is a group of tasks; name one of " + members);
}

std::vector<const Task*> resolve_tasks(const std::vector<std::string>& names) {
  std::vector<const Task*> tasks;
  const auto add = [&](const Task& task) {
    if (std::find(tasks.begin(), tasks.end(), &task) == tasks.end()) tasks.push_back(&task);
  };
  for (const auto& name : names) {
    const std::string full = full_name(name);
    if (const Task* task = task_or_null(full)) add(*task);
    else
      for (const Task* member : leaf_tasks(*group_or_null(full))) add(*member);
  }
  if (tasks.empty()) throw UsageError("no task was named (fare tasks lists them all)");
  return tasks;
}

const TaskGroup* find_group(const std::string& name) { return group_or_null(name); }

std::vector<const Task*> leaf_tasks(const TaskGroup& group) {
  std::vector<const Task*> tasks;
  for (const auto& member : group.members) {
    if (const Task* task = task_or_null(member)) tasks.push_back(task);
    else
      for (const Task* leaf : leaf_tasks(*group_or_null(member))) tasks.push_back(leaf);
  }
  return tasks;
}

std::vector<TaskStatus> list_tasks(const std::filesystem::path& data, bool check_hashes) {
  std::vector<TaskStatus> list;
  for (const auto& task : all_tasks()) {
    TaskStatus status{&task, {}, true};
    bool any = false;
    for (const auto& file : task.info.files) {
      FileStatus one{file, {}, false};
      if (const auto found = locate(file, data)) {
        one.found = *found;
        any = any || !file.required;
        if (check_hashes) one.matches = file.sha256.empty() || sha256_hex(read_file(*found)) == file.sha256;
      } else if (file.required) {
        status.ready = false;
      }
      status.files.push_back(std::move(one));
    }
    status.ready = status.ready && (any || !task.info.any_file);
    list.push_back(std::move(status));
  }
  return list;
}

}  // namespace fare
