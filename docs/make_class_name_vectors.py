"""Writes ecm/models/imagenet/names.tsv: every name in the vocabulary with its MiniLM vector.

Run once by hand after the vocabulary or the text model changed. Encoding 3,000 names takes seconds,
and every start of a search process would pay for it. A row is a name and 384 signed bytes in
base64: the vector scaled to its largest component; only its direction is used.

    python docs/make_class_name_vectors.py conf/models/all-minilm-l6-v2.yaml ecm/models/imagenet
"""

from __future__ import annotations

import argparse
import base64
from pathlib import Path

import numpy as np

from ecm.models.manifest import load_manifest
from ecm.models.registry import open_text_embedder
from ecm.models.vocabulary import load_vocabulary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    vocabulary = load_vocabulary(args.folder / "classes.tsv", args.folder / "ancestors.tsv")
    named = (*vocabulary.classes, *vocabulary.ancestors)
    names = sorted({lemma for entry in named for lemma in entry.lemmas})
    embedder = open_text_embedder(load_manifest(args.manifest), threads=1)
    rows = ["name\tvector"]
    for name, vector in zip(names, embedder.embed_texts(names), strict=True):
        scaled = np.rint(vector * (127.0 / np.abs(vector).max())).astype(np.int8)
        rows.append(f"{name}\t{base64.b64encode(scaled.tobytes()).decode('ascii')}")
    args.folder.joinpath("names.tsv").write_text("\n".join(rows) + "\n", "utf-8")


if __name__ == "__main__":
    main()
