"""`POST /sign-in`: exchanges the one-time token of a sign-in URL for a browser session.

The session is a bearer token instead of a cookie, so that no other page can make the browser send
it. It has the operator's rights, on this machine only, and exists only in this process's memory.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request, Response, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field

from pinpoint.api import problems
from pinpoint.api.auth import is_same_origin
from pinpoint.api.dependencies import AppServices
from pinpoint.api.sessions import Sessions
from pinpoint.errors import UnauthenticatedError
from pinpoint.stack.sign_in_urls import SIGN_IN_PATH, use_token

router = APIRouter(tags=["health"])

_token = HTTPBearer(
    scheme_name="SignInToken", auto_error=False, description="Token of a sign-in URL."
)


class SessionOut(BaseModel):
    """A new session; its secret is returned only once."""

    session: str = Field(description="Send it as `Authorization: Bearer <session>`.")
    expires_at: datetime


@router.post(
    SIGN_IN_PATH,
    operation_id="sign_in",
    summary="Exchange a one-time token for a session",
    responses=problems.problem_responses(401),
)
async def sign_in(
    request: Request,
    response: Response,
    services: AppServices,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_token)] = None,
) -> SessionOut:
    """Sign in on the machine of the stack, with the URL that `pinpoint up` prints.

    The web page sends the token of the URL as `Authorization: Bearer <token>`. A token is valid
    once, for ten minutes. The session has the rights of the operator and ends with the API.
    """
    if not is_same_origin(request, services):
        raise UnauthenticatedError(
            "sign in with a browser on the machine of the stack, with the URL exactly as printed"
        )
    token = "" if credentials is None else credentials.credentials
    if not use_token(services.settings.services.home, token):
        raise UnauthenticatedError(
            "this sign-in URL was used, has expired or belongs to another stack; `pinpoint up` "
            "prints a new one"
        )
    sessions: Sessions = request.app.state.sessions
    browser_session = sessions.open()
    response.headers["Referrer-Policy"] = "no-referrer"
    return SessionOut(session=browser_session.secret, expires_at=browser_session.expires_at)
