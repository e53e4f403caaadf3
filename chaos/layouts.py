"""How loggers lay out a text: plain, logfmt, JSON, Java with stack traces, access logs, and others.

The layout belongs to the service, whatever it writes: it tells nothing about a row. Classes, files and stack
frames follow from the service and the wording, so that alike rows stay alike.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from datetime import datetime
from functools import cache

CLASSES = (
    "Controller",
    "ServiceImpl",
    "Repository",
    "Client",
    "Handler",
    "Filter",
    "Scheduler",
    "Listener",
    "Manager",
    "Gate",
)
PACKAGES = ("api", "core", "data", "web", "jobs", "client", "support", "store")
METHODS = (
    "handle",
    "invoke",
    "apply",
    "doFilter",
    "run",
    "submit",
    "load",
    "execute",
    "proceed",
    "accept",
    "dispatch",
    "call",
)
FRAMES = (
    "org.springframework.web.servlet.FrameworkServlet.service(FrameworkServlet.java:{})",
    "jdk.internal.reflect.DirectMethodHandleAccessor.invoke(DirectMethodHandleAccessor.java:{})",
    "org.apache.catalina.core.ApplicationFilterChain.internalDoFilter(ApplicationFilterChain.java:{})",
    "io.netty.channel.AbstractChannelHandlerContext.invokeChannelRead(AbstractChannelHandlerContext.java:{})",
    "java.util.concurrent.ThreadPoolExecutor.runWorker(ThreadPoolExecutor.java:{})",
    "reactor.core.publisher.FluxMap$MapSubscriber.onNext(FluxMap.java:{})",
    "java.lang.Thread.run(Thread.java:{})",
)  # fmt: skip
TRACE_SHARE = 40
"""Of 100 kinds of ERROR rows of a Java service, how many come with a stack trace."""


_JSON = json.JSONEncoder(ensure_ascii=False)
_NO_DIGITS = str.maketrans("", "", "0123456789")


@cache
def _identifier(service: str) -> str:
    """A service's name without what no identifier holds."""
    return "".join(char for char in service if char.isalpha())


class Line:
    """What a layout may use of a row."""

    def __init__(self, service: str, level: str, text: str, at: datetime) -> None:
        self.service, self.level, self.text, self.at = service, level, text, at
        shape = text[:32].translate(_NO_DIGITS)
        self.mark = zlib.crc32(f"{service}/{shape}".encode())
        self.word = _identifier(service)

    def small(self, most: int) -> int:
        """A number from 1 to `most` that differs from row to row, such as a thread's."""
        return 1 + (self.at.microsecond // 1000 + 7 * self.at.second + self.mark) % most

    @property
    def type(self) -> str:
        """A class of the service."""
        return f"{self.word.capitalize()}{CLASSES[self.mark % len(CLASSES)]}"

    @property
    def package(self) -> str:
        """The package of that class."""
        return f"com.acme.{self.word}.{PACKAGES[self.mark // 7 % len(PACKAGES)]}"

    @property
    def number(self) -> int:
        """A line of a file."""
        return 20 + self.mark % 400


def plain(line: Line) -> str:
    """The text alone."""
    return line.text


def bracketed(line: Line) -> str:
    """Thread, class and text."""
    return f"[exec-{line.small(40)}] {line.type}: {line.text}"


def logfmt(line: Line) -> str:
    """Keys and values."""
    text = line.text.replace('"', "'")
    return f'ts={line.at:%H:%M:%S}.{line.at.microsecond // 1000:03d} caller={line.word}.go:{line.number} msg="{text}"'


def as_json(line: Line) -> str:
    """One JSON object."""
    known = {
        "logger": f"{line.word}.{PACKAGES[line.mark % len(PACKAGES)]}",
        "msg": line.text,
        "pid": line.small(60),
    }
    return _JSON.encode(known)


def java(line: Line) -> str:
    """Spring's layout, with a stack trace under some errors."""
    head = f"--- [nio-8080-exec-{line.small(40)}] {line.package}.{line.type} : {line.text}"
    if line.level != "ERROR" or line.mark % 100 >= TRACE_SHARE:
        return head
    return head + "".join(f"\n\tat {frame}" for frame in frames(line))


def frames(line: Line) -> list[str]:
    """A stack, the same for alike rows."""
    own = [
        f"{line.package}.{line.type}.{METHODS[(line.mark + step) % len(METHODS)]}({line.type}.java:{line.number + 9 * step})"
        for step in range(1 + line.mark % 4)
    ]
    foreign = [
        FRAMES[(line.mark + step) % len(FRAMES)].format(40 + (line.mark >> step) % 900)
        for step in range(3 + line.mark % 11)
    ]
    return [*own, *foreign]


def klog(line: Line) -> str:
    """Kubernetes' own layout."""
    return f"{line.level[0]}{line.at:%m%d %H:%M:%S.%f} 1 {line.word}.go:{line.number}] {line.text}"


def python(line: Line) -> str:
    """Python's logging."""
    return f"{line.word}.{PACKAGES[line.mark % len(PACKAGES)]} [{line.small(60)}] {line.text}"


def tagged(line: Line) -> str:
    """Service, class and line in front."""
    return f"[{line.service}] {line.type}#{line.number} {line.text}"


LAYOUTS: tuple[Callable[[Line], str], ...] = (
    plain,
    plain,
    bracketed,
    logfmt,
    as_json,
    java,
    java,
    klog,
    python,
    tagged,
)


AGENTS = ("okhttp/4.9.3", "Mozilla/5.0", "python-requests/2.31", "Go-http-client/1.1")


def access(line: Line, operation: str) -> str:
    """A web server's access line about a request that the text speaks of."""
    host = f"10.{line.small(60)}.{line.small(9)}.{line.small(99)}"
    agent = AGENTS[line.small(len(AGENTS)) - 1]
    return f'{host} - - "{operation} HTTP/1.1" {line.text} "-" "{agent}"'


def laid_out(line: Line, layout: int) -> str:
    """The message of a row."""
    return LAYOUTS[layout % len(LAYOUTS)](line)
