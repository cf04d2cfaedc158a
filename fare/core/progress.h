// How the library tells its caller how far it is, and learns that it should stop. The library itself prints nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace fare {

struct Progress {
  // Called from the working thread, often: `done` of `total` units of the named part. May be empty.
  std::function<void(std::string_view part, int64_t done, int64_t total)> report;
  // Called with a sentence a person should see (a warning, a choice that was made). May be empty.
  std::function<void(std::string_view message)> note;
  // True once somebody asked to stop. May be empty.
  std::function<bool()> cancelled;

  void operator()(std::string_view part, int64_t done, int64_t total) const {
    if (report) report(part, done, total);
  }
  void say(std::string_view message) const {
    if (note) note(message);
  }
  // Throws Interrupted when asked to stop; called between units of work.
  void check() const;
};

}  // namespace fare
