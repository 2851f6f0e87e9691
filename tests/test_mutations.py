"""Every term of the bounds that make the search exact is needed: without it, neighbours are lost.

A copy of the kernels gets all mutations at once, each behind a number, and is compiled with a
program that searches adversarial data (attacks.cpp). Number 0 is the code as it is.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from cases import ISAS

TESTS = Path(__file__).parent
CSRC = TESTS.parent / "csrc"
UNITS = (
    "byte_images",
    "byte_reach",
    "copies",
    "database",
    "direct",
    "extent",
    "images",
    "joint_estimates",
    "kernels_coarse",
    "kernels_generic",
    "nearest",
    "neighbors",
    "panels",
    "projection",
    "query_block",
    "query_images",
    "reach",
    "roughness",
    "scan",
    "spatial_order",
    "threads",
)
COMPILER = os.environ.get("CXX", "g++")
ARM_COMPILER, ARM_EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
OPTIONS = ["-std=c++17", "-O2", "-ffp-contract=off", "-pthread"]
# Attacked where a processor has AVX2; VNNI and AVX-512 are emulated with it.
X86 = platform.machine() in ("x86_64", "AMD64")
AVX2 = ["-mavx2", "-mfma", "-mf16c"]
EMULATED = [*AVX2, "-Wno-psabi", f"-I{TESTS / 'emulation'}"]
X86_OPTIONS = {
    "kernels_avx2": AVX2,
    "kernels_avx2vnni": EMULATED,
    "kernels_avx512": EMULATED,
    "kernels_avx512vnni": EMULATED,
    "kernels_avx512bf16": EMULATED,
    "kernels_avx512int8": EMULATED,
}
ARM_OPTIONS = {"kernels_neon": [], "kernels_neonint8": ["-march=armv8.2-a+dotprod"]}


COARSE_ROUNDING = """[](double value) {
      const int unit = value == 0.0 ? 0 : std::ilogb(value) - 7;
      return static_cast<float>(std::ldexp(std::nearbyint(std::ldexp(value, -unit)), unit));
    }(v.lane[i]);"""


class Mutation(NamedTuple):
    """Instead of the expression `old`, which stands in the file exactly once, `new`."""

    file: str
    old: str
    new: str


SPACE, IMAGES, OUTWARD = "screen_space.h", "images.cpp", "outward.h"
LENGTHS = "length_bounds.h"
AVX2_INT8 = "columns_avx2int8.h"
NEAREST, NEAREST_H = "nearest.cpp", "nearest.h"
BYTES, BYTE_MAKER, BOXES = "byte_images.h", "byte_images.cpp", "boxes.h"
ERRORS = "static_cast<double>(row_error) + query_error"
LANES_FIT = "squared[0] <= kMostSquares && squared[1] <= kMostSquares"
IN_HALF_NORM = "near_ * row.error * (1.0 + gamma_) / (1.0 - gamma_) * kUp"

MUTATIONS = {
    "no image error": Mutation(OUTWARD, "::sqrt(squared_error)", "0.0"),
    "no rounding of products": Mutation(SPACE, "roundings / (1.0 - roundings) * kUp", "0.0"),
    "no underflow of products": Mutation(
        SPACE, "(terms + 1.0) * kernels.elements.underflow_per_term", "0.0"
    ),
    "no underflow of distances": Mutation(
        OUTWARD, "(static_cast<double>(d) + 8.0) * 0x1p-1073", "0.0"
    ),
    "threshold and reach without image error": Mutation(
        SPACE, "(scale_.reach(limit) + error)", "(scale_.reach(limit))"
    ),
    "threshold 1 % tighter": Mutation(SPACE, "(norm - squared)", "(norm - 0.99 * squared)"),
    "half norm without the row's error": Mutation(SPACE, IN_HALF_NORM, "0.0"),
    "half norm with errors of far neighbours": Mutation(
        SPACE, "std::min(reach(query.error, limit), near_)", "reach(query.error, limit)"
    ),
    "limit without image error": Mutation(SPACE, "(between_images + error)", "between_images"),
    "limit without the row's norm": Mutation(
        NEAREST, "point.limit(cutoff, point.largest)", "point.limit(cutoff, 0.0f)"
    ),
    "limit of floored half norms": Mutation(SPACE, "whole_ ? 1.0 : 0x1p-148", "0x1p-148"),
    "rows not drawn in": Mutation(
        IMAGES, "farthest * kUp <= kernels_->elements.radius", "farthest < 1e300"
    ),
    "limit of drawn rows": Mutation(
        SPACE,
        "query.error + query.drawn_in + worst.error + worst.drawn_in",
        "query.error + worst.error",
    ),
    "bytes in lanes a little too long": Mutation(
        AVX2_INT8, LANES_FIT, LANES_FIT.replace("kMostSquares", "32767")
    ),
    "bytes in lanes of any length": Mutation(AVX2_INT8, LANES_FIT, "true"),
    "bytes of any size": Mutation(AVX2_INT8, "!any_large", "true"),
    "wide bytes of any size": Mutation(
        "lanes_avx512.h", "_mm512_max_pd(v, _mm512_set1_pd(-most))", "v"
    ),
    "wide bytes of any size, in AVX2": Mutation(
        "lanes_avx2.h", "_mm256_max_pd(v.low, low)", "v.low"
    ),
    "limit of rows brought within bytes": Mutation(
        IMAGES, "(way + (length + way) * 0x1p-40) * kUp", "0.0"
    ),
    "columns at a whole threshold": Mutation(
        "whole_bound.h",
        "static_cast<int32_t>(__builtin_ceilf(threshold)) - 1",
        "static_cast<int32_t>(__builtin_ceilf(threshold))",
    ),
    "rows not drawn into lanes": Mutation(
        IMAGES, "elements.lane_radius / largest / std::sqrt(squared)", "1.0"
    ),
    "rounding of rows in lanes": Mutation(IMAGES, "image_error(made) + roundings", "roundings"),
    "limit of rows in lanes": Mutation(IMAGES, "std::sqrt(moved)", "0.0"),
    "limit 1 % lower": Mutation(OUTWARD, "distance * distance * kUp", "distance * distance * 0.99"),
    "reach in a screen 1 % shorter": Mutation(
        OUTWARD, "::sqrt(limit * kUp + underflow_)", "::sqrt(limit * 0.98)"
    ),
    "lengths without the query's error": Mutation(
        LENGTHS, "query.error * query.error / (4.0 * share_)", "0.0"
    ),
    "lengths without the row's error": Mutation(
        LENGTHS, "worst.error * std::sqrt(query.squared_length)", "0.0"
    ),
    "half norm by length without a share": Mutation(
        LENGTHS, "share_ * row.squared_norm * kUp", "0.0"
    ),
    "half norm of the image for the row's": Mutation(
        LENGTHS, "0.5 * row.squared_length * kDown", "0.5 * row.squared_norm * kDown"
    ),
    "length of the image for the query's": Mutation(
        LENGTHS, "query.squared_length * kDown", "query.squared_norm * kDown"
    ),
    "reach of lengths 1 % shorter": Mutation(
        LENGTHS, "reach * reach * kUp", "reach * reach * 0.99"
    ),
    "limit by lengths without errors": Mutation(LENGTHS, "2.0 * errors", "0.0"),
    "limit by lengths without the share": Mutation(LENGTHS, "share_ * worst.squared_norm", "0.0"),
    "limit by lengths of drawn rows": Mutation(LENGTHS, "query.drawn_in + worst.drawn_in", "0.0"),
    "basis no contraction": Mutation(IMAGES, "kDown / std::sqrt(1.0 + defect)", "1.0"),
    "no rounding of projections": Mutation(
        IMAGES, "std::sqrt(placed.squared_norm) * projection_error_ * kUp", "0.0"
    ),
    "no error of the rest": Mutation(
        IMAGES, "std::min(std::sqrt(shift), shift / rest) * kUp", "0.0"
    ),
    "no rounding before rotation": Mutation(IMAGES, "placed.error", "0.0"),
    "guesses not checked": Mutation(NEAREST, "guess_ > screen_.threshold", "false"),
    "byte value without the row's error": Mutation(
        NEAREST, "panels_->byte_error(some.columns[i])", "0.0f"
    ),
    "byte threshold without the query's error": Mutation(BYTES, "(reach + query_error)", "reach"),
    "byte threshold 1 % tighter": Mutation(
        BYTES, "scale_.reach(limit)", "scale_.reach(limit * 0.99)"
    ),
    "byte limit without the row's error": Mutation(BYTES, ERRORS, "query_error"),
    "byte limit without the query's error": Mutation(
        BYTES, ERRORS, "static_cast<double>(row_error)"
    ),
    "byte limit without the error in the value": Mutation(
        BYTES, "static_cast<double>(row_error) - v", "-v"
    ),
    "byte limit without the value's rounding": Mutation(BYTES, "std::abs(v) * 0x1p-22", "0.0"),
    "byte limit 1 % lower": Mutation(
        BYTES, "between_images + errors", "(between_images + errors) * 0.995"
    ),
    "clipping of bytes not measured": Mutation(
        BYTE_MAKER,
        "image_error(made)",
        "std::min(image_error(made), 0.5 * step_ * std::sqrt(static_cast<double>(d_)))",
    ),
    "reach 1 % shorter": Mutation(NEAREST, "squared * (1.0 + kBoxRounding)", "squared * 0.99"),
    "reach without image error": Mutation(
        NEAREST,
        "screen_.space->squared_reach(screen_.error(), limit_)",
        "screen_.space->squared_reach(0.0, limit_)",
    ),
    "reach of a tile's first query": Mutation(
        "reach.cpp", "*std::max_element(begin, begin + kMostTileQueries)", "*begin"
    ),
    "estimates without the roundings of features": Mutation(SPACE, "terms / 4.0", "0.0"),
    "estimates without the other roundings": Mutation(SPACE, "16.0", "0.0"),
    "estimates without underflow": Mutation(SPACE, "terms * 0x1p-149", "0.0"),
    "estimates beyond float32 cut": Mutation(
        NEAREST_H, "estimate_reach(limit, d)", "std::min(estimate_reach(limit, d), 3e38f)"
    ),
    "estimates of other rows": Mutation(
        NEAREST, "static_cast<uint32_t>(database_->grouping.row(column))", "column"
    ),
    "friends of every part": Mutation(
        NEAREST, "std::max(from, own_class_.begin)", "own_class_.begin"
    ),
    "enemies of every part": Mutation(
        NEAREST, "std::min(end, own_class_.begin)", "own_class_.begin"
    ),
    "candidates at a list's end lost": Mutation("lists.h", "(1u << left) - 1u", "0u"),
    "candidates counted past a list's end": Mutation(
        "lists_avx.h", "(1u << (count - i)) - 1u", "~0u"
    ),
    "candidates taken twice": Mutation("lists.h", "~lanes_at_least(values, end)", "~0u"),
    "a row its own neighbour": Mutation(
        NEAREST, "range(own_position, own_position + 1)", "range(0, 0)"
    ),
    "friends among enemies": Mutation(
        NEAREST, "relation == Relation::enemy ? friends : own", "own"
    ),
    "finds of other threads lost": Mutation("direct.cpp", "other < shares.size()", "false"),
    "as many copies as neighbours": Mutation(
        "copies.cpp", "static_cast<size_t>(k) + 1", "static_cast<size_t>(k)"
    ),
    "copies of all classes in one group": Mutation(
        "copies.cpp", "grouping.classes()", "std::vector<Range>{{0, rows.n}}"
    ),
    "boxes measured from a tile's corner": Mutation(BOXES, "task.high[j]", "task.low[j]"),
    "boxes that end at their first point": Mutation(
        "panel_boxes.h", "std::max(highs[at], to)", "highs[at] >= lows[at] ? highs[at] : to"
    ),
    "spatial order across classes": Mutation(
        "panels.cpp", "database.grouping.classes()", "std::vector<Range>{{0, database.rows.n}}"
    ),
}
HARMLESS = {
    "a threshold that falls by a rounding while the limit falls": Mutation(
        NEAREST_H,
        "space->threshold(image, worst, limit)",
        "[&] { static int calls = 0;"
        " const float exact = space->threshold(image, worst, limit);"
        " return ++calls % 2 == 0 ? exact"
        " : std::nextafter(exact, -std::numeric_limits<float>::infinity()); }()",
    ),
    "copies that are not looked for": Mutation(
        "copies.cpp", "end - begin >= kManyInSample", "false"
    ),
}
"""What loosens a bound now and then, or excludes less, must change no result."""

ARM_MUTATIONS = {
    "signed bytes of any size": Mutation("lanes_plain.h", "v.lane[i] > most", "false"),
}

ALL = MUTATIONS | HARMLESS | ARM_MUTATIONS
NUMBERS = {name: number for number, name in enumerate(ALL, start=1)}


def mutate(kernels: Path) -> None:
    """Make every mutation's place a choice by number."""
    for name, (file, old, new) in ALL.items():
        choice = f"(expansive_mutant == {NUMBERS[name]} ? ({new}) : ({old}))"
        replace(kernels / file, old, choice, kernels / file)


