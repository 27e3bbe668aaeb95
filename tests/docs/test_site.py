"""The documentation site is complete, and nothing of it comes from elsewhere."""

from __future__ import annotations

import json
import posixpath
import re
import tomllib
from urllib.parse import unquote, urlsplit

import pytest
import reference_tables

from document_blocks import ROOT

OTHER_VARIABLES = {"PINPOINT_SERVER", "PINPOINT_KEY", "PINPOINT_ORG"}


def test_site_internal_links_resolve(site):
    broken = []
    for page, parser in site.pages.items():
        for link in parser.links:
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            target = (
                posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(address.path)))
                if address.path
                else page
            )
            if not (site.folder / target).is_file():
                broken.append(f"{page}: {link}")
            elif address.fragment and target in site.pages:
                is_known = unquote(address.fragment) in site.pages[target].anchors
                broken += [] if is_known else [f"{page}: {link} (no such section)"]
    assert broken == []


def test_site_resources_are_files_of_the_site(site):
    foreign = []
    for page, parser in site.pages.items():
        for address in parser.resources:
            parts = urlsplit(address)
            path = posixpath.normpath(posixpath.join(posixpath.dirname(page), parts.path))
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc or not (site.folder / path).is_file():
                foreign.append(f"{page}: {address}")
    assert foreign == []
    assert sum(len(parser.resources) for parser in site.pages.values()) > len(site.pages)


def test_site_stylesheets_load_nothing_from_elsewhere(site):
    sheets = list(site.folder.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        text = sheet.read_text(encoding="utf-8")
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", text) == [], sheet.name


def test_site_search_works_without_a_server(site):
    assert (site.folder / "search" / "search_index.js").is_file()
    assert "javascripts/iframe-worker-shim.js" in site.pages["index.html"].resources


def test_site_has_no_diagrams_that_need_a_foreign_script(site):
    # The theme would load the program of a diagram from another host.
    for page in site.pages:
        assert 'class="mermaid"' not in (site.folder / page).read_text(encoding="utf-8"), page


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("settings", [name for name, _, _ in reference_tables.setting_fields()]),
        ("cli", [name for name, _ in reference_tables.commands()]),
        ("http", [f"{method} {path}" for method, path, _ in reference_tables.routes()]),
        ("errors", [str(row[0]).strip("`") for row in reference_tables.error_rows()]),
    ],
)
def test_reference_page_names_everything_in_the_code(site, page, names):
    text = site.read_text(f"reference/{page}.html")
    assert names
    assert [name for name in names if name not in text] == []


def test_reference_cli_names_every_option(site):
    text = site.read_text("reference/cli.html")
    options = {
        option
        for _, command in reference_tables.commands()
        for param in command.params
        for option in (*param.opts, *param.secondary_opts)
        if option.startswith("--")
    }
    assert "--json" in options
    assert [option for option in sorted(options) if option not in text] == []


def test_reference_cli_shows_the_examples_of_every_command(site):
    text = site.read_text("reference/cli.html")
    for name, command in reference_tables.commands():
        examples = reference_tables.command_examples(command)
        assert examples, f"{name} has no example"
        for example in examples:
            assert " ".join(example.split()) in text


def test_reference_errors_name_every_exit_code(site):
    from pinpoint.cli.exit_codes import EXIT_CODES

    text = site.read_text("reference/errors.html")
    assert {int(code) for code in EXIT_CODES.values()} <= {
        code for code, _ in reference_tables.exit_code_rows()
    }
    for code, meaning in reference_tables.exit_code_rows():
        assert f"{code} {meaning.replace('`', '')}" in text


def test_reference_reasons_name_every_reason(site):
    from pinpoint.api.status_collector import WORKER_CODES
    from pinpoint.media.checks import REASONS

    text = site.read_text("reference/reasons.html").split()
    words = {word.strip(",.;") for word in text}
    assert {*REASONS, *WORKER_CODES} <= words


def test_reference_metrics_name_every_metric(site):
    from pinpoint.api.metrics import METRICS

    text = site.read_text("reference/metrics.html")
    for metric in METRICS:
        assert metric.name in text
        assert metric.alert.replace("`", "") in text


@pytest.mark.parametrize("config", ["world-tiny.toml", "world-tiny-reranked.toml", "paper.toml"])
def test_reference_training_names_every_key_of_the_configs(site, config):
    text = set(site.read_text("reference/training-configuration.html").split())

    def keys(table):
        for key, value in table.items():
            yield key
            for nested in value if isinstance(value, list) else [value]:
                # Tables of values that a user names, such as arguments of a library.
                if isinstance(nested, dict) and key not in ("arguments", "filter", "only"):
                    yield from keys(nested)

    plain = tomllib.loads((ROOT / "docs" / "configs" / config).read_text("utf-8"))
    assert [key for key in keys(plain) if key not in text] == []


def test_reference_bundle_contract_names_every_key(site):
    from pinpoint.nets.bundle.bundles import SHIPPED_FOLDER
    from pinpoint.nets.bundle.contract import BundleContract

    text = site.read_text("reference/bundle-contract.html").split()
    names = {row.name for row in reference_tables.field_rows(BundleContract)}
    assert names <= set(text)
    contract = json.loads((SHIPPED_FOLDER / "world-tiny" / "contract.json").read_text("utf-8"))
    assert set(contract) <= names


def test_site_names_only_variables_that_exist(site):
    known = {name for name, _, _ in reference_tables.setting_fields()} | OTHER_VARIABLES
    for page in site.pages:
        named = set(re.findall(r"\bPINPOINT_[A-Z_]*[A-Z]\b", site.read_text(page)))
        assert {name for name in named - known if not name.startswith("PINPOINT_TEST_")} == set(), (
            page
        )


def test_results_every_section_with_figures_has_date_and_commit():
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    measured = [part for part in sections if re.search(r"^\| ", part, re.MULTILINE)]
    assert len(measured) >= 6
    for part in measured:
        assert re.search(r"20\d\d-\d\d-\d\d, commit `[0-9a-f]{7,}`", part), part.split("\n")[0]
