"""Names say what they hold; `name_counts.py` beside this prints the counts."""

from __future__ import annotations

from conventions.name_counts import count_names, list_product_files

MAX_ONE_WORD_SHARE = 0.05
MAX_FILLER_SHARE = 0.01


def test_private_functions_have_names_of_several_words():
    counts = count_names(list_product_files())
    assert counts.private_functions > 500
    listing = "\n".join(counts.one_word_private_functions)
    assert counts.one_word_share <= MAX_ONE_WORD_SHARE, listing


def test_variables_say_what_they_hold():
    counts = count_names(list_product_files())
    assert counts.bindings > 5_000
    listing = "\n".join(counts.filler_bindings)
    assert counts.filler_share <= MAX_FILLER_SHARE, listing


def test_name_counts_finds_planted_names(tmp_path):
    path = tmp_path / "planted.py"
    path.write_text(
        "def _cut(found):\n    own = [each for each in found]\n    return own\n"
        "def _cut_boxes(boxes):\n    return boxes\n",
        encoding="utf-8",
    )
    counts = count_names([path], root=tmp_path)
    assert counts.one_word_private_functions == ["planted.py:1: _cut"]
    assert counts.private_functions == 2
    assert sorted(line.rsplit(" ", 1)[1] for line in counts.filler_bindings) == ["found", "own"]
