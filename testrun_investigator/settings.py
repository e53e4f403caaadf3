"""Settings of the server: environment variables, and a `.env` file beside where it was started.

The environment wins over the file. Nothing here is ever printed with its value but addresses and folders.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from core.downloads import Access
from project_types import ConfigurationError
from testrun_investigator.argus import ArgusSettings

SHIPPED_PAGES = Path(__file__).parent.parent / "knowledge_base"
VARIABLES: Mapping[str, str] = {
    "ARGUS_URL": "address of Argus, such as https://argus.scylladb.com",
    "ARGUS_TOKEN": "your token, from ARGUS_URL/profile/",
    "ARGUS_CF_ACCESS_CLIENT_ID": "service token for Cloudflare Access, if Argus is behind it",
    "ARGUS_CF_ACCESS_CLIENT_SECRET": "its secret",
    "VICTORIA_LOGS_ENDPOINT": "address of VictoriaLogs; without it logs go into the cache folder",
    "PROMETHEUS_URL": "address of Prometheus; without it a run's own snapshot is served here",
    "RAG_KNOWLEDGE_BASE_DIR": "folder of Markdown pages (default: the ones shipped)",
    "TESTRUN_CACHE_DIR": "folder for logs, metrics and findings (default: ~/.cache/testrun-investigator)",
    "TESTRUN_PRIVATE_HOSTS": "hosts with a private address that logs may be read from, with commas between",
    "TESTRUN_LOG_DIRS": "folders whose files may be ingested, with colons between (default: where it was started)",
    "TESTRUN_RANKER": "yes: offer rank_services instead of read_trace; needs the extra [graph] (default: no)",
    "TESTRUN_SERVER_TOKEN": "bearer token that HTTP clients must send; needed beyond loopback",
}
"""Every variable that is read, and what it means."""


class Settings(NamedTuple):
    """What the parts need to know."""

    argus: ArgusSettings
    victoria_logs: str
    prometheus: str
    pages: Path
    cache: Path
    private_hosts: frozenset[str]
    log_folders: tuple[Path, ...]
    server_token: str
    ranker: bool
    """Whether `rank_services` is offered, and `read_trace` is not."""

    @property
    def access(self) -> Access:
        """Return what may be downloaded: public hosts, Argus itself, and what was allowed by name."""
        base = self.argus.base
        own = {urlsplit(base).netloc.rpartition("@")[2]} if base else set()
        headers = {base.lower(): self.argus.headers} if base and self.argus.token else {}
        return Access(private_hosts=self.private_hosts | own, folders=self.log_folders, headers=headers)

    @property
    def findings(self) -> Path:
        """Return the file that keeps the findings."""
        return self.cache / "findings.db"

    def run_folder(self, run_id: str) -> Path:
        """Return the folder of one run in the cache."""
        return self.cache / "runs" / run_id


def read_settings(environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Settings:
    """Read the settings from the environment and from `folder/.env`.

    Raises:
        ConfigurationError: addresses that are no web addresses, a switch that says neither yes nor no. All are named.
    """
    folder = folder or Path.cwd()
    values = {**_env_file(folder / ".env"), **(os.environ if environment is None else environment)}
    wrong: list[str] = []

    def said(name: str) -> str:
        return values.get(name, "").strip()

    def address(name: str) -> str:
        url = said(name).rstrip("/")
        if url and not url.startswith(("http://", "https://")):
            wrong.append(f"{name}={url[:80]}: is no web address; write http://HOST:PORT")
        return url

    def switch(name: str) -> bool:
        if said(name).lower() not in ("", "yes", "no"):
            wrong.append(f"{name}={said(name)[:40]}: write yes or no")
        return said(name).lower() == "yes"

    found = Settings(
        argus=ArgusSettings(
            url=address("ARGUS_URL"),
            token=said("ARGUS_TOKEN"),
            cf_access_client_id=said("ARGUS_CF_ACCESS_CLIENT_ID"),
            cf_access_client_secret=said("ARGUS_CF_ACCESS_CLIENT_SECRET"),
        ),
        victoria_logs=address("VICTORIA_LOGS_ENDPOINT"),
        prometheus=address("PROMETHEUS_URL"),
        pages=_folder(said("RAG_KNOWLEDGE_BASE_DIR"), folder, SHIPPED_PAGES),
        cache=_folder(said("TESTRUN_CACHE_DIR"), folder, _usual_cache(values)),
        private_hosts=frozenset(filter(None, (one.strip() for one in said("TESTRUN_PRIVATE_HOSTS").split(",")))),
        log_folders=tuple(Path(one) for one in said("TESTRUN_LOG_DIRS").split(":") if one) or (folder,),
        server_token=said("TESTRUN_SERVER_TOKEN"),
        ranker=switch("TESTRUN_RANKER"),
    )  # fmt: skip
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return found


def _env_file(path: Path) -> dict[str, str]:
    """Read a `.env` file. Other programs' variables in it are left alone."""
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(path).items() if value and name in VARIABLES}


def _folder(said: str, base: Path, usual: Path) -> Path:
    return (base / Path(said).expanduser()) if said else usual


def _usual_cache(values: Mapping[str, str]) -> Path:
    base = values.get("XDG_CACHE_HOME", "").strip()
    return (Path(base) if base else Path.home() / ".cache") / "testrun-investigator"