def replace(source: Path, old: str, new: str, target: Path) -> None:
    """Write the source with `new` in the one place of `old`."""
    text = source.read_text()
    if text.count(old) != 1:
        pytest.fail(f"{source.name} must hold {old!r} exactly once, not {text.count(old)} times")
    target.write_text(text.replace(old, new))


def add_coarse_kernels(kernels: Path) -> None:
    """Add the generic kernels with images of eight bits, like bfloat16's, for every processor."""
    lanes = kernels / "lanes_coarse.h"
    rounding = "static_cast<float>(v.lane[i]);"
    replace(kernels / "lanes_generic.h", rounding, COARSE_ROUNDING, lanes)
    table = kernels / "kernels_coarse.cpp"
    replace(kernels / "kernels_generic.cpp", "lanes_generic", "lanes_coarse", table)
    replace(table, '"generic"', '"coarse"', table)
    table.write_text(table.read_text().replace("kernels_generic", "kernels_coarse"))


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all mutations of the kernels in its subfolder `cpu`."""
    folder = tmp_path_factory.mktemp("mutations")
    shutil.copytree(CSRC / "cpu", folder / "cpu")
    add_coarse_kernels(folder / "cpu")
    mutate(folder / "cpu")
    (folder / "mutant.h").write_text("extern int expansive_mutant;\n")
    return folder


def build(kernels: Path, compiler: str, options: list[str], units: dict[str, list[str]]) -> Path:
    """Compile the program that attacks the kernels, some units with options of their own."""
    folder = kernels / compiler
    folder.mkdir()
    all_units = [*UNITS, *units]
    sources = [kernels / "cpu" / f"{unit}.cpp" for unit in all_units] + [TESTS / "attacks.cpp"]

    def compiled(source: Path) -> Path:
        target = folder / f"{source.stem}.o"
        include = [f"-I{kernels}", f"-I{CSRC / 'include'}", "-include", str(kernels / "mutant.h")]
        own = units.get(source.stem, [])
        run([compiler, *options, *own, *include, "-c", str(source), "-o", str(target)])
        return target

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compiled, sources))
    program = folder / "attacks"
    run([compiler, *options, *map(str, objects), "-o", str(program)])
    return program


@pytest.fixture(scope="module")
def attacks(kernels: Path) -> Path:
    if X86:
        return build(kernels, COMPILER, [*OPTIONS, "-DEXPANSIVE_X86"], X86_OPTIONS)
    if "neonint8" in ISAS:
        return build(kernels, COMPILER, [*OPTIONS, "-DEXPANSIVE_ARM"], ARM_OPTIONS)
    return build(kernels, COMPILER, OPTIONS, {})


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def verdicts(attacks: Path) -> list[tuple[int, str]]:
    """By number: exit status, 1 where a neighbour was wrong, and what was attacked then."""

    def attack(number: int) -> tuple[int, str]:
        done = subprocess.run([attacks, str(number)], capture_output=True, text=True, timeout=240)
        return done.returncode, done.stdout + done.stderr

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(attack, range(len(MUTATIONS | HARMLESS) + 1)))


def test_no_attack_succeeds_as_it_is(verdicts: list[tuple[int, str]]) -> None:
    assert verdicts[0] == (0, "")


def test_attacks_on_arm_succeed_without_bounds_alone(kernels: Path) -> None:
    """Where there are a compiler for it and QEMU (Debian: g++-aarch64-linux-gnu, qemu-user)."""
    if shutil.which(ARM_COMPILER) is None or shutil.which(ARM_EMULATOR) is None:
        return
    options = [*OPTIONS, "-static", "-DEXPANSIVE_ARM"]
    program = build(kernels, ARM_COMPILER, options, ARM_OPTIONS)
    run([ARM_EMULATOR, str(program), "0"])
    for name in ARM_MUTATIONS:
        command = [ARM_EMULATOR, str(program), str(NUMBERS[name])]
        assert subprocess.run(command, capture_output=True).returncode == 1, name


@pytest.mark.parametrize("name", HARMLESS)
def test_a_looser_bound_changes_nothing(verdicts: list[tuple[int, str]], name: str) -> None:
    assert verdicts[NUMBERS[name]] == (0, "")


@pytest.mark.parametrize("name", MUTATIONS)
def test_without_a_term_of_the_bounds_an_attack_succeeds(
    verdicts: list[tuple[int, str]], name: str
) -> None:
    status, found = verdicts[NUMBERS[name]]
    assert status == 1, f"no attack tells the mutation {name!r} from the code as it is"
    assert found
