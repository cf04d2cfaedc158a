#include "fare/diagnosis/transfer_prompts.h"

#include <algorithm>
#include <map>
#include <set>

#include "fare/core/error.h"
#include "fare/core/philox.h"
#include "fare/core/sha256.h"

namespace fare {
namespace {

bool is_of(const OpenPrompt& prompt, const PromptSource& source) {
  return prompt.source == source.name && prompt.family == source.family;
}

// A note names reasons until it is this long.
constexpr size_t kLongNote = 300;

// Tokens of an attribute written after the prompt; a space is put between the two where neither brings one.
Request attribute_request(const TextEncoder& encoder, const OpenPrompt& open, const std::string& attribute) {
  const auto space = [](char c) { return c == ' ' || c == '\n' || c == '\t'; };
  const bool joined = open.prompt.empty() || space(open.prompt.back()) || attribute.empty() || space(attribute.front());
  return encoder.encode(open.id, open.prompt, joined ? attribute : " " + attribute);
}

void set_critical(const TextEncoder& encoder, TransferPrompt& item) {
  std::vector<Request> with, against;
  for (const std::string& attribute : item.open.stereo)
    with.push_back(attribute_request(encoder, item.open, attribute));
  for (const std::string& attribute : item.open.anti)
    against.push_back(attribute_request(encoder, item.open, attribute));
  // Where the space moved into the attribute, its context is the prompt as the attribute's first token expects it.
  item.critical = with.front().context;
  size_t place = 0;
  if (with.size() == 1 && against.size() == 1) {
    const auto &a = with.front().continuation, &b = against.front().continuation;
    while (place + 1 < std::min(a.size(), b.size()) && a[place] == b[place]) ++place;
    item.critical.insert(item.critical.end(), a.begin(), a.begin() + static_cast<std::ptrdiff_t>(place));
  }
  std::set<int32_t> stereo, anti;
  for (const Request& request : with) stereo.insert(request.continuation[place]);
  for (const Request& request : against) anti.insert(request.continuation[place]);
  std::set_difference(stereo.begin(), stereo.end(), anti.begin(), anti.end(), std::back_inserter(item.stereo));
  std::set_difference(anti.begin(), anti.end(), stereo.begin(), stereo.end(), std::back_inserter(item.anti));
}

std::string key_of(const TransferPrompt& item) {
  Sha256 hash;
  hash.add(item.open.id);
  for (const auto* ids : {&item.prompt.ids, &item.critical, &item.stereo, &item.anti}) {
    const int64_t count = static_cast<int64_t>(ids->size());
    hash.add(&count, sizeof count);
    hash.add(ids->data(), ids->size() * sizeof(int32_t));
  }
  return hash.hex();
}

}  // namespace

TransferPrompts make_transfer_prompts(OpenPrompts open, const Study& study, const TextEncoder& encoder,
                                      int64_t max_tokens, uint64_t seed) {
  TransferPrompts out;
  out.sources = std::move(open.sources);
  std::set<std::string> seen_in_search;
  for (size_t i = 0; i < study.pairs.size(); ++i)
    if (study.pair_splits.part[i] != SplitPart::kTest) seen_in_search.insert(study.pairs[i].pair.cluster);
  const auto skip = [&](const OpenPrompt& prompt, const std::string& why) {
    for (PromptSource& source : out.sources) {
      if (!is_of(prompt, source)) continue;
      ++source.skipped;
      if (source.note.find(why) == std::string::npos && source.note.size() < kLongNote)
        source.note += (source.note.empty() ? "" : "; ") + why;
    }
  };
  for (OpenPrompt& prompt : open.prompts) {
    if (seen_in_search.contains(prompt.cluster)) {
      skip(prompt, "families of the train and validation split are left out");
      continue;
    }
    TransferPrompt item;
    item.open = std::move(prompt);
    try {
      item.prompt = {item.open.id, encoder.prompt(item.open.id, item.open.prompt)};
      if (!item.open.stereo.empty()) set_critical(encoder, item);
    } catch (const UsageError& error) {
      skip(item.open, error.what());
      continue;
    }
    if (static_cast<int64_t>(std::max(item.prompt.ids.size(), item.critical.size())) > max_tokens) {
      skip(item.open, "longer than " + std::to_string(max_tokens) + " tokens");
      continue;
    }
    item.key = key_of(item);
    out.items.push_back(std::move(item));
  }

  // Rounds over clusters, source by source.
  struct Place {
    size_t source = 0;
    int64_t round = 0;
    uint64_t draw = 0;
    std::string name;
    size_t index = 0;
    auto operator<=>(const Place&) const = default;
  };
  std::vector<Place> order;
  for (size_t i = 0; i < out.items.size(); ++i) {
    const OpenPrompt& prompt = out.items[i].open;
    const auto source = std::find_if(out.sources.begin(), out.sources.end(),
                                     [&](const PromptSource& one) { return is_of(prompt, one); });
    const std::string name = prompt.swapped ? prompt.cluster : prompt.id;
    order.push_back({static_cast<size_t>(source - out.sources.begin()), 0,
                     RandomStream(seed, "generation/order/" + name).u64(0), name, i});
  }
  std::sort(order.begin(), order.end());
  std::map<std::pair<size_t, std::string>, int64_t> used;
  for (Place& place : order)
    if (const OpenPrompt& prompt = out.items[place.index].open; !prompt.swapped)
      place.round = used[{place.source, prompt.cluster}]++;
  std::sort(order.begin(), order.end());
  std::vector<TransferPrompt> items;
  for (const Place& place : order) items.push_back(std::move(out.items[place.index]));
  out.items = std::move(items);
  return out;
}

std::vector<int64_t> first_of_source(const TransferPrompts& prompts, const PromptSource& source, int64_t n) {
  std::vector<int64_t> indices;
  for (size_t i = 0; i < prompts.items.size() && static_cast<int64_t>(indices.size()) < n; ++i)
    if (is_of(prompts.items[i].open, source)) indices.push_back(static_cast<int64_t>(i));
  return indices;
}

}  // namespace fare
