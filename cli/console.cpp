#include "cli/console.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>

#include "fare/core/error.h"

namespace fare::cli {
namespace {

std::atomic<bool> g_interrupted{false};  // set by the signal handler, the only thing it may do

void on_interrupt(int) {
  if (g_interrupted.exchange(true)) std::signal(SIGINT, SIG_DFL);  // a second Ctrl-C ends at once
}

struct Line {
  std::mutex guard;
  bool terminal = ::isatty(STDERR_FILENO) == 1;
  bool open = false;  // an unfinished line stands on the terminal
  std::string part;
  std::chrono::steady_clock::time_point part_start, last;
};

void show(Line& line, std::string_view part, int64_t done, int64_t total) {
  using std::chrono::duration;
  const std::lock_guard lock(line.guard);
  const auto now = std::chrono::steady_clock::now();
  if (line.part != part) {
    line.part = part;
    line.part_start = now;
    line.last = now;
  }
  const double since = duration<double>(now - line.last).count();
  if (done < total && since < (line.terminal ? 0.2 : 5.0)) return;
  line.last = now;
  const double elapsed = duration<double>(now - line.part_start).count();
  if (!line.terminal && done == total && elapsed < 5.0) return;
  const double rate = elapsed > 0 ? static_cast<double>(done) / elapsed : 0;
  const std::string text = fmt::format("{} {}/{}, {:.1f}/s, {:.0f} s left", part, done, total, rate,
                                       rate > 0 ? static_cast<double>(total - done) / rate : 0.0);
  if (line.terminal) {
    fmt::print(stderr, "\r\033[K{}", text);
    line.open = done < total;
    if (!line.open) fmt::print(stderr, "\n");
  } else {
    fmt::print(stderr, "{}\n", text);
  }
  std::fflush(stderr);
}

}  // namespace

Progress console(const CommonFlags& flags) {
  struct sigaction action {};
  action.sa_handler = &on_interrupt;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  Progress progress;
  progress.cancelled = [] { return g_interrupted.load(); };
  const bool show_progress = !flags.quiet && (flags.log_level == "info" || flags.log_level == "debug");
  if (!show_progress) return progress;
  auto line = std::make_shared<Line>();
  progress.report = [line](std::string_view part, int64_t done, int64_t total) { show(*line, part, done, total); };
  progress.note = [line](std::string_view message) {
    const std::lock_guard lock(line->guard);
    fmt::print(stderr, "{}{}\n", line->open ? "\r\033[K" : "", message);
    line->open = false;
  };
  return progress;
}

void log_to_file(Progress& progress, const std::filesystem::path& path) {
  auto file = std::make_shared<std::ofstream>(path, std::ios::app);
  if (!*file) throw IoError(path.string() + ": cannot be written");
  auto guard = std::make_shared<std::mutex>();
  const auto write = [file, guard](const std::string& text) {
    const std::lock_guard lock(*guard);
    const std::time_t now = std::time(nullptr);
    char stamp[32];
    std::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", std::localtime(&now));
    *file << stamp << ' ' << text << std::endl;
  };
  progress.note = [write, note = progress.note](std::string_view message) {
    write(std::string(message));
    if (note) note(message);
  };
  progress.report = [write, report = progress.report](std::string_view part, int64_t done, int64_t total) {
    if (done == total) write(fmt::format("{} {}/{}", part, done, total));
    if (report) report(part, done, total);
  };
}

void warn(const std::string& message) { fmt::print(stderr, "warning: {}\n", message); }

}  // namespace fare::cli
