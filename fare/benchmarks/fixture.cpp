#include "fare/benchmarks/fixture.h"

#include <map>
#include <mutex>

#include "fare/benchmarks/python_json.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/share_folder.h"

namespace fare {

std::filesystem::path fixture_path(const std::string& name) {
  if (const auto found = find_shared_file("fixtures/" + name)) return *found;
  throw IoError("share/fare/fixtures/" + name +
                ": not found beside the program; set FARE_SHARE to the program's share/fare folder");
}

const OrderedJson& json_fixture(const std::string& name) {
  static std::mutex lock;
  static std::map<std::string, OrderedJson> loaded;
  const std::lock_guard<std::mutex> guard(lock);
  const auto found = loaded.find(name);
  if (found != loaded.end()) return found->second;
  const auto path = fixture_path(name);
  return loaded.emplace(name, python_json_loads(read_file(path), path.string())).first->second;
}

}  // namespace fare
