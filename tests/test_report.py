import dataclasses
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from expansive import metrics, report

pytestmark = pytest.mark.train


def make_evaluation(n_classes=4, *, seed=0, gain=0.3, **changes):
    rng = np.random.default_rng(seed)
    classes = np.arange(n_classes)
    counts = np.geomspace(400, 10, n_classes).astype(np.int64)
    truth = np.repeat(classes, 50)

    def scored(accuracy):
        right = rng.random(len(truth)) < accuracy
        predicted = np.where(right, truth, rng.integers(0, n_classes, len(truth)))
        return metrics.scores(truth, predicted, classes=classes, train_counts=counts)

    def rows(spread):
        return rng.normal(size=(30 * n_classes, 6)).astype(np.float32) * spread

    y = np.repeat(classes, 30)
    synthetic = y != 0
    fields = {
        "classes": [f"kind {c}" for c in classes],
        "train_counts": counts,
        "before": scored(0.5),
        "after": scored(0.5 + gain),
        "gap_before": rng.random(n_classes) + 2,
        "gap_after": rng.random(n_classes) + 1,
        "head_norms_before": rng.random(n_classes) + 1,
        "head_norms_after": rng.random(n_classes) + 1,
        "seconds": {"backbone": 60.25, "expand": 0.5, "head": 7.0},
        "settings": {"method": "eos", "k": 10, "expansion": [0.0, 1.0], "reinit_head": False},
        "sample": metrics.EmbeddingSample(
            rows(1.0), y, rows(1.5)[synthetic], y[synthetic], rows(2.0), y
        ),
    }
    return metrics.Evaluation(**(fields | changes))


@pytest.fixture(scope="module")
def evaluation():
    return make_evaluation()


