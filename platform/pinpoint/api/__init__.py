"""The HTTP door: routes, wire schemas, problem details and who may ask. FastAPI lives here."""
