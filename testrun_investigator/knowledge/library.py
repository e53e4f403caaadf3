"""The knowledge base as every server on a machine sees it: one owns the index, the others ask through it.

Two processes that open one Chroma folder read stale data without an error, and editors start one server per
window. So the first takes a lock and listens on a local socket; the others ask there. When the owner ends,
the system drops its lock, and the next one who asks becomes the owner. Ranking is `index`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socketserver
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket
from typing import IO, Any

from project_types import ConfigurationError, InvestigatorError
from testrun_investigator.knowledge.index import Found, Index
from testrun_investigator.knowledge.pages import Passage

_MOST_BYTES = 1 << 20
_QUESTION = 2000


class KnowledgeError(InvestigatorError):
    """The knowledge base cannot be asked now; the text says why and what to do."""


class _Closed(KnowledgeError):
    """This process has given the index back: who asked may own it now."""


class Library:
    """Answers questions from the pages. `search` may take seconds the first time: it indexes what changed."""

    def __init__(self, pages: Path, cache: Path, wait_s: float = 20.0) -> None:
        self.pages_folder, self.folder, self._wait_s = pages, cache / "knowledge", wait_s
        self._lock_file: IO[str] | None = None
        self._index: Index | None = None
        self._server: _Server | None = None
        self._busy = threading.Lock()

    @property
    def owner(self) -> bool:
        """Whether this process holds the index."""
        return self._lock_file is not None

    def search(self, question: str, limit: int = 3) -> list[Found]:
        """Return the passages that answer a question best, from different pages, best first.

        Raises:
            KnowledgeError: another process owns the index and does not answer.
            ConfigurationError: there are no pages, or a package is missing.
        """
        question = question.strip()[:_QUESTION]
        if self.owner or self._take():
            return self._own_search(question, limit)
        try:
            return self._ask(question, limit)
        except (OSError, ValueError) as trouble:
            if self._take():  # the owner ended between the two attempts
                return self._own_search(question, limit)
            raise KnowledgeError(
                f"{self.folder}: process {self._owner()} owns the knowledge base and does not answer "
                f"({type(trouble).__name__}); try again, or stop that process"
            ) from trouble

    def _own_search(self, question: str, limit: int) -> list[Found]:
        with self._busy:
            if not self.owner:
                raise _Closed(f"{self.folder}: this knowledge base was closed")
            if self._index is None:
                self._index = Index(self.folder / "chroma", self.pages_folder)
            self._index.refresh()
            return self._index.search(question, limit)

    def close(self) -> None:
        """Give the index back, so that another process can own it. A search under way ends first."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        with self._busy:
            if self._lock_file is not None:
                self._lock_file.close()
            self._server = self._lock_file = self._index = None

    # ------------------------------------------------------------------------------------------ owning

    def _take(self) -> bool:
        """Become the owner if nobody is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = (self.folder / "owner").open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._lock_file = file
        self._listen()
        return True

    def _owner(self) -> str:
        try:
            return (self.folder / "owner").read_text(encoding="utf-8").strip() or "?"
        except OSError:
            return "?"

    def _listen(self) -> None:
        path = self._socket_path()
        with suppress(FileNotFoundError):
            path.unlink()  # of an owner that was killed
        self._server = _Server(str(path), _Handler)
        self._server.library = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _socket_path(self) -> Path:
        """Return where the owner listens: a short path in a folder that only this user can enter."""
        private = Path(tempfile.gettempdir()) / f"testrun-investigator-{os.getuid()}"
        private.mkdir(mode=0o700, exist_ok=True)
        found = private.lstat()
        if found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise ConfigurationError(f"{private}: belongs to somebody else or is open to others; remove it")
        return private / hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:24]

    # ------------------------------------------------------------------------------------------ asking

    def _ask(self, question: str, limit: int) -> list[Found]:
        with socket(AF_UNIX, SOCK_STREAM) as line:
            line.settimeout(self._wait_s)
            line.connect(str(self._socket_path()))
            pages = str(self.pages_folder.resolve())
            line.sendall(json.dumps({"question": question, "limit": limit, "pages": pages}).encode() + b"\n")
            with line.makefile("rb") as reader:
                answer = json.loads(reader.readline(_MOST_BYTES))
        if "error" in answer:
            raise KnowledgeError(str(answer["error"]))
        return [Found(Passage(*passage), float(score)) for passage, score in answer["found"]]

    def answer(self, line: bytes) -> dict[str, Any]:
        """Answer another process of this user.

        Raises:
            KnowledgeError: this library was closed. Then nothing is said, and the other process may own the index.
        """
        asked = json.loads(line)
        if asked["pages"] != str(self.pages_folder.resolve()):
            return {
                "error": f"{self.folder}: holds the pages of {self.pages_folder}; set TESTRUN_CACHE_DIR to another folder"
            }
        try:
            found = self._own_search(str(asked["question"])[:_QUESTION], int(asked["limit"]))
        except _Closed:
            raise
        except InvestigatorError as trouble:
            return {"error": str(trouble)}
        return {"found": [[list(one.passage), one.score] for one in found]}


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    library: Library


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        useless = (ValueError, LookupError, TypeError, OSError)  # a caller that says nothing useful
        with suppress(*useless, _Closed):
            answer = self.server.library.answer(self.rfile.readline(_MOST_BYTES))
            self.wfile.write(json.dumps(answer).encode() + b"\n")
