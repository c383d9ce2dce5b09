"""Writes what the built-in agents bring along: the turn classifier's weights and the known answers.

Run it after the dialogues have changed: ``python data/agents/build.py``. Both files lie beside the
agents that read them, as an agent's own data does.
"""

from __future__ import annotations

import json

import numpy as np

from labkit.evidence.agent_parts import load, vectors
from labkit.evidence.phrasings import fit, phrasings, questions
from labkit.paths import agents_dir


def main() -> None:
    labels = load("_turn_rules").LABELS
    table = phrasings()
    train = table[table["split"] == "train"]
    wanted = np.array([labels.index(n) for n in train["needs"]])
    weights = fit(vectors(list(train["text"])), wanted)
    lines = ",\n  ".join(json.dumps([round(float(w), 3) for w in row]) for row in weights)
    text = f'{{"labels": {json.dumps(labels)},\n "weights": [\n  {lines}\n ]}}\n'
    (agents_dir() / "turn_classifier.json").write_text(text)
    answers = ",\n ".join(json.dumps(q) for q in questions())
    (agents_dir() / "known_answers.json").write_text(f"[\n {answers}\n]\n")
    print(f"{len(train)} sentences, {len(questions())} answers")


if __name__ == "__main__":
    main()
