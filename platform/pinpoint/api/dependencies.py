"""FastAPI dependencies that the route modules share: the services, and the caller by scope."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from pinpoint.api.callers import needs, services
from pinpoint.bootstrap import Services
from pinpoint.records import Caller

AppServices = Annotated[Services, Depends(services)]
ReadCaller = Annotated[Caller, Depends(needs("read"))]
LocateCaller = Annotated[Caller, Depends(needs("locate"))]
IngestCaller = Annotated[Caller, Depends(needs("ingest"))]
AdminCaller = Annotated[Caller, Depends(needs("admin"))]
