"""What the rater ``lite`` says of texts written for this test."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from classifiers.contract import Rater, rater_stage
from curate.documents import Batch
from curate.stages.base import Context

ESSAY = """Why old bridges hum

Anyone who has crossed a suspension bridge on foot in a steady wind knows the sound: a low note, almost below hearing,
that seems to come from the air itself. It comes from the cables. When wind flows past a cylinder it cannot close
smoothly behind it; instead, small vortices break away first on one side and then on the other, and each of them pulls
the cable a little towards itself. The frequency of this pull depends on the speed of the wind and the thickness of the
cable, a relation that the Czech physicist Vincenc Strouhal described in 1878 while studying the singing of wires.

As long as that frequency is far from any at which the cable itself would swing, nothing happens but the hum. Engineers
therefore compute both, and where they come close they add dampers: weights on short arms that take up the energy before
it can grow. The method is cheap, and it has been known for a century, yet it was not applied everywhere. In 1940 a deck
too slender for its length began to twist in a moderate wind, and because its motion fed the very forces that drove it,
the oscillation grew until the hangers failed. That failure was not resonance in the sense in which textbooks used to
tell it, but a coupling between motion and load, and the difference matters: no damper tuned to a single frequency would
have saved the deck.

What saved later bridges was a change of shape. Decks became box girders, streamlined like the wing of an aircraft, so
that the wind finds nothing to hold on to. They still hum, of course. The cables have not changed."""

TUTORIAL = """How to sharpen a kitchen knife on a whetstone

You need a stone with two sides (about 1000 and 3000 grit), a towel, and ten minutes.

1. Soak the stone in water until no more bubbles rise, usually five minutes.
2. Lay it on the towel so that it cannot slip.
3. Hold the blade at about 15 degrees. Two stacked coins under the spine give you the angle.
4. Draw the edge towards you across the coarse side, from heel to tip, with light pressure. Count twenty strokes.
5. Turn the knife over and repeat. You should now feel a thin burr along the edge.
6. Do the same on the fine side, with half the pressure, until the burr is gone.
7. Rinse the knife and dry it. It should cut paper without tearing.

If the knife still tears the paper, the angle was probably too steep. Start again with step 4 and a smaller angle."""

SPIN = """Best Kitchen Knives Cheap - Buy Best Cheap Kitchen Knives Online Best Price!!!

Are you looking for best kitchen knives cheap? Then you are in the right place for best kitchen knives cheap. Our best
kitchen knives are the best cheap knives and best price kitchen knives you can find. Kitchen knives cheap are very
important for kitchen and for knives. Click here to buy best cheap kitchen knives now! Free shipping! Amazing offer!
Best kitchen knives cheap reviews. Cheap knives kitchen best. Buy now best deal knives cheap online store discount
coupon code best kitchen knives 2019 2020 2021. Click here! Click here! Home | Login | Cart | Contact | Privacy"""

FILLER = """Finding the right kitchen knife for your home can be a challenging task. There are many kitchen knives on
the market today and it is important to choose the best one for your needs. In this article we will talk about kitchen
knives and why a kitchen knife is a great choice for your kitchen. A good kitchen knife is very important. With a good
kitchen knife you can cut many things. Many people love kitchen knives and there are many reasons to love them.

If you are looking for a quality kitchen knife at an affordable price, you have come to the right place. Our team of
experts offers the best kitchen knives for you and your family. We hope this article about kitchen knives was helpful.
Contact us today to learn more about our amazing kitchen knives!"""

GIBBERISH = """xkq vlorp 8842 zzt qwe rty plmokn wertz 00x1f asdkjh qlwke zmxncb 1029 pqowie rutyal skdjf hgzmx ncbv
laksjd hfgqp woeir utyzm xncbv 7756 qpwoe irutyalskdjfhg zmxncbv qqq www eee rrr ttt zzz uuu iii ooo ppp aaa sss ddd
fff ggg hhh jjj kkk lll yxc vbn mqw ert zui opa sdf ghj kly xcv bnm 11 22 33 44 55 66 77 88 99 00"""

CODE = """Using the csv module in Python

