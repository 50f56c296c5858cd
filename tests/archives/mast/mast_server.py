"""A MAST on this machine, that can be made as unpleasant as the real network."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

API = "/search/jwst/api/v0.1/"


def fits_bytes(size: int, seed: int = 0) -> bytes:
    """Make a FITS file of two HDUs that is filled with noise up to about a size."""
    rows = max(round(size / 2880) - 2, 1)
    primary = _header(
        "SIMPLE  =                    T", "NAXIS   =                    0"
    )
    image = _header(
        "XTENSION= 'IMAGE   '",
        "NAXIS   =                    2",
        "NAXIS1  =                 2880",
        f"NAXIS2  = {rows:20d}",
        "PCOUNT  =                    0",
        "GCOUNT  =                    1",
    )
    return primary + image + random.Random(seed).randbytes(rows * 2880)


def _header(first: str, *cards: str) -> bytes:
    cards = (first, "BITPIX  =                    8", *cards, "END")
    return "".join(card.ljust(80) for card in cards).ljust(2880).encode()


@dataclass
class Archive:
    """What the server holds, how it misbehaves, and what it was asked."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    products: list[dict[str, Any]] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)
    #: file name -> what is needed to get it
    exclusive: set[str] = field(default_factory=set)
    token: str = "good-token"
    page_limit: int = 100_000
    turns_pages: bool = True
    announce: Callable[[int], int | None] = lambda total: total
    executing: int = 0
    busy: int = 0
    #: HTTP status of every answer to a search
    refuses: int = 0
    honours_range: bool = True
    #: ETag, Last-Modified, or nothing
    validator: str = "ETag"
    #: its value; by default a hash of the body
    tag: str = ""
    redirect: str = ""
    #: called with (name, first byte, length of the answer) -> bytes before the cut
    cut: Callable[[str, int, int], int | None] = lambda name, start, length: None
    #: seconds between pieces of 10 kB
    pace: float = 0.0
    #: how far beside the byte asked for an answer starts
    beside: int = 0
    #: cut by a reset instead of a goodbye
    reset: bool = False
    #: answers a GET in a way of its own: (handler, name) -> whether it did
    odd: Callable[[Any, str], bool] = lambda handler, name: False
    #: the body of every answer to a POST
    raw: bytes = b""
    #: changes an answer: (name, body) -> body
    spoil: Callable[[str, bytes], bytes] = lambda name, body: body
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self, name: str, content: bytes | None = None, **row: Any
    ) -> dict[str, Any]:
        """Add a file, and its exposure if it is new; give its row in product lists."""
        stem, _, suffix = name.partition(".")[0].rpartition("_")
        exposure = row.pop("fileset", stem.rpartition("_")[0])
        content = (
            fits_bytes(20_000, seed=len(self.contents)) if content is None else content
        )
        self.contents[f"{exposure}/{name}"] = content
        levels = {"uncal": "1b", "rate": "2a", "cal": "2b", "i2d": "3"}
        product = {
            "product_key": name,
            "access": "PUBLIC",
            "dataset": exposure,
            "instrument_name": "NIRCAM",
            "filename": name,
            "uri": f"{exposure}/{name}",
            "file_suffix": f"_{suffix}",
            "category": levels.get(suffix, "AUX"),
            "size": len(content),
            "type": "science",
            **row.pop("product", {}),
        }
        self.products.append(product)
        if not any(r["fileSetName"] == exposure for r in self.rows):
            self.rows.append(self._row(exposure, row))
        return product

    def _row(self, exposure: str, values: dict[str, Any]) -> dict[str, Any]:
        combined = "-" in exposure
        return {
            "ArchiveFileID": 1000 + len(self.rows),
            "fileSetName": exposure,
            "productLevel": "3" if combined else "1b, 2a, 2b",
            "program": int(exposure[2:7]),
            "observtn": int(exposure[9:12] if combined else exposure[7:10]),
            "visit": 1 if combined else int(exposure[10:13]),
            "instrume": "NIRCAM",
            "exp_type": "NRC_IMAGE",
            "opticalElements": "F200W;CLEAR",
            "date_obs": "2022-12-24T10:00:00.0000000",
            "duration": 100.5,
            "targprop": "EGS",
            "targ_ra": 214.9,
            "targ_dec": 52.9,
            "publicReleaseDate": "2022-12-25T00:00:00",
            "access": "PUBLIC",
            **values,
        }

    def paths(self, start: str = "") -> list[str]:
        return [path for _, path, _ in self.requests if path.startswith(start)]


