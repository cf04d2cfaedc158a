#include "fare/core/progress.h"

#include "fare/core/error.h"

namespace fare {

void Progress::check() const {
  if (cancelled && cancelled()) throw Interrupted();
}

}  // namespace fare
