// How a text longer than the context is scored whole: every token once, in disjoint windows.
#pragma once

#include <cstdint>
#include <vector>

namespace fare {

struct RollingWindow {
  int64_t context_begin = 0;  // first token that is fed as context; -1 = the prefix token alone
  int64_t score_begin = 0;    // tokens [score_begin, score_end) are scored; the context ends where they begin
  int64_t score_end = 0;
};

// Windows over `num_tokens` tokens of a model that reads `max_length` tokens. The last window is filled up with older
// context. Source: the harness's disjoint rolling windows. Throws UsageError for a length below 1.
std::vector<RollingWindow> rolling_windows(int64_t num_tokens, int64_t max_length);

}  // namespace fare
