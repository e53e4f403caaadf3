"""The embedding of request paths: what stands around a service on bad requests, without any name."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from core.log_stores.contract import StoredSpan
from graph_rca.path_grams import WIDTH, State, grams, vectors
from graph_rca.trace_trees import Tree, trees

N, U, F = State.NOBODY, State.USUAL, State.FAILED


def span(number: int, service: str, above: int | None, status: str = "ok") -> StoredSpan:
    parent = None if above is None else f"s{above}"
    return StoredSpan("t1", f"s{number}", parent, service, "GET /", 1_000_000 + number, 10.0, status)


def tree(*spans: StoredSpan) -> Tree:
    (found,) = trees(spans)
    return found


def around(one: Tree) -> dict[str, list[tuple[int, ...]]]:
    """The four states of each gram, by service."""
    found = defaultdict(list)
    for service, gram in grams(one, lambda each: F if each.span.status == "error" else U):
        found[service].append(tuple(map(int, np.unravel_index(gram, (4, 4, 4, 4)))))
    return dict(found)


FAILING = (span(1, "web", None, "error"), span(2, "cart", 1, "error"), span(3, "db", 2), span(4, "mail", 1))


def test_a_gram_is_who_called_the_caller_the_caller_itself_and_the_worst_call() -> None:
    assert around(tree(*FAILING)) == {
        "web": [(N, N, F, F)],
        "cart": [(N, F, F, U)],
        "db": [(F, F, U, N)],
        "mail": [(N, F, U, N)],
    }


def test_other_names_have_the_same_vectors() -> None:
    names = {"web": "a", "cart": "b", "db": "c", "mail": "d"}
    renamed = tree(*(one._replace(service=names[one.service]) for one in FAILING))
    assert {names[name]: seen for name, seen in around(tree(*FAILING)).items()} == around(renamed)


def test_spans_that_name_each_other_as_callers_end() -> None:
    assert set(around(tree(span(1, "web", 2), span(2, "cart", 1)))) == {"web", "cart"}


def test_a_vector_has_length_one_and_a_service_on_no_bad_trace_has_none() -> None:
    found = vectors(["web", "idle"], {"web": Counter({3: 3, 200: 1})})
    assert found.shape == (2, WIDTH)
    assert np.linalg.norm(found[0]) == np.float32(1.0)
    assert found[0, 3] == np.float32(np.sqrt(0.75))
    assert not found[1].any()
