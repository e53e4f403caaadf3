"""Play a plot: what every node, loader and the test itself would have logged, and how the metrics moved.

The result depends on the plot and the seed alone. Besides the plot there is everyday noise: compactions,
repairs, slow queries, a nemesis that went well. Writing the result as SCT packs it is `packing`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple
from uuid import UUID, uuid5

from project_types import LevelName
from testrun_investigator.demo_runs.plots import Beat, Disruption, Place, Plot, Trend

START = datetime(2026, 5, 17, 4, 44, tzinfo=UTC)
MINUTES = 90
NODES, LOADERS = 6, 2
VERSION = "2026.2.1"
_RUNS = UUID("6f1d3a52-7a0e-4a55-9b5e-1f0a8b1f6f10")


class Entry(NamedTuple):
    """A line of a text log."""

    at: datetime
    node: str
    level: LevelName
    text: str
    proves: bool = False


class SctEvent(NamedTuple):
    """An event of the test framework."""

    at: datetime
    kind: str
    severity: str
    node: str
    text: str
    nemesis: str = ""
    period: str = "one-time"
    duration: float = 0.0
    during: str = ""
    proves: bool = False


class Action(NamedTuple):
    """A step of the test."""

    at: datetime
    status: str
    source: str
    text: str
    target: str = ""
    proves: bool = False


class Played(NamedTuple):
    """A run as it happened."""

    run_id: str
    plot: Plot
    seed: int
    nodes: tuple[str, ...]
    loaders: tuple[str, ...]
    culprit: str
    peer: str
    start: datetime
    end: datetime
    logs: tuple[Entry, ...]
    events: tuple[SctEvent, ...]
    actions: tuple[Action, ...]
    metrics: Mapping[tuple[str, str], tuple[tuple[datetime, float], ...]]
    """By metric and node: (time, value) once a minute."""

    @property
    def cause(self) -> str:
        """The true cause, with the names of this run."""
        return self.filled(self.plot.cause)

    def filled(self, text: str) -> str:
        """Put the names of this run into a text of the plot."""
        return (
            text.replace("{node}", self.culprit)
            .replace("{ip}", address(self.nodes, self.culprit))
            .replace("{peer}", self.peer)
            .replace("{loader}", self.loaders[0])
        )


def address(nodes: tuple[str, ...], node: str) -> str:
    """Return a node's private address."""
    return f"10.12.3.{nodes.index(node) + 11}" if node in nodes else "10.12.3.250"


def run_id(key: str, seed: int) -> str:
    """Return the id of a generated run. It does not tell the plot."""
    return str(uuid5(_RUNS, f"{key}:{seed}"))


def play(plot: Plot, seed: int = 1, noise: float = 1.0) -> Played:
    """Play a plot. `noise` multiplies the everyday lines."""
    dice = Random(f"{plot.key}:{seed}")
    name = run_id(plot.key, seed)
    short, start = name[:8], START + timedelta(days=dice.randrange(60), minutes=dice.randrange(600))
    nodes = tuple(f"longevity-demo-db-node-{short}-{number}" for number in range(1, NODES + 1))
    loaders = tuple(f"longevity-demo-loader-node-{short}-{number}" for number in range(1, LOADERS + 1))
    culprit, peer = dice.sample(nodes, 2)
    if plot.culprit == "loader":
        culprit = loaders[0]
    bare = Played(
        name, plot, seed, nodes, loaders, culprit, peer, start, start + timedelta(minutes=MINUTES), (), (),
        (), {}
    )  # fmt: skip
    stage = _Stage(bare, dice)
    return bare._replace(
        logs=tuple(sorted([*stage.noise(noise), *stage.lines()])),
        events=tuple(sorted([*stage.events(), *stage.nemesis_events()])),
        actions=tuple(sorted([*stage.actions(), *stage.nemesis_actions()])),
        metrics=stage.metrics(),
    )


