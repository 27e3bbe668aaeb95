"""Request and response schemas of `/v1`, as pydantic models."""