class Page(HTMLParser):
    """Collects what a page holds."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self, text):
        super().__init__()
        self.opened, self.tags, self.words, self.sources = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.opened.append(tag)
        self.sources += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v]

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v]

    def handle_endtag(self, tag):
        assert self.opened.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def text(evaluation, tmp_path_factory):
    """The page of `evaluation`, drawn once."""
    return page_of(evaluation, tmp_path_factory.mktemp("page"), title="My run")


def page_of(evaluation, tmp_path, **arguments):
    report.write_html(evaluation, tmp_path / "report.html", **arguments)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


# ---- the page ---------------------------------------------------------------------------------


def test_page_is_well_formed_and_holds_every_picture(text):
    page = Page(text)
    assert page.opened == []
    assert page.tags.count("svg") == 5
    words = " ".join(page.words)
    for heading in ("Recall per class", "Generalization gap", "Head weights", "Confusion"):
        assert heading in words
    assert "The embeddings of 'kind 3'" in words


def test_page_asks_for_nothing_from_outside(text):
    page = Page(text)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert all(source.startswith(("#", "data:")) for source in page.sources)
    assert "url(http" not in text
    assert "@import" not in text


def test_page_shows_the_numbers_of_the_evaluation(evaluation, text):
    assert f"{100 * evaluation.after.balanced_accuracy:.1f}" in text
    assert f"{100 * evaluation.before.balanced_accuracy:.1f}" in text
    assert f"{evaluation.gap_after.mean():.1f}" in text
    assert "<h1>My run</h1>" in text
    assert "<th>reinit head</th><td>no</td>" in text
    assert "<th>seconds</th><td>backbone 60.2, expand 0.5, head 7.0</td>" in text


def test_names_and_settings_cannot_break_the_page(tmp_path):
    bad = "<b>&\"'$x"
    evil = make_evaluation(classes=[bad] * 4, settings={bad: bad})
    page = Page(page_of(evil, tmp_path, title=bad))
    assert page.opened == []
    assert "b" not in page.tags
    assert any(bad in words for words in page.words)


def test_the_same_evaluation_gives_the_same_page(evaluation, text, tmp_path):
    assert page_of(evaluation, tmp_path, title="My run") == text


@pytest.mark.parametrize("n_classes", [2, 60])
def test_few_and_many_classes(n_classes, tmp_path):
    text = page_of(make_evaluation(n_classes), tmp_path)
    assert f"{n_classes} classes" in text
    assert Page(text).opened == []


def test_without_sample_and_norms_there_are_fewer_pictures(tmp_path):
    bare = make_evaluation(sample=None, head_norms_before=None, head_norms_after=None)
    assert Page(page_of(bare, tmp_path)).tags.count("svg") == 3


def test_a_balanced_set_has_no_synthetic_rows_to_draw(evaluation, tmp_path):
    nothing = dataclasses.replace(
        evaluation.sample,
        synthetic_x=np.zeros((0, 6), np.float32),
        synthetic_y=np.zeros(0, np.int64),
    )
    text = page_of(dataclasses.replace(evaluation, sample=nothing), tmp_path)
    assert "The embeddings of &#x27;kind 3&#x27;" in text


@pytest.mark.parametrize("name", ["$10_$", "US$\\foo$", "from $5 to $10"])
def test_dollars_in_a_name_are_no_formula(name, tmp_path):
    page = Page(page_of(make_evaluation(classes=[name] * 4), tmp_path))
    assert sum(words.startswith(name) for words in page.words) > 4


def test_embeddings_of_one_dimension_are_not_drawn(evaluation, tmp_path):
    fields = dataclasses.asdict(evaluation.sample)
    narrow = {name: rows[:, :1] if name.endswith("x") else rows for name, rows in fields.items()}
    sample = metrics.EmbeddingSample(**narrow)
    text = page_of(dataclasses.replace(evaluation, sample=sample), tmp_path)
    assert Page(text).tags.count("svg") == 4


def test_writing_to_a_missing_folder_leaves_nothing(evaluation, tmp_path):
    with pytest.raises(FileNotFoundError, match="create it first"):
        report.write_html(evaluation, tmp_path / "absent" / "report.html")
    assert list(tmp_path.iterdir()) == []


# ---- the pictures -----------------------------------------------------------------------------

COUNTS, ORDER = np.array([30, 400, 10, 90, 90]), [1, 3, 4, 0, 2]


@pytest.fixture
def draw(monkeypatch):
    """Give the figures of an evaluation by their titles, before they become text."""
    from expansive.report import figures

    def drawn(evaluation):
        kept = []
        monkeypatch.setattr(figures, "to_svg", lambda figure: kept.append(figure) or "")
        titles = [panel.title for panel in figures.panels(evaluation)]
        return dict(zip(titles, kept, strict=True))

    return drawn


def words_of(labels):
    return [label.get_text() for label in labels]


def test_a_line_goes_from_before_to_after_for_each_class_the_largest_first(draw):
    e = make_evaluation(5, train_counts=COUNTS)
    figures = draw(e)
    for title, before, after in [
        ("Recall per class", 100 * e.before.recall, 100 * e.after.recall),
        ("Generalization gap per class", e.gap_before, e.gap_after),
        ("Head weights per class", e.head_norms_before, e.head_norms_after),
    ]:
        (axes,) = figures[title].axes
        lines, *dots = axes.collections
        for shown, label, values in zip(dots, ("before", "after"), (before, after), strict=True):
            assert shown.get_label() == label
            expected = np.column_stack([values[ORDER], range(5)])
            np.testing.assert_array_equal(shown.get_offsets(), expected)
        ends = [line[:, 0] for line in lines.get_segments()]
        np.testing.assert_array_equal(ends, np.column_stack([before, after])[ORDER])
        names = [f"kind {c} ({COUNTS[c]})" for c in ORDER]
        assert words_of(axes.get_yticklabels()) == names
        assert axes.yaxis_inverted()
    left, right = figures["Recall per class"].axes[0].get_xlim()
    assert left < 0
    assert right > 100


def test_confusions_are_shares_of_the_true_class(draw):
    e = make_evaluation(5, train_counts=COUNTS)
    counts = e.before.confusion.copy()
    counts[3] = 0  # a class without test rows
    e = dataclasses.replace(e, before=dataclasses.replace(e.before, confusion=counts))
    pair = draw(e)["Confusion"].axes
    for axes, title, scores in zip(pair, ("before", "after"), (e.before, e.after), strict=True):
        matrix = scores.confusion[ORDER][:, ORDER]
        share = 100 * matrix / np.maximum(matrix.sum(axis=1)[:, None], 1)
        assert axes.get_title("left") == title
        np.testing.assert_allclose(axes.images[0].get_array(), share)
        shown = {text.get_position(): text.get_text() for text in axes.texts}
        rounded = {(j, i): f"{v:.0f}" for (i, j), v in np.ndenumerate(share) if v >= 0.5}
        assert shown == rounded
        assert words_of(axes.get_xticklabels()) == [f"kind {c}" for c in ORDER]
    assert words_of(pair[0].get_yticklabels()) == [f"kind {c}" for c in ORDER]
    assert (pair[0].get_xlabel(), pair[0].get_ylabel()) == ("predicted", "true")


@pytest.mark.parametrize(
    ("n_classes", "named", "counted"),
    [(12, True, True), (13, True, False), (40, True, False), (41, False, False)],
)
def test_many_classes_lose_their_numbers_and_more_their_names(draw, n_classes, named, counted):
    figures = draw(make_evaluation(n_classes))
    recall, confusion = figures["Recall per class"].axes[0], figures["Confusion"].axes[0]
    for axes in (recall, confusion):
        assert words_of(axes.get_yticklabels())[0].startswith("kind 0") == named
    assert recall.get_ylabel() == ("" if named else "rank of the class by training rows")
    assert bool(confusion.texts) == counted


def test_the_smallest_grown_class_is_drawn_among_the_classes_nearest_to_it(draw):
    from scipy.spatial.distance import pdist

    # Class 4 is nearest by a single row, and classes 0 and 1 are too far to be drawn.
    train = [[50, 0], [51, 0], [40, 0], [41, 0], [8, 0], [9, 0], [5, 0], [6, 0], [3, 0], [90, 0]]
    own, made, test = [[0, 0], [0, 1]], [[0.5, 0], [1, 1], [0, 0.25]], [[0, 2]]
    sample = metrics.EmbeddingSample(
        np.array([*train, *own], np.float32),
        np.repeat(np.arange(6), 2),
        np.array([*made, [4, 0]], np.float32),
        np.array([5, 5, 5, 4]),
        np.array([*test, [7, 7]], np.float32),
        np.array([5, 0]),
    )
    evaluation = make_evaluation(6, train_counts=2 ** np.arange(10, 4, -1), sample=sample)
    pair = draw(evaluation)["The embeddings of 'kind 5'"].axes
    enemies = {f"kind {c}, training": train[2 * c : 2 * c + 2] for c in (4, 3, 2)}
    mine = {"kind 5, test": test, "kind 5, training": own}
    expected = [enemies | mine, enemies | {"kind 5, synthetic": made} | mine]
    for axes, rows, inside in zip(pair, expected, (own, made + own), strict=True):
        shown = {dots.get_label(): dots.get_offsets() for dots in axes.collections}
        assert list(shown) == list(rows)
        # Two features are turned, not flattened: distances stay.
        distances = pdist(np.concatenate(list(rows.values())))
        np.testing.assert_allclose(pdist(np.concatenate(list(shown.values()))), distances, 1e-5)
        framed = np.concatenate([shown[label] for label in rows if rows[label] in (own, made)])
        assert len(framed) == len(inside)
        (frame,) = axes.patches
        np.testing.assert_allclose(
            frame.get_bbox().get_points(), [framed.min(axis=0), framed.max(axis=0)]
        )


def test_long_names_are_cut(draw):
    figures = draw(make_evaluation(classes=["of the longest kind that there is"] * 4))
    shown = words_of(figures["Recall per class"].axes[0].get_yticklabels())
    assert shown == ["of the longest kind that …"] * 4
    assert words_of(figures["Confusion"].axes[0].get_yticklabels()) == ["of the longes…"] * 4


def test_pictures_are_as_wide_as_their_place_and_in_the_font_of_the_page(text):
    for tag in re.findall("<svg[^>]*>", text):
        assert 'role="img"' in tag
        assert "viewBox=" in tag
        assert not re.search(" (width|height)=", tag)
    assert "DejaVu" not in text
    assert "<metadata" not in text


# ---- the words --------------------------------------------------------------------------------


def test_reading_says_which_way_it_went(evaluation):
    assert "raised balanced accuracy: it went from" in report.reading(evaluation)
    worse = dataclasses.replace(evaluation, before=evaluation.after, after=evaluation.before)
    assert "lowered balanced accuracy" in report.reading(worse)
    same = dataclasses.replace(evaluation, after=evaluation.before)
    assert "barely moved balanced accuracy" in report.reading(same)
    assert "gained most" not in report.reading(same)


def test_reading_leaves_out_groups_without_classes():
    counts = np.array([90, 80, 70, 60])
    few = make_evaluation()
    scores = dataclasses.replace(few.before, many=np.nan, few=np.nan)
    text = report.reading(dataclasses.replace(few, train_counts=counts, before=scores))
    assert "nan" not in text
    assert "fewer than" not in text


def test_lines_know_better_from_worse():
    better = report.Line("gap", 10.0, 5.0, "", more_is_better=False)
    assert better.improved
    assert better.texts() == ("10.0", "5.0", f"{report.MINUS}5.0")
    assert report.Line("recall", 70.0, 60.0, "%", more_is_better=True).improved is False
    assert report.Line("recall", 70.0, 70.01, "%", more_is_better=True).improved is None
    undefined = report.Line("few", np.nan, np.nan, "%", more_is_better=True)
    assert undefined.improved is None
    assert undefined.texts() == (report.UNDEFINED,) * 3


def test_table_shows_before_and_after(evaluation):
    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=100).print(report.table(evaluation))
    text = stream.getvalue()
    row = next(line for line in text.splitlines() if "Balanced accuracy" in line).split()
    assert float(row[-3]) == pytest.approx(100 * evaluation.before.balanced_accuracy, abs=0.051)
    assert float(row[-2]) == pytest.approx(100 * evaluation.after.balanced_accuracy, abs=0.051)
    assert "backbone 60.2" in text


# ---- the numbers ------------------------------------------------------------------------------


def test_json_holds_every_number_and_null_for_undefined_ones(evaluation, tmp_path):
    no_few = dataclasses.replace(evaluation.before, few=float("nan"))
    report.write_json(dataclasses.replace(evaluation, before=no_few), tmp_path / "m.json")
    read = json.loads((tmp_path / "m.json").read_text())
    assert read["before"]["few"] is None
    assert read["after"]["recall"] == evaluation.after.recall.tolist()
    assert read["after"]["confusion"] == evaluation.after.confusion.tolist()
    assert read["mean_gap_before"] == pytest.approx(evaluation.gap_before.mean())
    assert read["seconds"] == evaluation.seconds
    assert "sample" not in read


def test_importing_report_draws_on_nothing_heavy():
    code = (
        "import sys, expansive.report;"
        "print(sorted({'matplotlib', 'rich', 'torch', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_drawing_leaves_the_settings_of_matplotlib_alone(evaluation, tmp_path, monkeypatch):
    import matplotlib

    # A setting of nobody else's: a page drawn earlier must not have left its own here.
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 3.25)
    before = dict(matplotlib.rcParams)
    report.write_html(evaluation, tmp_path / "report.html")
    assert dict(matplotlib.rcParams) == before


def test_an_evaluation_is_shown_in_a_line(evaluation):
    assert re.fullmatch(
        r"<Evaluation of \d+ classes: balanced accuracy 0\.\d{3} -> 0\.\d{3}, mean generalization "
        r"gap [\d.]+ -> [\d.]+; expansive\.report\.table\(it\) for all>",
        repr(evaluation),
    )