_NOISE: tuple[tuple[LevelName, str], ...] = (
    ("INFO", "[shard {shard}:comp] compaction - [Compact keyspace1.standard1 {hex}] {few} sstables to {few} MB in {ms} ms"),
    ("INFO", "[shard {shard}:main] compaction_manager - keyspace1.standard1: {few} sstables pending"),
    ("INFO", "[shard 0:goss] gossip - Node {ip} is now part of the cluster, status = NORMAL"),
    ("INFO", "[shard {shard}:stre] repair - repair[{hex}]: stats: repair_reason=repair, keyspace=keyspace1, rows={many}"),
    ("INFO", "[shard {shard}:strm] stream_session - [Stream #{hex}] Streaming plan for rebalance succeeded"),
    ("INFO", "[shard {shard}:main] Reactor stalled for {ms} ms on shard {shard}"),
    ("WARN", "[shard {shard}:stmt] large_data - Writing large row keyspace1/standard1: row {hex} ({many} bytes)"),
    ("WARN", "[shard {shard}:main] cql_server - exception while processing connection: Connection reset by peer"),
    ("INFO", "sshd[{many}]: Accepted publickey for scyllaadm from 10.12.3.250"),
    ("WARN", "[shard {shard}:main] rpc - client 10.12.3.250:{many}: server connection dropped: connection is closed"),
    ("ERROR", "node_exporter[{many}]: collector failed after {ms} ms: name=systemd err=could not get unit states"),
)  # fmt: skip
"""What a healthy cluster writes all day, errors included."""


