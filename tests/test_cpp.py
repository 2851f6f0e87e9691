"""The C++ example of the docs is built against the installed package and does what Python does."""

import re
import subprocess
from pathlib import Path

import pytest

import expansive

PAGE = Path(__file__).parents[1] / "docs" / "cpp.md"
PACKAGE = Path(expansive.__file__).parent


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cpp")
    (code,) = re.findall(r"```cpp\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (folder / "example.cpp").write_text(code)
    library = PACKAGE / "lib" / "libexpansive_kernels.a"
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{PACKAGE / 'include'}"]
    target = folder / "example"
    subprocess.run(
        [*command, folder / "example.cpp", library, "-pthread", "-o", target], check=True
    )
    return target


def test_the_example_finds_and_makes_rows(program: Path) -> None:
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    enemy, distance, value = done.stdout.split()
    assert int(enemy) % 10 != 0
    assert 0 < float(distance) < 10
    assert abs(float(value)) < 10


def test_the_cmake_package_has_a_version() -> None:
    version = PACKAGE / "cmake" / "expansive-config-version.cmake"
    assert f'set(PACKAGE_VERSION "{expansive.__version__}")' in version.read_text()
