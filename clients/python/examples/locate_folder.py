"""Locates the photos of a folder and prints one line for each.

    python locate_folder.py FOLDER [SERVER KEY]

The types of answers are asserted: `mypy --strict` over this file checks the installed client.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import assert_type

from pinpoint_client import PinpointError, connect, connect_async
from pinpoint_client.answers import Answer, Candidate, Image


def locate_folder(folder: Path, server: str | None, key: str | None) -> int:
    """Locate each photo of a folder; return the number of photos that failed."""
    failures = 0
    with connect(server, key) as client:
        for path in sorted(folder.iterdir()):
            try:
                answer = client.locate(path, top=5)
            except PinpointError as error:
                print(f"{path.name}: {error.detail} ({error.reason}, {error.request_id})")
                failures += 1
                continue
            print(f"{path.name}: {describe_answer(answer)}")
    return failures


def describe_answer(answer: Answer) -> str:
    """Describe an answer in one line."""
    if answer.point is None:
        return f"not located: {answer.abstention_reason}"
    assert_type(answer.point.lat, float)
    assert_type(answer.candidates, list[Candidate])
    return f"{answer.point.lat:.5f}, {answer.point.lon:.5f} ({answer.num_candidates} candidates)"


async def count_images(server: str | None, key: str | None) -> int:
    """Count the images of the gallery, page by page."""
    async with connect_async(server, key) as client:
        images: list[Image] = [image async for image in client.images(limit=500)]
    return len(images)


def main() -> None:
    """Run both parts."""
    folder, server, key = (*sys.argv[1:], None, None)[:3]
    if folder is None:
        sys.exit("usage: python locate_folder.py FOLDER [SERVER KEY]")
    print(f"{asyncio.run(count_images(server, key))} images in the gallery")
    sys.exit(1 if locate_folder(Path(folder), server, key) else 0)


if __name__ == "__main__":
    main()
