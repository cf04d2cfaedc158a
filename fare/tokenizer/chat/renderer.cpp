#include "fare/tokenizer/chat/renderer.h"

#include <algorithm>
#include <map>
#include <memory>

#include "fare/tokenizer/chat/functions.h"

namespace fare::chat {
namespace {

constexpr int kMaxDepth = 100;                  // macros inside macros
constexpr size_t kMaxOutput = size_t{1} << 26;  // bytes
constexpr int64_t kMaxSteps = 2'000'000;        // statements; loops inside loops end somewhere

// Names seen from one place. Loops, macros and with have their own; if and set have not.
struct Scope {
  std::map<std::string, Value> names;
  std::shared_ptr<Scope> parent;

  const Value* find(const std::string& name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->parent.get())
      if (const auto found = scope->names.find(name); found != scope->names.end()) return &found->second;
    return nullptr;
  }
};
using ScopePtr = std::shared_ptr<Scope>;

ScopePtr inside(const ScopePtr& parent) {
  auto scope = std::make_shared<Scope>();
  scope->parent = parent;
  return scope;
}

enum class Flow { kOn, kBreak, kContinue };

class Renderer {
 public:
  Renderer(const Dict& variables, std::time_t now) : root_(std::make_shared<Scope>()) {
    for (const auto& [name, value] : global_functions(now)) root_->names[name.text()] = value;
    for (const auto& [name, value] : variables) root_->names[name.text()] = value;
  }
  std::string run(const Block& block) {
    std::string out;
    run(block, inside(root_), out);
    return out;
  }

 private:
  Flow run(const Block& block, const ScopePtr& scope, std::string& out) {
    for (const Statement& statement : block) {
      if (++steps_ > kMaxSteps) throw SyntaxError{statement.line, "the template runs too long"};
      Flow flow = Flow::kOn;
      try {
        flow = run(statement, scope, out);
      } catch (const TemplateError& error) {
        throw SyntaxError{statement.line, error.what()};
      }
      if (out.size() > kMaxOutput) throw SyntaxError{statement.line, "the text is longer than 64 MiB"};
      if (flow != Flow::kOn) return flow;
    }
    return Flow::kOn;
  }

  Flow run(const Statement& statement, const ScopePtr& scope, std::string& out) {
    using Kind = Statement::Kind;
    switch (statement.kind) {
      case Kind::kText: out += statement.text; return Flow::kOn;
      case Kind::kPrint: out += str(value(*statement.expression, scope)); return Flow::kOn;
      case Kind::kBreak: return Flow::kBreak;
      case Kind::kContinue: return Flow::kContinue;
      case Kind::kScope: return run(statement.body, inside(scope), out);
      case Kind::kFor: return loop(statement, scope, out);
      case Kind::kIf:
        for (const auto& [condition, body] : statement.branches)
          if (value(*condition, scope).truth()) return run(body, scope, out);
        return run(statement.otherwise, scope, out);
      case Kind::kSet: assign(statement.target, value(*statement.expression, scope), *scope); return Flow::kOn;
      case Kind::kSetBlock:
      case Kind::kFilter: {
        std::string body;
        const Flow flow = run(statement.body, inside(scope), body);
        const Value text = statement.expression ? filtered(*statement.expression, scope, body) : Value(body);
        if (statement.kind == Kind::kFilter) out += str(text);
        else assign(statement.target, text, *scope);
        return flow;
      }
      case Kind::kWith: {
        const ScopePtr own = inside(scope);
        for (const auto& [target, expression] : statement.withs) assign(target, value(*expression, scope), *own);
        return run(statement.body, own, out);
      }
      case Kind::kMacro:
        macro_scopes_.push_back(scope);
        scope->names[statement.text] = macro(statement, scope);
        return Flow::kOn;
    }
    return Flow::kOn;
  }

  void assign(const Target& target, const Value& value, Scope& scope) {
    if (!target.field.empty()) {
      const Value* space = scope.find(target.names[0]);
      if (space == nullptr || !space->is_namespace())
        throw TemplateError("'" + target.names[0] + "' is no namespace; only namespaces can be assigned to by field");
      if (target.field.starts_with('_')) throw TemplateError("a field that begins with '_' cannot be assigned to");
      set(space->space().fields, target.field, value);
      return;
    }
    if (!target.is_tuple) {
      scope.names[target.names[0]] = value;
      return;
    }
    value.require_defined();
    const List items = items_of(value);
    if (items.size() != target.names.size())
      throw TemplateError(std::to_string(target.names.size()) + " names for " + std::to_string(items.size()) +
                          " values");
    for (size_t i = 0; i < items.size(); ++i) scope.names[target.names[i]] = items[i];
  }

