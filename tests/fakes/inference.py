"""The wire of the inference role without its model: POST /embed in float32."""

import asyncio
import json
import threading
from array import array
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.fakes.embedder import WordEmbedder


class ScriptedInference:
    """Serves on loopback between `with` and its end; `requests` are the texts of each call."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._send(b'{"status":"ok","model_id":"words"}', {})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                texts = body["inputs"] if isinstance(body["inputs"], list) else [body["inputs"]]
                outer.requests.append(texts)
                vectors = asyncio.run(WordEmbedder().embed(texts)).vectors
                packed = b"".join(array("f", vector).tobytes() for vector in vectors)
                self._send(packed, {"x-shape": f"{len(vectors)},256", "x-model": "words"})

            def _send(self, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(200)
                for name, value in {"content-length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "ScriptedInference":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
