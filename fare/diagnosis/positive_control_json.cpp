#include "fare/diagnosis/null_fields.h"
#include "fare/diagnosis/positive_control.h"

namespace fare {

OrderedJson positive_control_json(const PositiveControl& control) {
  OrderedJson json;
  json["sentence"] = positive_control_text(control);
  const bool planted = control.obstacle.empty();
  const auto put = [&](const std::string& name, const OrderedJson& value) {
    if (planted) json[name] = value;
    else put_null(json, name, control.obstacle);
  };
  put_field(json, "detection_limit_pp", control.limit_pp, planted ? control.limit_reason : control.obstacle);
  put_field(json, "found_limit_pp", control.found_pp, planted ? control.found_reason : control.obstacle);
  put("planted", {{"group", control.group},
                  {"other", control.other},
                  {"shared_word", control.shared},
                  {"trait", control.plus},
                  {"against", control.minus},
                  {"invented_names", control.invented},
                  {"layer", control.layer},
                  {"expert", control.expert},
                  {"kappa", control.kappa},
                  {"chosen_after_group", control.on_group},
                  {"chosen_after_other", control.on_other},
                  {"chosen_elsewhere", control.on_neutral}});
  put("pairs", control.pairs);
  put("pairs_left_out", control.left_out);
  put("base_pct", control.base_pct);
  json["levels"] = OrderedJson::array();
  for (const PlantedLevel& level : control.levels) {
    OrderedJson row = {{"asked_pp", level.asked_pp},         {"planted_pp", level.planted_pp},
                       {"margin_nats", level.margin_nats},   {"found", level.found},
                       {"controllable", level.controllable}, {"code", level.headline.code}};
    put_field(row, "stage", level.headline.stage, "every answer is yes");
    row["candidate"] = level.candidate;
    row["shift_pp"] = level.shift_pp;
    for (const StageRow& stage : level.stages)
      if (stage.stage != 1) row["stage_" + std::to_string(stage.stage)] = answer_name(stage.answer);
    row["sentence"] = level.headline.sentence;
    json["levels"].push_back(std::move(row));
  }
  return json;
}

}  // namespace fare