  Flow loop(const Statement& statement, const ScopePtr& scope, std::string& out) {
    List items = items_of(value(*statement.expression, scope));
    if (statement.condition) {
      List kept;
      for (const Value& item : items) {
        const ScopePtr own = inside(scope);
        assign(statement.target, item, *own);
        if (value(*statement.condition, own).truth()) kept.push_back(item);
      }
      items = std::move(kept);
    }
    if (items.empty()) return run(statement.otherwise, scope, out);
    const auto length = static_cast<int64_t>(items.size());
    const auto last_changed = std::make_shared<Value>(Undefined{});
    ++loop_depth_;
    for (int64_t i = 0; i < length; ++i) {
      const ScopePtr own = inside(scope);
      const auto state = std::make_shared<Value::Namespace>();
      const auto field = [&](const char* name, Value held) { state->fields.emplace_back(name, std::move(held)); };
      field("index", i + 1);
      field("index0", i);
      field("revindex", length - i);
      field("revindex0", length - i - 1);
      field("first", i == 0);
      field("last", i + 1 == length);
      field("length", length);
      field("depth", static_cast<int64_t>(loop_depth_));
      field("depth0", static_cast<int64_t>(loop_depth_) - 1);
      if (i > 0) field("previtem", items[static_cast<size_t>(i) - 1]);
      if (i + 1 < length) field("nextitem", items[static_cast<size_t>(i) + 1]);
      field("cycle", Function([i](const Arguments& arguments) -> Value {
              const auto count = static_cast<int64_t>(arguments.positional.size());
              if (count == 0) throw TemplateError("loop.cycle needs values");
              return arguments.positional[static_cast<size_t>(i % count)];
            }));
      field("changed", Function([last_changed](const Arguments& arguments) -> Value {
              Value now(arguments.positional, true);
              const bool changed = last_changed->is_undefined() || !equal(*last_changed, now);
              *last_changed = std::move(now);
              return changed;
            }));
      own->names["loop"] = Value(state);
      assign(statement.target, items[static_cast<size_t>(i)], *own);
      if (run(statement.body, own, out) == Flow::kBreak) break;
    }
    --loop_depth_;
    return Flow::kOn;
  }

  Value macro(const Statement& statement, const ScopePtr& scope) {
    return Function([this, &statement, defined_in = std::weak_ptr<Scope>(scope)](const Arguments& arguments) -> Value {
      const auto& names = statement.target.names;
      const ScopePtr own = inside(defined_in.lock());
      if (arguments.positional.size() > names.size())
        throw TemplateError("the macro '" + statement.text + "' takes at most " + std::to_string(names.size()) +
                            " arguments");
      for (const auto& [name, held] : arguments.named) {
        const auto found = std::find(names.begin(), names.end(), name);
        if (found == names.end())
          throw TemplateError("the macro '" + statement.text + "' has no parameter '" + name + "'");
        if (static_cast<size_t>(found - names.begin()) < arguments.positional.size())
          throw TemplateError("the macro '" + statement.text + "' is given '" + name + "' twice");
        own->names[name] = held;
      }
      const size_t first_default = names.size() - statement.defaults.size();
      for (size_t i = 0; i < names.size(); ++i) {
        if (i < arguments.positional.size()) own->names[names[i]] = arguments.positional[i];
        else if (own->names.contains(names[i])) continue;
        else if (i >= first_default) own->names[names[i]] = value(*statement.defaults[i - first_default], own);
        else own->names[names[i]] = Undefined{names[i]};
      }
      if (++macro_depth_ > kMaxDepth) throw TemplateError("macros call each other more than 100 deep");
      std::string out;
      const int outer_loops = std::exchange(loop_depth_, 0);
      run(statement.body, own, out);
      loop_depth_ = outer_loops;
      --macro_depth_;
      return out;
    });
  }

  // ---- expressions ----

  Arguments arguments_of(const Expression& call, const ScopePtr& scope) {
    Arguments arguments;
    for (size_t i = 1; i < call.parts.size(); ++i) arguments.positional.push_back(value(*call.parts[i], scope));
    for (const auto& [name, expression] : call.named) arguments.named.emplace_back(name, value(*expression, scope));
    return arguments;
  }