The csv module reads rows as lists of strings:

import csv
with open("data.csv", newline="") as file:
    for row in csv.reader(file):
        print(row[0])

DictReader gives dictionaries instead, with the first row as keys. If the function raises an UnicodeDecodeError, pass
the encoding to open(). The delimiter parameter accepts any single character, e.g. a tab."""


@pytest.fixture(scope="module")
def lite() -> Rater:
    found = rater_stage("lite")
    found.open(Context())
    return found


def rate(lite: Rater, *texts: str) -> list[dict[str, Any]]:
    rows = pa.RecordBatch.from_pydict({"text": list(texts)})
    out: list[dict[str, Any]] = lite.process(Batch(rows)).rows.to_pylist()
    return out


def test_a_fine_essay_stands_far_above_filler_and_gibberish(lite: Rater) -> None:
    essay, filler, gibberish = (row["lite_overall_score"] for row in rate(lite, ESSAY, FILLER, GIBBERISH))
    assert essay > max(filler, gibberish) + 1


def test_keywords_in_a_heap_and_gibberish_are_at_the_bottom(lite: Rater) -> None:
    assert all(row["lite_overall_score"] < 1.3 for row in rate(lite, SPIN, GIBBERISH))


@pytest.mark.parametrize(
    ("text", "overall", "style", "cleanliness"),
    [(ESSAY, 3.596, 5.42, 3.871), (TUTORIAL, 2.844, 3.413, 3.843), (CODE, 3.856, 4.716, 4.185)],
)
def test_predictions_are_those_of_the_weights_that_ship(
    lite: Rater, text: str, overall: float, style: float, cleanliness: float
) -> None:
    # after a training anew these figures change; processors differ by less than the tolerance
    (row,) = rate(lite, text)
    assert row["lite_overall_score"] == pytest.approx(overall, abs=0.01)
    assert row["lite_qurating_writing_style"] == pytest.approx(style, abs=0.01)
    assert row["lite_prrc_cleanliness"] == pytest.approx(cleanliness, abs=0.01)


@pytest.mark.parametrize("score", ["coherence", "grammatical_diversity", "prrc_cleanliness", "qurating_writing_style"])
def test_writing_stands_above_spin(lite: Rater, score: str) -> None:
    essay, spin = (row[f"lite_{score}"] for row in rate(lite, ESSAY, SPIN))
    assert essay > spin


def test_an_explanation_needs_more_expertise_than_a_shop_page(lite: Rater) -> None:
    essay, spin = rate(lite, ESSAY, SPIN)
    for score in ("professionalism", "prrc_reasoning", "qurating_required_expertise", "fineweb_edu"):
        assert essay[f"lite_{score}"] > spin[f"lite_{score}"]


def test_menus_and_adverts_around_a_text_cost_cleanliness(lite: Rater) -> None:
    menu = "Home | Login | Register | Cart (0) | Contact\nShare on Facebook\nTweet\nSubscribe to our newsletter!\n"
    clean, dirty = (row["lite_prrc_cleanliness"] for row in rate(lite, TUTORIAL, menu * 3 + TUTORIAL + "\n" + menu * 3))
    assert clean > dirty


def test_names_of_plain_cases(lite: Rater) -> None:
    tutorial, spin, code = rate(lite, TUTORIAL, SPIN, CODE)
    assert tutorial["lite_format"] == "Tutorial"
    assert spin["lite_domain"] == "Retail E-commerce"
    assert code["lite_domain"] == "Coding" and code["lite_topic"] == "Software Development"


def test_only_head_and_tail_of_a_long_text_are_read(lite: Rater) -> None:
    body = (ESSAY + "\n\n") * 12
    changed = body[: len(body) // 2] + GIBBERISH + body[len(body) // 2 + len(GIBBERISH) :]
    one, two = rate(lite, body, changed)
    one.pop("text"), two.pop("text")
    assert one == two