@contextmanager
def serving(archive: Archive) -> Iterator[str]:
    """Run the server; gives its root address."""

    class Handler(_Handler):
        holdings = archive

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *args: Any) -> None:
        """Clients that hang up are part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    holdings: Archive

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""

    def _note(self) -> None:
        with self.holdings.lock:
            headers = {k.lower(): v for k, v in self.headers.items()}
            self.holdings.requests.append((self.command, self.path, headers))

    def do_POST(self) -> None:
        self._note()
        length = int(self.headers.get("Content-Length", 0))
        asked = json.loads(self.rfile.read(length))
        if self._is_unpleasant():
            return
        if self.holdings.raw:
            self._body(self.holdings.raw)
        elif self.holdings.refuses:
            self.send_error(self.holdings.refuses)
        elif self.path == API + "search":
            self._json(self._search(asked))
        elif self.path == API + "post_list_products":
            wanted = set(asked["dataset_ids"])
            rows = [p for p in self.holdings.products if p["dataset"] in wanted]
            self._json({"products": rows})
        else:
            self.send_error(404)

    def _is_unpleasant(self) -> bool:
        with self.holdings.lock:
            if self.holdings.executing:
                self.holdings.executing -= 1
                self._json({"status": "EXECUTING", "msg": "", "data": []})
                return True
            if self.holdings.busy:
                self.holdings.busy -= 1
                self._json({"detail": "try later"}, status=503)
                return True
        return False

    def _search(self, asked: dict[str, Any]) -> dict[str, Any]:
        rows = self.holdings.rows
        for condition in asked["conditions"]:
            ((key, value),) = condition.items()
            wanted = str(value).split(",")
            rows = [r for r in rows if str(r[key]) in wanted]
        if "target" in asked:
            ra, dec = map(float, asked["target"][0].split())
            reach = asked["radius"] / 3600
            rows = [r for r in rows if abs(r["targ_dec"] - dec) <= reach]
            rows = [r for r in rows if abs(r["targ_ra"] - ra) <= reach]
        start = asked["offset"] if self.holdings.turns_pages else 0
        page = rows[start : start + min(asked["limit"], self.holdings.page_limit)]
        info = [{"name": key, "type": "string"} for key in (rows[0] if rows else {})]
        total = self.holdings.announce(len(rows))
        return {"info": info, "results": page, "totalResults": total}

    def _json(self, answer: Any, status: int = 200) -> None:
        self._body(json.dumps(answer).encode(), status)

    def _body(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self._note()
        parts = urlsplit(self.path)
        name = parse_qs(parts.query).get("product_name", [""])[0]
        if self.holdings.redirect:
            self.send_response(302)
            self.send_header("Location", self.holdings.redirect + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self._is_unpleasant() or self.holdings.odd(self, name):
            return
        elif (
            parts.path != API + "retrieve_product" or name not in self.holdings.contents
        ):
            self.send_error(404)
        elif self._is_forbidden(name):
            self.send_error(401)
        else:
            self._file(name)

    def _is_forbidden(self, name: str) -> bool:
        shown = self.headers.get("Authorization", "") == f"token {self.holdings.token}"
        return name in self.holdings.exclusive and not shown

    def _file(self, name: str) -> None:
        body = self.holdings.spoil(name, self.holdings.contents[name])
        tag = self.holdings.tag or f'"{hash(body) & 0xFFFFFFFF:x}"'
        start = self._start(tag)
        if start >= len(body) and start:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        start += self.holdings.beside if start else 0
        if start:
            last = len(body) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(body)}")
        if self.holdings.validator:
            self.send_header(self.holdings.validator, tag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if self.command == "GET":
            self._send(name, start, body[start:])

    def _start(self, tag: str) -> int:
        asked = self.headers.get("Range", "")
        same = self.headers.get("If-Range", tag) == tag
        if not asked or not self.holdings.honours_range or not same:
            return 0
        return int(asked.removeprefix("bytes=").rstrip("-"))

    def _send(self, name: str, start: int, body: bytes) -> None:
        with self.holdings.lock:
            cut = self.holdings.cut(name, start, len(body))
        kept = body if cut is None else body[:cut]
        with self.holdings.lock:
            self.holdings.sent += len(kept)
        for begin in range(0, len(kept), 10_000):
            if self.holdings.pace:
                time.sleep(self.holdings.pace)
            self.wfile.write(kept[begin : begin + 10_000])
        if cut is not None:
            self.close_connection = True
            if self.holdings.reset:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.wfile.flush()
                self.connection.close()
