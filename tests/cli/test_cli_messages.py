"""The same mistake gives the same message in every command, without Python terms."""

from __future__ import annotations

import io
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from media.pictures import noise, saved
from pinpoint.cli import output
from pinpoint.cli.main import describe_unforeseen, main
from pinpoint.errors import describe_cause

BATCH = "3f0c1d9e-6f2a-4d0b-9a51-0c2f6a1b7d10"
PYTHON_TEXT = re.compile(
    r"Errno|Traceback|Exception|Error\b|<class|object at 0x|\.py\b|urllib|httpx"
)
OVER_THE_API = [
    ["sources", "list"],
    ["sources", "add", "trips", "--source-kind", "photo"],
    ["sources", "delete", "trips", "--yes"],
    ["batches", "list"],
    ["batches", "show", BATCH],
    ["batches", "retry", BATCH],
    ["batches", "wait", BATCH],
    ["images", "show", BATCH],
    ["images", "update", BATCH, "--lat", "1", "--lon", "2"],
    ["images", "delete", BATCH],
    ["locate", "{photo}"],
    ["similar", "{photo}"],
]
UPLOAD = ["ingest", "{folder}", "--source", "trips", "--source-kind", "photo"]
ON_THE_MACHINE = [
    UPLOAD,
    ["orgs", "list"],
    ["orgs", "create", "acme"],
    ["orgs", "disable", "acme"],
    ["keys", "list"],
    ["keys", "create", "laptop"],
    ["index", "info"],
    ["index", "rebuild"],
    ["index", "reconcile", "--dry-run"],
    ["bundles", "activate", "descriptor"],
    ["bundles", "delete-vectors", "descriptor"],
    ["backup", "{folder}/out.tar"],
    ["train", "resume", BATCH],
]


