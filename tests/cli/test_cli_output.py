"""Progress output without a terminal."""

from __future__ import annotations

from pinpoint.cli import output


def test_progress_of_long_work_prints_lines_at_intervals(capsys):
    now = [100.0]
    bar = output._PlainProgress(lambda: now[0])
    task = bar.add_task("asking", total=1)
    with bar:
        for num_done in range(101):
            now[0] += 1.0
            bar.update(task, completed=num_done, total=200)
        bar.update(bar.add_task("training"), completed=1, total=9)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "asking: 30 of 200",
        "asking: 60 of 200",
        "asking: 90 of 200",
    ]
    assert lines[-1] == "asking: 90 of 200, 1.0 a second, about 2 min left"


def test_progress_without_terminal_prints_no_bar_and_nothing_for_short_work(capsys):
    bar, task = output.open_progress_bar("asking")
    with bar:
        bar.update(task, completed=1, total=1)
    assert capsys.readouterr().err == ""
