"""Version 1 of the HTTP API: routes, parameters and schemas below `/v1`."""
