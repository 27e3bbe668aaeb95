"""The HTTP API: routes, wire schemas, problem details and authentication, built on FastAPI."""
