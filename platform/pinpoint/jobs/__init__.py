"""The flow of locate jobs: items under leases, photos deleted at the end of their item."""
