#!/bin/sh
# Health check of a worker container: ping-worker NAME, where NAME is that of `-n NAME@%h`.
# Without `-A`, so that a check loads neither PyTorch nor the weights. The URL travels in a variable,
# because arguments are visible to all processes.
set -eu
export CELERY_BROKER_URL="$PINPOINT_BROKER_URL"
exec celery --quiet inspect ping --destination "$1@$(hostname)" --timeout 10
