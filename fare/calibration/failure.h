// One cell of a calibration that fails takes no other with it.
#pragma once

#include <functional>
#include <string>

#include "fare/core/error.h"

namespace fare {

// What `work` failed with; empty when it did not. Throws Interrupted.
inline std::string failure_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Interrupted&) {
    throw;
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace fare