class _Stage:
    """Everything that depends on the names and the dice of one run."""

    def __init__(self, run: Played, dice: Random) -> None:
        self.run, self.dice, self.plot = run, dice, run.plot
        self.beats = list(self._beats())

    def at(self, minute: float, more_s: float = 0.0) -> datetime:
        jitter = timedelta(milliseconds=self.dice.randrange(900))
        return self.run.start + timedelta(minutes=minute, seconds=more_s) + jitter

    def on(self, place: Place) -> tuple[str, ...]:
        """Return the nodes that a place means."""
        run = self.run
        others = tuple(node for node in run.nodes if node != run.culprit)
        places = {"culprit": (run.culprit,), "peer": (run.peer,), "db": others, "loader": (run.loaders[0],)}
        return places.get(place, ("sct-runner",))

    # ------------------------------------------------------------------------------------------------- noise

    def noise(self, amount: float) -> Iterator[Entry]:
        """Yield the everyday lines of every node, one in about 9 seconds."""
        for node in self.run.nodes:
            for _ in range(round(600 * amount)):
                level, text = self.dice.choices(_NOISE, weights=(9, 6, 1, 4, 3, 2, 1, 1, 1, 1, 0.5))[0]
                yield Entry(self.at(self.dice.uniform(0, MINUTES)), node, level, self._noise_text(text))
        for loader in self.run.loaders:
            for minute in range(round(MINUTES * amount)):
                total = f"total,{minute * 61234:>12},{self.dice.randrange(990, 1050):>8},{self.dice.uniform(1, 4):.1f}"
                yield Entry(self.at(minute % MINUTES), loader, "INFO", total)

    def _noise_text(self, text: str) -> str:
        dice = self.dice
        return text.format(
            shard=dice.randrange(8),
            hex=f"{dice.getrandbits(32):08x}",
            few=dice.randrange(2, 33),
            ms=dice.randrange(8, 60),
            many=dice.randrange(1000, 70000),
            ip=f"10.12.3.{dice.randrange(11, 17)}",
        )

    # -------------------------------------------------------------------------------------------- the plot

    def _beats(self) -> Iterator[tuple[Beat, datetime, str]]:
        """Yield each occurrence of each beat, with its node."""
        for beat in self.plot.beats:
            for number in range(beat.times):
                node = self.dice.choice(self.on(beat.place))
                yield beat, self.at(beat.minute, number * beat.every_s), node

    def lines(self) -> Iterator[Entry]:
        for beat, at, node in self.beats:
            if beat.place != "runner":
                yield Entry(at, node, beat.level, self.run.filled(beat.text), beat.proves)

    def events(self) -> Iterator[SctEvent]:
        severity = {"INFO": "NORMAL", "WARN": "WARNING", "FATAL": "CRITICAL"}
        yield SctEvent(self.run.start, "InfoEvent", "NORMAL", "", "test started: longevity-demo")
        for beat, at, node in self.beats:
            if beat.event:
                during = next(
                    (one.name for one in self.plot.disruptions if one.start <= beat.minute <= one.end), ""
                )
                text = self.run.filled(beat.text)
                level = severity.get(beat.level, beat.level)
                seen = at + timedelta(milliseconds=200)
                yield SctEvent(seen, beat.event, level, node, text, during=during, proves=beat.proves)
        yield SctEvent(self.at(MINUTES - 1), "TestResultEvent", "ERROR", "", "test ended with failures")

    def actions(self) -> Iterator[Action]:
        for minute, text in (
            (0.2, "Cluster of 6 nodes is up"),
            (1, "Started - stress on 2 loaders"),
            (88, "Finished - stress"),
        ):
            yield Action(self.at(minute), "info", "tester", text)
        for beat, at, _ in self.beats:
            if beat.place == "runner":
                status = {"INFO": "info", "WARN": "warning"}.get(beat.level, "error")
                yield Action(at, status, "tester", self.run.filled(beat.text), proves=beat.proves)

    # -------------------------------------------------------------------------------------------- nemeses

    def target(self, disruption: Disruption) -> str:
        """Return the database node that a nemesis hits."""
        node = self.on(disruption.on)[0]
        return node if node in self.run.nodes else self.run.peer

    def nemesis_events(self) -> Iterator[SctEvent]:
        for one in self.plot.disruptions:
            node, seconds = self.target(one), (one.end - one.start) * 60
            yield SctEvent(self.at(one.start), "DisruptionEvent", "NORMAL", node, "", one.name, "begin")
            severity = "ERROR" if one.status == "failed" else "NORMAL"
            text = self.run.filled(one.error) or one.status
            yield SctEvent(
                self.at(one.end), "DisruptionEvent", severity, node, text, one.name, "end", seconds
            )

    def nemesis_actions(self) -> Iterator[Action]:
        for one in self.plot.disruptions:
            for minute, word in ((one.start, "Started"), (one.end, "Finished")):
                text = f"{word} - disruption {one.name}"
                yield Action(self.at(minute), "info", "SisyphusMonkey", text, self.target(one))

    # -------------------------------------------------------------------------------------------- metrics

    def metrics(self) -> dict[tuple[str, str], tuple[tuple[datetime, float], ...]]:
        made = {}
        for metric, (level, spread) in METRICS.items():
            for node in self.run.nodes:
                trends = [one for one in self.plot.trends if one.metric == metric and node in self._hit(one)]
                points = [
                    (self.run.start + timedelta(minutes=minute), self._value(level, spread, trends, minute))
                    for minute in range(MINUTES + 1)
                ]
                made[metric, node] = tuple(points)
        return made

    def _hit(self, trend: Trend) -> tuple[str, ...]:
        return self.run.nodes if trend.place == "loader" else self.on(trend.place)

    def _value(self, level: float, spread: float, trends: list[Trend], minute: float) -> float:
        value = max(0.0, self.dice.gauss(level, spread))
        for trend in trends:
            if trend.minute <= minute <= trend.until:
                # five minutes from the old level to the new one
                share = min(1.0, (minute - trend.minute + 1) / 5)
                value *= trend.factor**share if trend.factor else 1 - share
        return round(value, 6)


METRICS: Mapping[str, tuple[float, float]] = {
    "scylla_reactor_utilization": (38.0, 4.0),
    "scylla_transport_requests_served": (21_000.0, 700.0),
    "scylla_storage_proxy_coordinator_write_timeouts": (0.4, 0.2),
    "scylla_storage_proxy_coordinator_read_errors": (0.2, 0.1),
    "scylla_compaction_manager_pending": (7.0, 2.0),
    "scylla_memory_free_memory": (9.0e9, 2.0e8),
    "scylla_io_queue_delay": (0.004, 0.001),
    "scylla_gossip_live": (6.0, 0.0),
    "node_filesystem_avail_bytes": (8.0e11, 4.0e9),
    "node_network_receive_bytes": (6.1e7, 4.0e6),
}
"""Usual level and spread of each metric of a node."""
