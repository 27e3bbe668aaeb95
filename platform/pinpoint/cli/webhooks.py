"""`pinpoint webhooks`: URLs that receive events of the organization."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pinpoint.cli import output
from pinpoint.cli.option_values import check_choice
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session
from pinpoint.records.webhooks import WEBHOOK_EVENT_TYPES

app = typer.Typer(
    help="Send events, such as the end of a job, to URLs of the organization.",
    no_args_is_help=True,
)

WebhookIdArgument = Annotated[str, typer.Argument(help="Id of the webhook.")]
EventTypeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--event-type",
        help=f"Type of event to send: {', '.join(WEBHOOK_EVENT_TYPES)}; may be repeated. "
        "The default is all types.",
    ),
]


@app.command("add")
def add(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="URL that receives the events by POST.")],
    event_type: EventTypeOption = None,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a webhook and print its secret, which cannot be shown again."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    _check_event_types(event_type)
    with session.client() as client:
        _print_secret(session, client.add_webhook(url, event_type or ()))


@app.command("list")
def list_webhooks(
    context: typer.Context,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """List webhooks, without their secrets."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        webhooks = client.webhooks()
    if session.as_json:
        output.print_json({"webhooks": webhooks})
        return
    rows = [
        (
            webhook["url"],
            ", ".join(webhook["event_types"]) or "all",
            webhook["created_at"],
            webhook["disabled_at"],
            webhook["failing_since"],
            webhook["id"],
        )
        for webhook in webhooks
    ]
    columns = ("url", "event types", "created (UTC)", "disabled (UTC)", "failing since (UTC)", "id")
    output.print_table(None, columns, rows)


@app.command("show")
def show(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    webhook_id: WebhookIdArgument,
    page_size: Annotated[
        int, typer.Option("--page-size", min=1, max=500, help="Number of deliveries per page.")
    ] = 20,
    cursor: Annotated[
        str | None, typer.Option("--cursor", help="Cursor that the previous page printed.")
    ] = None,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a webhook and its deliveries, newest first."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        webhook = client.webhook(webhook_id)
        page = client.webhook_deliveries(webhook_id, limit=page_size, cursor=cursor)
    if session.as_json:
        output.print_json({"webhook": webhook, **page})
        return
    output.print_document(webhook)
    _print_deliveries(page["deliveries"])
    if page["next"] is not None:
        output.warn(f"more: the same command with --cursor {page['next']}")


@app.command("update")
def update(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    webhook_id: WebhookIdArgument,
    url: Annotated[str | None, typer.Option("--url", help="New URL.")] = None,
    event_type: EventTypeOption = None,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Start or stop deliveries.")
    ] = None,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change, disable or enable a webhook."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    _check_event_types(event_type)
    fields = {"url": url, "event_types": event_type or None, "enabled": enabled}
    with session.client() as client:
        webhook = client.update_webhook(
            webhook_id, **{name: value for name, value in fields.items() if value is not None}
        )
    if session.as_json:
        output.print_json(webhook)
    else:
        output.print_document(webhook)


@app.command("delete")
def delete(
    context: typer.Context,
    webhook_id: WebhookIdArgument,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a webhook; pending deliveries are not sent."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        client.delete_webhook(webhook_id)
    if session.as_json:
        output.print_json({"deleted": webhook_id})
    else:
        output.print_line(f"deleted {webhook_id}")


@app.command("rotate-secret")
def rotate_secret(
    context: typer.Context,
    webhook_id: WebhookIdArgument,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace the secret of a webhook; the previous one signs too for a day."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        _print_secret(session, client.rotate_webhook_secret(webhook_id))


@app.command("test")
def send_test(
    context: typer.Context,
    webhook_id: WebhookIdArgument,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a test event; `pinpoint webhooks show` prints its result."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        delivery = client.send_test_event(webhook_id)
    if session.as_json:
        output.print_json(delivery)
    else:
        output.print_line(f"queued {delivery['event_type']} as delivery {delivery['id']}")


def _check_event_types(values: list[str] | None) -> None:
    for value in values or ():
        check_choice("--event-type", value, WEBHOOK_EVENT_TYPES)


def _print_secret(session: Session, created: dict[str, Any]) -> None:
    if session.as_json:
        output.print_json(created)
        return
    webhook = created["webhook"]
    output.print_line(created["secret"])
    output.warn(f"webhook {webhook['id']} to {webhook['url']}. The secret is shown only now.")


def _print_deliveries(deliveries: list[dict[str, Any]]) -> None:
    rows = [
        (
            delivery["created_at"],
            delivery["event_type"],
            delivery["status"],
            delivery["attempts"],
            delivery["response_status"],
            delivery["next_attempt_at"],
            delivery["error_message"],
        )
        for delivery in deliveries
    ]
    columns = ("created (UTC)", "event type", "status", ">attempts", ">response status")
    output.print_table(None, (*columns, "next attempt (UTC)", "error message"), rows)