  // A chain of filters around the text of a body.
  Value filtered(const Expression& filter, const ScopePtr& scope, const std::string& body) {
    const Value inner = filter.parts[0] ? filtered(*filter.parts[0], scope, body) : Value(body);
    return apply_filter(filter.name, inner, arguments_of(filter, scope));
  }

  // The value of an expression; faults get its line.
  Value value(const Expression& expression, const ScopePtr& scope) {
    try {
      return plain_value(expression, scope);
    } catch (const TemplateError& error) {
      throw SyntaxError{expression.line, error.what()};
    }
  }

  Value plain_value(const Expression& e, const ScopePtr& scope) {
    using Kind = Expression::Kind;
    const auto part = [&](size_t i) { return value(*e.parts[i], scope); };
    const auto part_or_none = [&](size_t i) { return e.parts[i] ? value(*e.parts[i], scope) : Value(); };
    switch (e.kind) {
      case Kind::kLiteral: return e.value;
      case Kind::kName: {
        const Value* found = scope->find(e.name);
        return found != nullptr ? *found : Value(Undefined{e.name});
      }
      case Kind::kList:
      case Kind::kTuple: {
        List list;
        for (const auto& item : e.parts) list.push_back(value(*item, scope));
        return Value(std::move(list), e.kind == Kind::kTuple);
      }
      case Kind::kDict: {
        Dict dict;
        for (size_t i = 0; i < e.parts.size(); i += 2) {
          const Value key = part(i);
          if (key.is_list() || key.is_dict()) throw TemplateError("a list or dict cannot be the key of a dict");
          set(dict, key, part(i + 1));
        }
        return dict;
      }
      case Kind::kAttribute: return attribute(part(0), e.name);
      case Kind::kItem: return item(part(0), part(1));
      case Kind::kSlice: return slice(part(0), part_or_none(1), part_or_none(2), part_or_none(3));
      case Kind::kCall: {
        const Value callee = part(0);
        callee.require_defined();
        if (!callee.is_function())
          throw TemplateError(std::string("a value of type ") + callee.type_name() + " cannot be called");
        return callee.function()(arguments_of(e, scope));
      }
      case Kind::kFilter: return apply_filter(e.name, part(0), arguments_of(e, scope));
      case Kind::kTest: return apply_test(e.name, part(0), arguments_of(e, scope));
      case Kind::kUnary: {
        const Value operand = part(0);
        if (e.name == "not") return !operand.truth();
        operand.require_defined();
        if (!operand.is_number()) throw TemplateError("'" + e.name + "' needs a number, not " + operand.type_name());
        return e.name == "-" ? arithmetic("-", operand.is<double>() ? Value(-0.0) : Value(int64_t{0}), operand)
                             : arithmetic("+", int64_t{0}, operand);
      }
      case Kind::kBinary: {
        if (e.name != "and" && e.name != "or") return arithmetic(e.name, part(0), part(1));
        Value left = part(0);
        return left.truth() == (e.name == "or") ? left : part(1);
      }
      case Kind::kCompare: return compared(e, scope);
      case Kind::kConditional:
        if (part(1).truth()) return part(0);
        return e.parts[2] ? part(2) : Value(Undefined{"the value of an 'if' without 'else'"});
    }
    return {};
  }

  Value compared(const Expression& e, const ScopePtr& scope) {
    Value left = value(*e.parts[0], scope);
    for (size_t i = 0; i < e.names.size(); ++i) {
      Value right = value(*e.parts[i + 1], scope);
      const std::string& operation = e.names[i];
      bool holds = false;
      if (operation == "==") holds = equal(left, right);
      else if (operation == "!=") holds = !equal(left, right);
      else if (operation == "in") holds = contains(right, left);
      else if (operation == "not in") holds = !contains(right, left);
      else if (operation == "<") holds = compare(left, right) < 0;
      else if (operation == "<=") holds = compare(left, right) <= 0;
      else if (operation == ">") holds = compare(left, right) > 0;
      else holds = compare(left, right) >= 0;
      if (!holds) return false;
      left = std::move(right);
    }
    return true;
  }

  ScopePtr root_;
  std::vector<ScopePtr> macro_scopes_;  // a macro may outlive the loop it is defined in
  int64_t steps_ = 0;
  int loop_depth_ = 0;
  int macro_depth_ = 0;
};

}  // namespace

std::string render(const Block& block, const Dict& variables, std::time_t now) {
  return Renderer(variables, now).run(block);
}

}  // namespace fare::chat
