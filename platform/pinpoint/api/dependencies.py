"""FastAPI dependencies that the route modules share: the services, and the caller by scope."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from pinpoint.api.auth import get_services, require_scope
from pinpoint.bootstrap import Services
from pinpoint.records import Caller

AppServices = Annotated[Services, Depends(get_services)]
ReadCaller = Annotated[Caller, Depends(require_scope("read"))]
LocateCaller = Annotated[Caller, Depends(require_scope("locate"))]
ExportCaller = Annotated[Caller, Depends(require_scope("export"))]
IngestCaller = Annotated[Caller, Depends(require_scope("ingest"))]
AuditCaller = Annotated[Caller, Depends(require_scope("audit"))]
AdminCaller = Annotated[Caller, Depends(require_scope("admin"))]
AnyCaller = Annotated[Caller, Depends(require_scope("any_key"))]
