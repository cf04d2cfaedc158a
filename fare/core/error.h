// The few kinds of error FARE throws. A message says what is wrong, where, and what to do.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace fare {

// Base of everything thrown on purpose; the command line turns each kind into an exit status.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A flag or setting a person wrote is wrong (exit status 2). The message names it, its value and the accepted ones.
class UsageError : public Error {
 public:
  using Error::Error;
};

// The content of a file is wrong or cut short (exit status 1). The message begins with the path.
class FormatError : public Error {
 public:
  // `where` is a line ("line 7"), a tensor, a byte offset or a JSON path; may be empty.
  FormatError(const std::string& path, const std::string& where, const std::string& what);
};

// A sound file that does not fit what it is used with: a checkpoint and its family, an intervention and its model.
class ModelMismatch : public Error {
 public:
  using Error::Error;
};

// NaN, Inf or an undefined statistic where a number was promised. The message names the quantity and the layer or item.
class NumericError : public Error {
 public:
  using Error::Error;
};

// The operating system refused: a missing file, a full disk, a folder that cannot be written.
class IoError : public Error {
 public:
  using Error::Error;
};

// Somebody asked to stop (Ctrl-C). Finished work is kept; exit status 130.
class Interrupted : public Error {
 public:
  Interrupted() : Error("interrupted") {}
};

// A bug of ours, not of the input.
class BrokenInvariant : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// "unknown task 'x'; did you mean 'y', 'z'?": the nearest of `known` by edit distance, for error messages.
// Returns "" when nothing is near.
std::string did_you_mean(const std::string& name, const std::vector<std::string>& known);

#define FARE_CHECK(condition, why)                                                                         \
  do {                                                                                                     \
    if (!(condition)) throw ::fare::BrokenInvariant(std::string(__FILE__) + ": " #condition ": " + (why)); \
  } while (0)

}  // namespace fare
