"""The verification example of the documentation verifies real deliveries."""

from __future__ import annotations

from typing import Any

from document_blocks import ROOT, read_blocks
from webhooks.test_webhook_delivery import add_webhook, publish


def test_example_reads_a_delivery_and_rejects_a_changed_one(harness, org):
    (block,) = [
        block
        for block in read_blocks(ROOT / "docs" / "how-to" / "webhooks.md")
        if block.language == "python"
    ]
    names: dict[str, Any] = {}
    exec(compile(block.code, str(block.page), "exec"), names)
    _, secret = add_webhook(harness, org)
    publish(harness, org, job_id="1")
    harness.deliver()
    (received,) = harness.receiver.received
    event = names["read_event"](received.body, received.headers, secret)
    assert (event["type"], event["data"]) == ("job.completed", {"job_id": "1"})
    changed = received.body.replace(b'"1"', b'"2"')
    assert names["read_event"](changed, received.headers, secret) is None
