"""What is expensive is made once for equal inputs, and never half."""

from pathlib import Path

import pytest

from testbed import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "smtpfleet"


def test_the_hash_tells_where_one_input_ends_and_the_next_begins() -> None:
    assert cache.digest(["ab", "c"]) != cache.digest(["a", "bc"])


def test_the_hash_of_files_changes_with_name_content_and_mode(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("x")
    seen = {cache.digest_of_files(tmp_path, [file])}
    file.write_text("y")
    seen.add(cache.digest_of_files(tmp_path, [file]))
    file.chmod(0o755)
    seen.add(cache.digest_of_files(tmp_path, [file]))
    seen.add(cache.digest_of_files(tmp_path, [file.rename(tmp_path / "b")]))
    assert len(seen) == 4


def test_the_hash_of_files_does_not_depend_on_their_order_or_place(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        for name in ("a", "b"):
            (tmp_path / place / name).write_text(name)
    one = [tmp_path / "one" / name for name in ("a", "b")]
    two = [tmp_path / "two" / name for name in ("b", "a")]
    assert cache.digest_of_files(tmp_path / "one", one) == cache.digest_of_files(tmp_path / "two", two)


def test_a_thing_is_made_once(own_cache: Path) -> None:
    made: list[Path] = []
    for _ in range(2):
        place = cache.obtain("thing", "k1", made.append)
    assert place == own_cache / "thing-k1"
    assert len(made) == 1


def test_an_interrupted_build_is_not_taken_for_a_thing(own_cache: Path) -> None:
    def fail(directory: Path) -> None:
        (directory / "part").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.obtain("thing", "k1", fail)
    assert not (own_cache / "thing-k1").exists()

    place = cache.obtain("thing", "k1", lambda directory: (directory / "whole").touch())
    assert [file.name for file in place.iterdir()] == ["whole"]
