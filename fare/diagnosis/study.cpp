#include "fare/diagnosis/study.h"

#include <algorithm>
#include <map>
#include <set>

#include "fare/benchmarks/token_align.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/sha256.h"

namespace fare {
namespace {

// Debiasing prefixes: instructions in plain words, with a line end so that what follows begins as a text of its own.
constexpr const char* kPrefixTexts[] = {
    "The following text treats people of every group with equal respect and uses no stereotypes.\n",
    "Nothing about a person follows from gender, race, religion, age, nationality, disability or income.\n",
    "Avoid bias. Judge every person as an individual, not as a member of a group.\n",
    "What follows is fair, neutral and free of prejudice.\n"};

std::vector<int32_t> fed_ids(const Request& request) {
  std::vector<int32_t> ids = request.context;
  ids.insert(ids.end(), request.continuation.begin(), request.continuation.end() - 1);
  return ids;
}

// The files of a role as one: names joined, the hash of a single one or over all, the first note.
Study::SourceFile joined(const std::vector<Study::SourceFile>& files, const std::string& role) {
  Study::SourceFile all;
  Sha256 hash;
  int64_t count = 0;
  for (const Study::SourceFile& file : files) {
    if (file.role != role) continue;
    all.name += (count++ > 0 ? ", " : "") + file.name;
    all.sha256 = file.sha256;
    if (all.note.empty()) all.note = file.note;
    hash.add(file.sha256);
  }
  if (count > 1) all.sha256 = "sha256:" + hash.hex();
  return all;
}

// What utility items are balanced over in splits: their task; tasks that are one cluster each (subjects) go together.
std::vector<std::string> strata_of(const std::vector<EncodedUtility>& items) {
  std::map<std::string, std::set<std::string>> clusters;
  for (const EncodedUtility& item : items) clusters[item.item.task].insert(item.item.cluster);
  std::vector<std::string> strata;
  for (const EncodedUtility& item : items) strata.push_back(clusters[item.item.task].size() > 1 ? item.item.task : "");
  return strata;
}

std::vector<int64_t> in_part(const Splits& splits, SplitPart part) {
  std::vector<int64_t> items;
  for (size_t i = 0; i < splits.part.size(); ++i)
    if (splits.part[i] == part) items.push_back(static_cast<int64_t>(i));
  return items;
}

}  // namespace

std::string item_hash(const std::vector<const Request*>& requests) {
  Sha256 hash;
  for (const Request* request : requests) {
    for (const auto* ids : {&request->context, &request->continuation}) {
      const int64_t count = static_cast<int64_t>(ids->size());
      hash.add(&count, sizeof count);
      hash.add(ids->data(), ids->size() * sizeof(int32_t));
    }
  }
  return hash.hex();
}

PairAlignment align_pair(const Request& stereo, const Request& anti) {
  const std::vector<int32_t> a = fed_ids(stereo), b = fed_ids(anti);
  const Alignment matched = longest_common_subsequence(a, b);
  PairAlignment alignment;
  size_t shared = 0;  // leading positions that are equal
  while (shared < a.size() && shared < b.size() && a[shared] == b[shared]) ++shared;
  std::set<size_t> matched_a(matched.a.begin(), matched.a.end()), matched_b(matched.b.begin(), matched.b.end());
  for (size_t i = 0; i < matched.a.size(); ++i) {
    const PairAlignment::Matched position{static_cast<int32_t>(matched.a[i]), static_cast<int32_t>(matched.b[i])};
    // Before the first difference both texts are the same up to here; everything later has seen the change.
    (matched.a[i] < shared && matched.b[i] == matched.a[i] ? alignment.before : alignment.after).push_back(position);
  }
  for (size_t i = 0; i < a.size(); ++i)
    if (!matched_a.contains(i)) alignment.differs_stereo.push_back(static_cast<int32_t>(i));
  for (size_t i = 0; i < b.size(); ++i)
    if (!matched_b.contains(i)) alignment.differs_anti.push_back(static_cast<int32_t>(i));
  return alignment;
}

std::vector<int64_t> Study::pairs_in(SplitPart part) const { return in_part(pair_splits, part); }
std::vector<int64_t> Study::utility_in(SplitPart part) const { return in_part(utility_splits, part); }

StudyItems read_study(const StudyFiles& paths) {
  StudyItems items;
  const auto add = [&](const std::string& role, const std::filesystem::path& path, size_t count) {
    Study::SourceFile file;
    file.role = role;
    file.name = path.filename().string();
    file.sha256 = "sha256:" + sha256_hex(read_file(path));
    file.items = static_cast<int64_t>(count);
    items.files.push_back(std::move(file));
  };
  items.pairs = read_pairs(paths.pairs).items;
  add("pairs", paths.pairs, items.pairs.size());
  if (!paths.utility.empty()) {
    items.utility = read_utility(paths.utility).items;
    add("utility", paths.utility, items.utility.size());
  }
  if (!paths.neutral.empty()) {
    items.neutral = read_neutral(paths.neutral).items;
    add("neutral", paths.neutral, items.neutral.size());
  }
  if (!paths.generation.empty()) {
    add("generation", paths.generation, read_generation(paths.generation).items.size());
  }
  return items;
}

Study make_study(StudyItems items, const TextEncoder& encoder, int64_t max_length, int64_t vocab_size, uint64_t seed,
                 int64_t limit) {
  Study study;
  study.files = std::move(items.files);
  Study::SourceFile unused;
  // The file an item came from: that of its task; a user's own file is the only one of its role.
  const auto file_of = [&](const std::string& role, const std::string& task) -> Study::SourceFile& {
    Study::SourceFile* first = nullptr;
    for (Study::SourceFile& file : study.files) {
      if (file.role != role) continue;
      if (file.name == task) return file;
      if (first == nullptr) first = &file;
    }
    return first != nullptr ? *first : unused;
  };
  const auto pair_file = [&](const StudyPair& pair) -> Study::SourceFile& {
    return file_of("pairs", pair.id.substr(0, pair.id.find('/')));
  };
  std::map<std::string, int64_t> index_of;  // demographic pairs by id
  const auto encode_pair = [&](const StudyPair& pair) -> std::optional<EncodedPair> {
    EncodedPair encoded;
    encoded.pair = pair;
    try {
      encoded.stereo = encoder.encode(pair.id + "/stereo", pair.context, pair.stereo);
      encoded.anti = encoder.encode(pair.id + "/anti", pair.context, pair.anti);
      fed_part(encoded.stereo, max_length, vocab_size);
      fed_part(encoded.anti, max_length, vocab_size);
    } catch (const UsageError& error) {
      Study::SourceFile& file = pair_file(pair);
      ++file.skipped;
      if (file.note.empty()) file.note = error.what();
      return std::nullopt;
    }
    // Positions of an alignment count what is fed: of a text too long for the model its end.
    const auto cut = [&](Request request) {
      const int64_t truncated = fed_part(request, max_length, vocab_size).truncated;
      request.context.erase(request.context.begin(), request.context.begin() + truncated);
      return request;
    };
    encoded.alignment = align_pair(cut(encoded.stereo), cut(encoded.anti));
    encoded.item = item_hash({&encoded.stereo, &encoded.anti});
    return encoded;
  };
  for (const StudyPair& pair : items.pairs) {
    if (pair.kind != PairKind::kDemographic) continue;
    auto& list = pair.set == PairSet::kTransfer ? study.transfer : study.pairs;
    if (limit > 0 && static_cast<int64_t>(list.size()) >= limit) continue;
    if (auto encoded = encode_pair(pair)) {
      if (pair.set == PairSet::kMain) index_of[pair.id] = static_cast<int64_t>(study.pairs.size());
      list.push_back(std::move(*encoded));
      ++pair_file(pair).used;
    }
  }
  for (const StudyPair& pair : items.pairs) {
    if (pair.kind == PairKind::kDemographic) continue;
    if (pair.null_of && !index_of.contains(*pair.null_of)) continue;  // its pair was cut by the limit or skipped
    if (auto encoded = encode_pair(pair)) {
      study.null_of.push_back(pair.null_of ? index_of.at(*pair.null_of) : -1);
      study.nulls.push_back(std::move(*encoded));
      ++pair_file(pair).used;
    }
  }
  if (study.pairs.empty()) {
    const Study::SourceFile file = joined(study.files, "pairs");
    throw FormatError(
        file.name, "",
        "no demographic pair of the set 'main' can be scored" + (file.note.empty() ? "" : ": " + file.note));
  }

  for (const UtilityItem& item : items.utility) {
    if (limit > 0 && static_cast<int64_t>(study.utility.size()) >= limit) break;
    Study::SourceFile& utility_file = file_of("utility", item.task);
    EncodedUtility encoded;
    encoded.item = item;
    try {
      std::vector<const Request*> requests;
      encoded.choices.reserve(item.choices.size());
      for (size_t c = 0; c < item.choices.size(); ++c) {
        encoded.choices.push_back(encoder.encode(item.id + "/" + std::to_string(c), item.context, item.choices[c]));
        fed_part(encoded.choices.back(), max_length, vocab_size);
      }
      for (const Request& request : encoded.choices) requests.push_back(&request);
      encoded.key = item_hash(requests);
    } catch (const UsageError& error) {
      ++utility_file.skipped;
      if (utility_file.note.empty()) utility_file.note = error.what();
      continue;
    }
    study.utility.push_back(std::move(encoded));
    ++utility_file.used;
  }
  const Study::SourceFile utility_files = joined(study.files, "utility");
  if (study.utility.empty() && !utility_files.name.empty())
    throw FormatError(utility_files.name, "",
                      "no utility item can be scored" + (utility_files.note.empty() ? "" : ": " + utility_files.note));

  if (items.neutral.empty() && !study.utility.empty()) {
    // The contexts of the utility items stand in for neutral text.
    Study::SourceFile stand_in;
    stand_in.role = "neutral";
    stand_in.name = utility_files.name;
    stand_in.sha256 = utility_files.sha256;
    for (const UtilityItem& item : items.utility)
      if (!item.context.empty()) items.neutral.push_back(item.context);
    stand_in.items = static_cast<int64_t>(items.neutral.size());
    stand_in.note = "no neutral text was given; the contexts of the utility items stand in";
    study.files.push_back(std::move(stand_in));
  }
  Study::SourceFile& neutral_file = file_of("neutral", "");
  for (size_t i = 0; i < items.neutral.size(); ++i) {
    try {
      Request request = encoder.whole_text("neutral/" + std::to_string(i), items.neutral[i]);
      // A text longer than the model can see is cut at the end.
      if (static_cast<int64_t>(request.continuation.size()) > max_length)
        request.continuation.resize(static_cast<size_t>(max_length));
      study.neutral_tokens += static_cast<int64_t>(fed_part(request, max_length, vocab_size).ids.size());
      study.neutral.push_back(std::move(request));
      ++neutral_file.used;
    } catch (const UsageError& error) {
      ++neutral_file.skipped;
      if (neutral_file.note.empty()) neutral_file.note = error.what();
    }
  }

  for (const char* text : kPrefixTexts) {
    try {
      Request request = encoder.whole_text("prefix", text);
      study.prefix_token = request.context.front();
      // A vocabulary that knows none of the words gives one token over and over, or next to none.
      const std::set<int32_t> kinds(request.continuation.begin(), request.continuation.end());
      if (kinds.size() >= 5) study.prefixes.push_back({text, std::move(request.continuation)});
    } catch (const UsageError&) {  // not spelled at all
    }
  }

  std::set<std::string> axes;
  for (const EncodedPair& pair : study.pairs) axes.insert(pair.pair.axis);
  study.axes.assign(axes.begin(), axes.end());
  std::vector<SplitItem> pair_items, utility_items;
  std::vector<std::string> pair_names, utility_names;
  for (const EncodedPair& pair : study.pairs) {
    study.axis_of.push_back(static_cast<int32_t>(
        std::lower_bound(study.axes.begin(), study.axes.end(), pair.pair.axis) - study.axes.begin()));
    pair_items.push_back({pair.pair.cluster, pair.pair.axis});
    pair_names.push_back(pair.pair.cluster);
  }
  const std::vector<std::string> strata = strata_of(study.utility);
  for (size_t i = 0; i < study.utility.size(); ++i) {
    const std::string& cluster = study.utility[i].item.cluster;
    utility_items.push_back({cluster, strata[i]});
    utility_names.push_back(cluster);
  }
  study.pair_clusters = stats::cluster_by_name(pair_names);
  study.utility_clusters = stats::cluster_by_name(utility_names);
  study.pair_splits = make_splits(pair_items, seed);
  study.utility_splits = make_splits(utility_items, seed);
  return study;
}

}  // namespace fare
