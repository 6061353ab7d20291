"""Nobody comes in but by the door: what the code of every route does first, read off the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVE = Path(__file__).resolve().parents[2] / "serve"
MODULES = sorted(SERVE.glob("*.py"))
VERBS = {"get", "post", "put", "patch", "delete", "head", "options", "api_route", "websocket"}
FOR_EVERYBODY = {"/v1/health/live", "/v1/health/ready", "PATH", "/", "/ui/{name}"}
"""PATH is that of the metrics of a replica."""


def routes() -> Iterator[tuple[str, ast.AsyncFunctionDef | ast.FunctionDef]]:
    """Every function that answers a path, with its path; a path may be put together from names."""
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if not isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef):
                continue
            for decorator in node.decorator_list:
                match decorator:
                    case ast.Call(func=ast.Attribute(attr=verb), args=[path, *_]) if verb in VERBS:
                        yield ast.unparse(path).strip("'"), node


ROUTES = list(routes())


def calls(node: ast.AST, name: str) -> list[ast.Call]:
    """Calls of a method or function of this name anywhere in `node`."""
    found = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
    return [
        each
        for each in found
        if (isinstance(each.func, ast.Attribute) and each.func.attr == name)
        or (isinstance(each.func, ast.Name) and each.func.id == name)
    ]


def test_the_routes_are_found() -> None:
    assert len(ROUTES) > 25
    assert {"/v1/search", "/v1/queue", "ADMIT_PATH"} <= {path for path, _ in ROUTES}


@pytest.mark.parametrize(("path", "route"), ROUTES, ids=[path for path, _ in ROUTES])
def test_every_route_asks_at_the_door_who_comes(
    path: str, route: ast.AsyncFunctionDef | ast.FunctionDef
) -> None:
    if path in FOR_EVERYBODY:
        return
    asked = calls(route, "caller")
    assert asked, f"{path} answers anybody"
    scope = asked[0].args[1]
    named = ast.unparse(scope)
    assert named.startswith("Scope.") or named in ("scope", "KeyScope.SEARCH", "None"), named
    assert (named == "None") == (path == "/v1/access"), "who is asked for nothing gets nothing"
    first = min(node.lineno for node in ast.walk(route) if isinstance(node, ast.Await | ast.Return))
    assert asked[0].lineno <= first, f"{path} does something before it knows for whom"


def test_one_function_gives_a_question_its_tenant() -> None:
    """And it is the only way from a body to the deployment that searches."""
    givers = []
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.Dict):
                keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
                givers += [module.name] * ("tenant_id" in keys)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "SearchRequest":
                givers.append(module.name)
    assert givers == ["access.py"]
    asking = [
        (module.name, function, call)
        for module in MODULES
        for function in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(function, ast.AsyncFunctionDef)
        for call in calls(function, "remote")
        if ast.unparse(call.func).endswith(".search.remote")
    ]
    assert {name for name, _, _ in asking} == {"search_api.py", "experimenting.py"}
    for _, function, call in asking:
        (source,) = calls(function, "asked_by")
        first = ast.unparse(call.args[0])
        targets = [
            ast.unparse(node.targets[0])
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and source in list(ast.walk(node.value))
        ]
        assert any(first in target for target in targets), "it is not the caller's own question"