@pytest.fixture
def run_failing(tmp_path, monkeypatch, capsys):
    """Runs a command that fails; returns its exit code and its one line of stderr."""
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = folder / "photo.jpg"
    photo.write_bytes(saved(noise(40, 30, seed=1)))
    monkeypatch.setenv("PINPOINT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "300")

    def run(words, *before):
        filled = [word.format(photo=photo, folder=folder) for word in words]
        monkeypatch.setattr(sys, "argv", ["pinpoint", *before, *filled])
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        text = (captured.err + captured.out).strip()
        assert not PYTHON_TEXT.search(text), (words, text)
        return ended.value.code, text

    return run


def run_commands(run_failing, commands, *before):
    """Exit code and message of each command, without the photo name that `locate` adds."""
    results = {" ".join(words): run_failing(words, *before) for words in commands}
    return {
        name: (code, re.sub(r"^pinpoint: \S*photo\.jpg: ", "pinpoint: ", text))
        for name, (code, text) in results.items()
    }


def common_result(results):
    """Exit code and message that all commands have in common."""
    kinds = {}
    for name, answer in results.items():
        kinds.setdefault(answer, []).append(name)
    assert len(kinds) == 1, "\n".join(f"{names}: {answer}" for answer, names in kinds.items())
    return next(iter(kinds))


@pytest.fixture
def foreign_server():
    """A web server that is not a Pinpoint API."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b"<html>secret page</html>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - the names that http.server calls

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_message_without_stack_is_the_same_for_every_command(run_failing, tmp_path):
    code, text = common_result(run_commands(run_failing, [*OVER_THE_API, *ON_THE_MACHINE, ["key"]]))
    assert code == 75
    for words in (str(tmp_path / "home"), "pinpoint up", "PINPOINT_HOME", "--server"):
        assert words in text


def test_message_with_stack_down_is_the_same_for_every_command(run_failing, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "stack.json").write_text(
        '{"api_host": "127.0.0.1", "api_port": 9, "fingerprint": "", "started_at": "", '
        '"supervisor_pid": 0, "pids": {}, "pgdata": "", "versions": {}, "external": []}'
    )
    (home / "operator.key").write_text("k" * 40)
    commands = [words for words in OVER_THE_API + ON_THE_MACHINE if words[0] != "backup"]
    code, text = common_result(run_commands(run_failing, commands))
    assert code == 75
    assert "it is down" in text
    assert "pinpoint up" in text


def test_message_with_connection_refused_is_the_same_for_every_command(run_failing):
    code, text = common_result(
        run_commands(run_failing, [*OVER_THE_API, UPLOAD], "--server", "http://127.0.0.1:9")
    )
    assert code == 69
    assert text == "pinpoint: http://127.0.0.1:9 does not answer: it refuses the connection"


@pytest.mark.parametrize("url", ["gopher://x", "127.0.0.1:8000", "http://host:port"])
def test_message_with_invalid_url_is_the_same_for_every_command(run_failing, url):
    code, text = common_result(run_commands(run_failing, [*OVER_THE_API, UPLOAD], "--server", url))
    assert code == 64
    assert repr(url) in text


def test_message_with_other_server_names_it_for_every_command(run_failing, foreign_server):
    for name, (code, text) in run_commands(
        run_failing, [*OVER_THE_API, UPLOAD], "--server", foreign_server
    ).items():
        assert code == 69, (name, text)
        assert "is not a Pinpoint API" in text, name
        assert "secret page" not in text


def test_message_with_wrong_key_is_the_same_for_every_command(run_failing, api):
    before = ("--server", api.url, "--key", "pp_wrong_key_0123456789")
    code, text = common_result(run_commands(run_failing, [*OVER_THE_API, UPLOAD], *before))
    assert code == 77
    assert "pp_wrong_key" not in text


def test_message_with_unknown_source_is_the_same_for_every_command(run_failing, api):
    commands = [
        ["sources", "delete", "nowhere", "--yes"],
        ["ingest", "{folder}", "--source", "nowhere"],
        ["locate", "{photo}", "--in-source", "nowhere"],
        ["similar", "{photo}", "--in-source", "nowhere"],
    ]
    code, text = common_result(run_commands(run_failing, commands, "--server", api.url))
    assert code == 66
    assert "nowhere" in text


def test_message_with_missing_file_is_the_same_for_every_command(run_failing, api, tmp_path):
    missing = str(tmp_path / "missing.jpg")
    commands = [
        ["locate", missing],
        ["similar", missing],
        ["validate", missing],
        ["ingest", missing, "--source", "trips", "--source-kind", "photo"],
    ]
    results = run_commands(run_failing, commands, "--server", api.url)
    code, text = common_result(results)
    assert code == 64
    assert missing in text


@pytest.mark.parametrize(
    ("option", "value", "commands"),
    [
        ("--center", "1", (["locate", "{photo}"], ["similar", "{photo}"])),
        ("--bbox", "1,2,3", (["locate", "{photo}"], ["similar", "{photo}"])),
        ("--datetime", "yesterday", (["locate", "{photo}"], ["similar", "{photo}"])),
        ("--source-kind", "movie", (["locate", "{photo}"], ["similar", "{photo}"])),
        (
            "--source-kind",
            "movie",
            (["sources", "add", "trips"], ["ingest", "{folder}", "--source", "t"]),
        ),
        ("--originals", "keep", (["sources", "add", "t"], ["ingest", "{folder}", "--source", "t"])),
    ],
)
def test_message_with_invalid_value_is_the_same_for_every_command(
    run_failing, api, option, value, commands
):
    extra = ["--radius", "5"] if option == "--center" else []
    called = [[*words, option, value, *extra] for words in commands]
    code, text = common_result(run_commands(run_failing, called, "--server", api.url))
    assert code in (2, 64)
    assert value in text


def test_describe_cause_has_no_python_terms(tmp_path):
    errors = [
        ConnectionRefusedError(111, "Connection refused"),
        FileNotFoundError(2, "No such file or directory"),
        OSError(28, "No space left on device"),
        TimeoutError("timed out"),
        OSError("[Errno -2] Name or service not known"),
        RuntimeError("[Errno 5] first line\nsecond line"),
        ValueError(""),
    ]
    messages = [describe_cause(error) for error in errors]
    assert messages == [
        "it refuses the connection",
        "nothing listens there",
        "no space left on device",
        "no answer in time",
        "no machine of that name is known",
        "first line",
        "it gave no reason",
    ]


def test_describe_unforeseen_with_bug_names_the_code_line_without_its_text():
    with pytest.raises(TypeError, match="has no JSON form") as raised:
        output.to_json_value(object())
    message = describe_unforeseen(raised.value)
    assert re.match(r"pinpoint: this is a bug \(TypeError at output\.py:\d+\); repeat", message)
    assert "JSON" not in message


def test_describe_unforeseen_with_os_error_names_file_and_cause(tmp_path):
    with pytest.raises(IsADirectoryError) as raised:
        tmp_path.read_bytes()
    assert describe_unforeseen(raised.value) == f"pinpoint: {tmp_path}: is a directory"
