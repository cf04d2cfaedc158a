"""Hashes of the requests lm-evaluation-harness builds from the public data files.

  .venv/bin/python tests/golden/harness_requests/make.py --data ../shared/data > tests/golden/harness_requests/requests.json

The harness downloads its data sets; here `datasets.load_dataset` is replaced by the same records read from the files at
hand, and everything after that (filters, templates, delimiters, request building) is the harness's own code.
"""
import argparse
import hashlib
import json
import os
import pathlib
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

TASKS = ["crows_pairs_english"] + [
    "crows_pairs_english_" + c for c in ("race_color", "gender", "socioeconomic", "nationality", "religion", "age",
                                         "sexual_orientation", "physical_appearance", "disability", "autre")
] + ["truthfulqa_mc1", "truthfulqa_mc2"]


def crows_pairs_records(data):
    lines = (data / "crows-pairs/french/english_french_base_file.csv").read_bytes().decode("utf-8").split("\n")
    names = ("id", "sent_more", "sent_less", "stereo_antistereo", "bias_type")
    return [dict(zip(names, line.split("\t"))) for line in lines[1:] if line]


def truthfulqa_records(data):
    def split(answers):
        return {"choices": list(answers), "labels": list(answers.values())}
    questions = json.loads((data / "truthfulqa/mc_task.json").read_text(encoding="utf-8"))
    return [{"question": q["question"], "mc1_targets": split(q["mc1_targets"]), "mc2_targets": split(q["mc2_targets"])}
            for q in questions]


def read_records_at_hand(data):
    """From here on the harness reads its data sets from the files below `data`."""
    import datasets

    def load_dataset(path=None, name=None, **_):
        if path == "jannalu/crows_pairs_multilingual" and name == "english":
            return datasets.DatasetDict(test=datasets.Dataset.from_list(crows_pairs_records(data)))
        if path == "truthfulqa/truthful_qa" and name == "multiple_choice":
            return datasets.DatasetDict(validation=datasets.Dataset.from_list(truthfulqa_records(data)))
        raise SystemExit(f"no records at hand for the data set {path} {name}")

    datasets.load_dataset = load_dataset


def load_tasks(data, names):
    """The harness's task objects for `names`, reading the records at hand."""
    read_records_at_hand(data)
    from lm_eval.tasks import TaskManager
    return TaskManager().load(list(names))["tasks"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path(os.environ.get("FARE_DATA", "../shared/data")))
    data = parser.parse_args().data
    tasks = load_tasks(data, TASKS)
    out = {}
    for name in TASKS:
        task = tasks[name]
        task.build_all_requests()
        digest = hashlib.sha256()
        for instance in task.instances:
            digest.update(json.dumps(list(instance.args), ensure_ascii=False).encode("utf-8") + b"\n")
        out[name] = {"documents": len(task.eval_docs), "requests": len(task.instances), "sha256": digest.hexdigest()}
    json.dump(out, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
