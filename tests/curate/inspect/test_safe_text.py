from __future__ import annotations

from curate.inspect.safe_text import address, cut, escape, mask_password, passage, plain, value


def test_markup_becomes_text() -> None:
    assert escape("<b>\"a\" & 'b'</b>") == "&lt;b&gt;&quot;a&quot; &amp; &#x27;b&#x27;&lt;/b&gt;"


def test_entities_are_shown_not_decoded() -> None:
    assert escape("&lt;script&gt;") == "&amp;lt;script&amp;gt;"


def test_characters_that_hide_or_reorder_are_named() -> None:
    for char in "\u202e\u202a\u2066\u2069\u200b\ufeff\u00ad\u2028\x00\x1b\x07\x7f\u3164\ud800\U000e0041":
        assert escape(f"a{char}b") == f'a<span class="chip">U+{ord(char):04X}</span>b'


def test_spelling_with_joiners_is_left_alone_and_hidden_ones_are_named() -> None:
    assert escape("می\u200cخواهم") == "می\u200cخواهم"
    assert escape("pay\u200cpal") == 'pay<span class="chip">U+200C</span>pal'


def test_scripts_of_the_world_pass_unchanged() -> None:
    for text in ("日本語のテキスト", "한국어", "שלום", "العربية", "हिन्दी", "Zürich – “quoted”", "👩\u200d🚀"):
        assert escape(text) == text


def test_marks_beyond_what_a_letter_carries_are_cut() -> None:
    shown = escape("e" + "\u0301" * 5000 + "x")
    assert shown.count("\u0301") == 32
    assert shown.endswith('<span class="chip">+ marks</span>x')


def test_values_are_isolated_and_short() -> None:
    assert value("x" * 300) == f"<bdi>{'x' * 200}…</bdi>"


def test_cut_keeps_a_letter_and_its_marks_together() -> None:
    assert cut("abe\u0301d", 3) == "ab…"
    assert cut("abc", 3) == "abc"


def test_cut_ends_within_a_pile_of_marks() -> None:
    assert len(cut("e" + "\u0301" * 5000, 200)) == 201


def test_passage_keeps_lines_and_closes_up_empty_ones() -> None:
    assert passage("a\nb\n\n\n\n\n\nc") == '<p class="passage" dir="auto">a\nb\n\nc</p>'


def test_passwords_in_addresses_are_masked() -> None:
    assert mask_password("https://user:secret@host/a:b@c") == "https://user:***@host/a:b@c"
    assert mask_password("https://host/a") == "https://host/a"
    assert "secret" not in address("http://me:secret@host/")


def test_attributes_hold_no_elements() -> None:
    assert plain('a\n"\u202e<b>') == "a &quot;U+202E&lt;b&gt;"
