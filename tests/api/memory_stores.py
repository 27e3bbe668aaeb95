"""Blobs, stored answers and an index in memory, for the API without servers (`api.memory`)."""

from __future__ import annotations

from uuid import UUID, uuid4

from pinpoint.records import IndexInfo, StoredAnswer


class Blobs:
    def __init__(self):
        self.kept: dict[str, bytes] = {}

    def put(self, organization_id, data):
        uri = f"blob:{organization_id}/{uuid4().hex}"
        self.kept[uri] = data
        return uri

    def put_file(self, organization_id, file):
        return self.put(organization_id, file.read())

    def delete(self, uri):
        self.kept.pop(uri, None)


class Answers:
    """Answers of requests with an `Idempotency-Key`."""

    def __init__(self):
        self.kept: dict[tuple[UUID, str, str], StoredAnswer] = {}

    def find_answer(self, request):
        return self.kept.get((request.caller_id, request.route, request.key))

    def store_answer(self, request, answer, ttl_s):
        self.kept[request.caller_id, request.route, request.key] = answer


class Index:
    ready = True

    def info(self):
        return IndexInfo(
            engine="qdrant-edge", ready=self.ready, contract="c", build="b", points=0,
            indexed_vectors=0, loading=None if self.ready else "streaming",
        )  # fmt: skip
