"""Connection of the commands to an API: it sends calls and converts the client's errors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from pinpoint import errors
from pinpoint.settings import ServiceSettings
from pinpoint.stack.supervisor.running import is_running, missing_stack
from pinpoint_client import errors as client_errors
from pinpoint_client.calls.call import Call, Flow
from pinpoint_client.retry import run_flow
from pinpoint_client.transport import HttpTransport

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def convert_errors(home: Path | None = None) -> Iterator[None]:
    """Convert errors of the client to errors of Pinpoint, by the names of their classes.

    Args:
        home: Home of the embedded stack; None for another server.

    Raises:
        PinpointError: Anything of the client was raised inside.
    """
    try:
        yield
    except client_errors.StackError as error:
        if home is not None and error.reason == "stack_not_running" and not is_running(home):
            raise missing_stack(home) from error
        raise errors.StackError(error.message, reason=error.reason) from error
    except client_errors.PinpointError as error:
        converted = _find_error_class(type(error))(error.message, reason=error.reason)
        if isinstance(converted, errors.UnavailableError):
            converted.retry_after_s = error.retry_after_s
        if isinstance(converted, errors.QuotaExceededError) and isinstance(
            error, client_errors.RateLimitedError
        ):
            converted.retry_after_s = error.retry_after_s
            converted.policies = error.policies
        raise converted from error


def _find_error_class(kind: type[client_errors.PinpointError]) -> type[errors.PinpointError]:
    for parent in kind.__mro__:
        error_class = getattr(errors, parent.__name__, None)
        if error_class is not None:
            return error_class  # type: ignore[no-any-return]
    return errors.PinpointError


def json_method(build: Callable[P, Call[Any]]) -> Callable[Concatenate[ApiConnection, P], Any]:
    """Make a method that sends the call that a function builds; it returns the JSON document."""

    @functools.wraps(build)
    def method(self: ApiConnection, /, *args: P.args, **options: P.kwargs) -> Any:
        return self.send_call(lambda: build(*args, **options).as_json())

    return method


def raw_method(build: Callable[P, Call[T]]) -> Callable[Concatenate[ApiConnection, P], T]:
    """Make a method that sends the call that a function builds; it returns bytes or a number."""

    @functools.wraps(build)
    def method(self: ApiConnection, /, *args: P.args, **options: P.kwargs) -> T:
        return self.send_call(lambda: build(*args, **options))

    return method


class ApiConnection:
    """Connection to one API; use it as a context manager or call `close`.

    It does not repeat failed calls, except in uploads: a command reports the failure at once.
    """

    def __init__(self, transport: HttpTransport) -> None:
        self._transport: Final = transport

    @classmethod
    def open(
        cls,
        server: str | None = None,
        key: str | None = None,
        organization: str | None = None,
        home: Path | None = None,
    ) -> Self:
        """Open a client.

        Args:
            server: Base URL of an API; default: the embedded stack below `PINPOINT_HOME`.
            key: API key.
            organization: Organization that the operator of the embedded stack acts for.
            home: Home of the embedded stack; default: the home in the environment.

        Raises:
            StackError: No server was given and no embedded stack is running.
        """
        if server is not None:
            with convert_errors():
                return cls(HttpTransport(server, key, organization, embedded=False))
        home = home or ServiceSettings().home
        with convert_errors(home):
            transport = HttpTransport.to_embedded(organization if key is None else None, home)
            if key is None:
                return cls(transport)
            transport.close()
            return cls(HttpTransport(transport.server, key, organization, embedded=True, home=home))

    @property
    def server(self) -> str:
        """Base URL of the API."""
        return self._transport.server

    @property
    def embedded(self) -> bool:
        """Whether the API is this machine's embedded stack."""
        return self._transport.embedded

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def send_call(self, build: Callable[[], Call[T]]) -> T:
        """Build a call, send it and return its answer."""
        with convert_errors(self._transport.home):
            return self._transport.send_call(build())

    def run_flow(self, flow: Flow[T]) -> T:
        """Run a flow of calls; return its result."""
        with convert_errors(self._transport.home):
            return run_flow(flow, self._transport.send_call)
