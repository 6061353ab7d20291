"""The token of a local Ray: made once, nobody else's to read, not over the caller's choice."""

from pathlib import Path

from ecm.credentials import local_ray_environment


def test_the_token_is_made_once_and_private(tmp_path: Path) -> None:
    first = local_ray_environment(tmp_path / "home", {})
    token = Path(first["RAY_AUTH_TOKEN_PATH"])
    content = token.read_text()
    assert len(content) == 64
    assert token.stat().st_mode & 0o777 == 0o600
    assert local_ray_environment(tmp_path / "home", {}) == first
    assert token.read_text() == content


def test_a_chosen_mode_is_left_alone(tmp_path: Path) -> None:
    assert local_ray_environment(tmp_path, {"RAY_AUTH_MODE": "disabled"}) == {}
    assert local_ray_environment(tmp_path, {"RAY_AUTH_TOKEN_PATH": "/mine"}) == {}
    assert list(tmp_path.iterdir()) == []
