"""A web server with photos, and a store with the API of S3 that checks signatures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ADDRESS = "127.77.0.1"
ACCESS_KEY, SECRET_KEY, REGION = "AKIDEXAMPLE", "s3cret/with+signs", "eu-west-3"
BUCKET = "survey"


@dataclass
class FileServer:
    """Files by path, and objects by key; `fails` counts down answers 503."""

    port: int
    files: dict[str, bytes] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    fails: int = 0
    page_size: int = 1_000

    def url(self, path: str) -> str:
        return f"http://{ADDRESS}:{self.port}{path}"


@contextmanager
def serve_files() -> Iterator[FileServer]:  # noqa: C901 - methods of a handler
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append(self.path)
            path = urlsplit(self.path).path
            if server.fails:
                server.fails -= 1
                self.send_body(b"", 503)
            elif path == f"/{BUCKET}" or path.startswith(f"/{BUCKET}/"):
                self.answer_store(path)
            elif path in server.files:
                self.send_body(server.files[path])
            else:
                self.send_body(b"", 404)

        def answer_store(self, path: str) -> None:
            if not has_valid_signature(self):
                self.send_body(b"<Error><Code>SignatureDoesNotMatch</Code></Error>", 403)
            elif path == f"/{BUCKET}":
                self.send_body(list_objects(server, dict(parse_qsl(urlsplit(self.path).query))))
            elif (key := unquote(path.removeprefix(f"/{BUCKET}/"))) in server.objects:
                self.send_body(server.objects[key])
            else:
                self.send_body(b"", 404)

        def send_body(self, body: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return None

    http = ThreadingHTTPServer((ADDRESS, 0), Handler)
    server = FileServer(http.server_address[1])
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def has_valid_signature(handler: BaseHTTPRequestHandler) -> bool:
    """Whether botocore computes the same signature for the request that arrived."""
    date = handler.headers.get("X-Amz-Date", "")
    request = AWSRequest(
        "GET",
        f"http://{handler.headers['Host']}{handler.path}",
        headers={
            name: value
            for name, value in handler.headers.items()
            if name.lower().startswith("x-amz-")
        },
    )
    request.context["timestamp"] = date
    auth = S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    authorization = handler.headers.get("Authorization", "")
    return authorization.endswith(f"Signature={auth.signature(text, request)}")


def list_objects(server: FileServer, query: dict[str, str]) -> bytes:
    """`ListBucketResult` of ListObjectsV2, with encoded keys."""
    assert query["list-type"] == "2"
    assert query["encoding-type"] == "url"
    keys = [
        key
        for key in sorted(server.objects, key=str.encode)
        if key.startswith(query.get("prefix", ""))
        and key.encode() > query.get("start-after", "").encode()
    ]
    page = keys[: server.page_size]
    contents = "".join(
        f"<Contents><Key>{escape(quote(key, safe='/'))}</Key><Size>1</Size></Contents>"
        for key in page
    )
    return (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{str(len(page) < len(keys)).lower()}</IsTruncated>"
        f"<EncodingType>url</EncodingType>{contents}</ListBucketResult>"
    ).encode()
