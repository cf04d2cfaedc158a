// Settings of a text to be written, under the names the harness uses for them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fare/core/json.h"

namespace fare {

struct GenerationSettings {
  std::vector<std::string> until;  // a text ends before the first of these
  int64_t max_new_tokens = 256;
  double temperature = 0;  // 0 = greedy
  double top_p = 1;
};

// Reads `until` (text or list), `max_gen_toks`, `do_sample`, `temperature`, `top_p`. `do_sample` false means
// temperature 0; without it the temperature decides. Throws UsageError naming a setting that is unknown or out of
// range.
GenerationSettings generation_settings(const OrderedJson& settings);

}  // namespace fare
