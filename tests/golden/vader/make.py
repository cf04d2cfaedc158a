"""Sentiment of made-up texts by vaderSentiment 3.3.2.

  python3 -m pip install --no-deps --target FOLDER vaderSentiment==3.3.2 && PYTHONPATH=FOLDER python3 tests/golden/vader/make.py > tests/golden/vader/sentiment.json

The texts are drawn from words that touch the rules (boosters, negations, "but", "least", "no", capitals, phrases, marks).
"""
import json
import pathlib
import random
import sys

import vaderSentiment.vaderSentiment as vader

WORDS = ("good great bad terrible nice warm awful love hate happy sad kind fun boring win fail table house the a it is was very so "
         "really extremely barely kinda slightly most less not never no nor or without doubt this least at isn't don't cannot but "
         "But BUT GOOD BAD VERY NOT LOVE nice, nice! bad. (good) of kind of sort of bad ass the bomb kiss of death yeah right to die "
         "for bus stop beating heart broken heart :) :( :D ;-) lol a-ok OK no! No, 'great' \"bad\" great!!! why?? hmm??? what???? "
         "éclair ÉTÉ naïve 😀 💔 good😀 x😢 Ⅷ ß ... -- just enough hardly sort-of despite least").split()


def main():
    draw = random.Random(7)
    # The repository has two special phrases that the released package lacks or weighs otherwise.
    rules = pathlib.Path(__file__).parents[3] / "share/fare/fixtures/vader_rules.json"
    vader.SPECIAL_CASES.update(json.loads(rules.read_text(encoding="utf-8"))["special_phrases"])
    analyser = vader.SentimentIntensityAnalyzer()
    texts = ["", " ", "!", "At least it is good.", "It is the least good.", "very least good", "least good", "no no good", "good or no bad nor nice",
             "never so good", "never this bad", "without a doubt good", "without doubt good", "it was never good", "I did not say it was so good",
             "THIS IS ALL GOOD", "this is all GOOD", "not very GOOD at all!!!", "nice but nice but nice", "nice but warm", "warm day but nice warm evening", "bad bad but bad good bad", "kind of good", "kind person"]
    texts += [" ".join(draw.choice(WORDS) for _ in range(draw.randint(1, 14))) for _ in range(400)]
    json.dump([{"text": text, **analyser.polarity_scores(text)} for text in texts], sys.stdout, ensure_ascii=False, indent=0)
    print()


if __name__ == "__main__":
    main()
