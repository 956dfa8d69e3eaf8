"""Which charset a page is in: labels right, wrong and absent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.sources.charset import decode_page, decode_text, is_utf8
from curate.sources.charset_labels import codec_of, encoding_of

SENTENCES = {
    "koi8-r": "Съешь ещё этих мягких французских булок да выпей чаю, а потом напиши мне письмо.",
    "koi8-u": "Жебракують філософи при ґанку церкви в Гадячі, ще й шатро їхнє п'яне знаємо. Її їжа є.",
    "windows-1251": "Съешь ещё этих мягких французских булок да выпей чаю, а потом напиши мне письмо.",
    "iso-8859-5": "Съешь ещё этих мягких французских булок да выпей чаю, а потом напиши мне письмо.",
    "windows-1257": "Įlinkdama fechtuotojo špaga sublykčiojusi pragręžė apvalų arbūzą, ųžė ąžuolas.",
    "windows-1250": "Příliš žluťoučký kůň úpěl ďábelské ódy, a pak šel domů.",
    "iso-8859-2": "Pchnąć w tę łódź jeża lub ośm skrzyń fig, gdyż są już bardzo późno.",
    "windows-1254": "Pijamalı hasta yağız şoföre çabucak güvendi, çünkü ışık sönmüştü.",
    "windows-1253": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία και γράφω ένα γράμμα στον φίλο μου.",
    "windows-1252": "Voix ambiguë d’un cœur qui, au zéphyr, préfère les jattes de kiwis à côté.",
    "windows-1255": "דג סקרן שט בים מאוכזב ולפתע מצא חברה, ואחר כך חזר הביתה.",
    "windows-1256": "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر ومغلف بجلد أزرق",
    "windows-874": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน",
    "shift_jis": "いろはにほへと散りぬるを、我が世誰ぞ常ならむ。コンピュータの文字コードを調べる。",
    "euc-jp": "いろはにほへと散りぬるを、我が世誰ぞ常ならむ。コンピュータの文字コードを調べる。",
    "iso-2022-jp": "いろはにほへと散りぬるを、我が世誰ぞ常ならむ。",
    "euc-kr": "다람쥐 헌 쳇바퀴에 타고파. 모든 국민은 법 앞에 평등하다.",
    "gb18030": "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。我们在学习中文字符编码的知识。",
    "big5": "天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。我們在學習中文字元編碼的知識。",
}


def as_page(text: str, encoding: str, meta: str = "") -> bytes:
    head = f'<meta charset="{meta}">' if meta else ""
    return f"<html><head>{head}</head><body><p>{text}</p></body></html>".encode(codec_of(encoding))


@pytest.mark.parametrize("encoding", SENTENCES)
def test_unlabelled_legacy_pages_are_read_right(encoding: str) -> None:
    text = SENTENCES[encoding]
    decoded = decode_page(as_page(text, encoding))
    assert text in decoded.utf8.decode()
    assert decoded.replaced == 0.0


@pytest.mark.parametrize("encoding", [e for e in SENTENCES if e != "iso-2022-jp"])
def test_wrong_utf8_labels_do_not_harm(encoding: str) -> None:
    decoded = decode_page(as_page(SENTENCES[encoding], encoding, meta="utf-8"), b"text/html; charset=utf-8")
    assert SENTENCES[encoding] in decoded.utf8.decode()
    assert decoded.source == "detector"


@pytest.mark.parametrize("encoding", ["koi8-r", "windows-1254", "windows-1257", "shift_jis", "windows-1253"])
def test_latin1_as_the_servers_default_does_not_harm(encoding: str) -> None:
    decoded = decode_page(as_page(SENTENCES[encoding], encoding), b"text/html; charset=ISO-8859-1")
    assert SENTENCES[encoding] in decoded.utf8.decode()


#: the first article of the Universal Declaration of Human Rights, where letters are few in SENTENCES or odd
ARTICLES = {
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью.",
    "sr": "Сва људска бића рађају се слободна и једнака у достојанству и правима. Она су обдарена разумом.",
    "uk": SENTENCES["koi8-u"],
    "cs": "Všichni lidé se rodí svobodní a sobě rovní co do důstojnosti a práv. Jsou nadáni rozumem a svědomím a mají "
    "spolu jednat v duchu bratrství. Každý má všechna práva a všechny svobody, stanovené touto deklarací.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni obdarzeni rozumem "
    "i sumieniem i powinni postępować wobec innych w duchu braterstwa.",
    "zh": SENTENCES["big5"],
}


@pytest.mark.parametrize("place", ["meta", "header"])
@pytest.mark.parametrize(
    ("language", "encoding", "label"),
    [
        ("ru", "koi8-r", "windows-1251"),
        ("ru", "windows-1251", "koi8-r"),
        ("sr", "windows-1251", "iso-8859-5"),
        ("uk", "koi8-u", "windows-1251"),
        ("cs", "iso-8859-2", "windows-1250"),
        ("zh", "big5", "gb2312"),
    ],
)
def test_a_label_of_the_same_script_gives_way_to_plain_evidence(
    language: str, encoding: str, label: str, place: str
) -> None:
    text = ARTICLES[language]
    body = as_page(text, encoding, meta=label if place == "meta" else "")
    decoded = decode_page(body, b"" if place == "meta" else f"text/html; charset={label}".encode())
    assert text in decoded.utf8.decode() and decoded.source == "detector"


@pytest.mark.parametrize(
    ("language", "encoding"),
    [
        *(("ru", e) for e in ("windows-1251", "koi8-r", "iso-8859-5", "ibm866")),
        *(("sr", e) for e in ("windows-1251", "iso-8859-5")),
        *((language, e) for language in ("cs", "pl") for e in ("windows-1250", "iso-8859-2")),
        ("uk", "koi8-u"),
        ("zh", "big5"),
        ("zh", "gb18030"),
    ],
)
def test_a_right_label_stands(language: str, encoding: str) -> None:
    decoded = decode_page(as_page(ARTICLES[language], encoding, meta=encoding))
    assert (decoded.charset, decoded.source) == (encoding, "meta")


def test_meta_comes_before_the_header_and_both_before_the_detector() -> None:
    body = as_page("ÿþ kurz ä", "windows-1252", meta="windows-1250")
    decoded = decode_page(body, b"text/html; charset=koi8-r")
    assert (decoded.charset, decoded.source) == ("windows-1250", "meta")
    decoded = decode_page(as_page("Привет, мир", "koi8-r"), b'text/html; charset="KOI8-R"')
    assert (decoded.charset, decoded.source) == ("koi8-r", "header")


@pytest.mark.parametrize("encoding", SENTENCES)
def test_utf8_is_utf8_whatever_labels_say(encoding: str) -> None:
    text = SENTENCES[encoding]
    body = as_page(text, "utf-8", meta=encoding)
    decoded = decode_page(body, f"text/html; charset={encoding}".encode())
    assert (decoded.utf8, decoded.charset, decoded.source, decoded.replaced) == (body, "utf-8", "utf-8", 0.0)


def test_damaged_utf8_stays_utf8_with_its_share_of_damage() -> None:
    body = as_page("Дорога́я " * 20, "utf-8").replace("о".encode(), b"\xd0", 1)
    decoded = decode_page(body)
    assert decoded.charset == "utf-8"
    assert 0 < decoded.replaced < 0.02


@pytest.mark.parametrize(
    ("codec", "bom", "name", "source"),
    [
        ("utf-16-le", b"", "utf-16le", "nul-pattern"),
        ("utf-16-be", b"", "utf-16be", "nul-pattern"),
        ("utf-16-le", b"\xff\xfe", "utf-16le", "bom"),
        ("utf-16-be", b"\xfe\xff", "utf-16be", "bom"),
        ("utf-32-le", b"", "utf-32-le", "nul-pattern"),
        ("utf-8", b"\xef\xbb\xbf", "utf-8", "bom"),
    ],
)
def test_unicode_forms(codec: str, bom: bytes, name: str, source: str) -> None:
    text = "<html><body><p>Wide characters, and more of them: é</p></body></html>"
    decoded = decode_page(bom + text.encode(codec), b"text/html; charset=utf-8")
    assert (decoded.utf8.decode(), decoded.charset, decoded.source) == (text, name, source)


@pytest.mark.parametrize(
    "label", [b"zlib_codec", b"unicode_escape", b"idna", b"undefined", b"x" * 10_000, b"utf-7", b"", b"rot13", b"../x"]
)
def test_only_labels_of_the_encoding_standard_count(label: bytes) -> None:
    assert encoding_of(label) is None


def test_labels_in_any_case_and_their_codecs() -> None:
    assert encoding_of(b" Latin1 ") == "windows-1252"
    assert encoding_of(b"GB2312") == "gb18030"
    assert encoding_of(b"x-sjis") == "shift_jis"
    assert encoding_of(b"cp1257") is None or encoding_of(b"cp1257") == "windows-1257"


def test_nul_is_removed_and_cuts_nothing() -> None:
    assert decode_page(b"<p>" + b"before" * 300 + b"\0 after").utf8 == b"<p>" + b"before" * 300 + b" after"


@given(st.binary(max_size=400), st.sampled_from(["", "utf-8", "shift_jis", "utf-16", "iso-8859-8", "big5"]))
def test_any_bytes_become_valid_utf8_without_nul(body: bytes, label: str) -> None:
    decoded = decode_page(body, f"text/html; charset={label}".encode())
    text = decoded.utf8.decode("utf-8")
    assert "\0" not in text
    assert 0.0 <= decoded.replaced <= 1.0
    assert decode_page(body, f"text/html; charset={label}".encode()) == decoded
    plain, share = decode_text(body)
    assert b"\0" not in plain and plain.decode("utf-8") is not None and 0.0 <= share <= 1.0


def test_legacy_charsets_of_debcrawl_are_found(shared: object) -> None:
    from pathlib import Path

    from tests.benchmarks.read_warc import charsets

    found = charsets(Path(str(shared)) / "data" / "debcrawl")
    assert found["right"]["utf-8"] == found["pages"]["utf-8"] == 2627
    assert found["right"]["legacy"] >= 361
    assert (found["bodies_right"], found["not_found"], found["with_nul"]) == (2991, 0, 0)


@given(st.one_of(st.binary(max_size=64), st.text(max_size=32).map(lambda t: t.encode("utf-8", "surrogatepass"))))
def test_utf8_is_what_python_decodes(data: bytes) -> None:
    # also with a byte cut off, and with surrogates, overlong forms and code points beyond the last
    for raw in (data, data[:-1], data + b"\xed\xa0\x80", b"\xc0\x80" + data, data + b"\xf4\x90\x80\x80"):
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            assert not is_utf8(raw)
        else:
            assert is_utf8(raw)
