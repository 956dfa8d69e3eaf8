"""What the redaction takes out, what it leaves in, and that hostile text costs it nothing."""

from __future__ import annotations

import ipaddress
import random
import time

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.documents import Batch
from curate.stages.pii import Pii, PiiConfig


def redact(texts: list[str], **config: object) -> pa.RecordBatch:
    stage = Pii(PiiConfig.model_validate(config))
    rows = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())})
    return stage.process(Batch(rows)).rows


def one(text: str, **config: object) -> str:
    return str(redact([text], **config).column("text")[0].as_py())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mail john.doe+x@mail.example.co.uk, please.", "Mail <EMAIL>, please."),
        ("an jörg@müller.de schreiben", "an <EMAIL> schreiben"),
        ("mailto:a_b@c-d.org>", "mailto:<EMAIL>>"),
        ("'anna@site.com.'", "'<EMAIL>.'"),
        ("邮箱anna@site.com是", "邮箱<EMAIL>是"),
        ("anna@site.com.Please write", "<EMAIL>.Please write"),
        ("a@xn--mller-kva.xn--p1ai", "<EMAIL>"),
    ],
)
def test_addresses_of_mail_are_replaced(text: str, expected: str) -> None:
    assert one(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "@user@mastodon.social",
        "git@github.com:owner/name.git",
        "ssh://git@host.com/x",
        "img/icon@2x.png",
        "npm i lodash@4.17.21",
        "foo@bar",
        "@media (min-width: 40em)",
        "a..b@x.com is no address",
        "x" * 65 + "@site.com",
        "self@object.method",
        "whois $1@whois.tucows.com",
    ],
)
def test_at_signs_that_are_no_address_stay(text: str) -> None:
    assert one(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from 8.8.8.8 and 93.184.216.34:80", "from <IP_ADDRESS> and <IP_ADDRESS>:80"),
        ("http://93.184.216.34/x", "http://<IP_ADDRESS>/x"),
        ("nameserver 9.9.8.8", "nameserver <IP_ADDRESS>"),
        ("eth0 = 23.4.5.6/24, Listen 23.0.0.1:8000", "eth0 = <IP_ADDRESS>/24, Listen <IP_ADDRESS>:8000"),
        ("(2a00:1450:4001:81b::200e)", "(<IP_ADDRESS>)"),
        ("2a00:1450:4001:081b:0000:0000:0000:200e.", "<IP_ADDRESS>."),
        ("[2606:4700::1111]:443", "[<IP_ADDRESS>]:443"),
    ],
)
def test_public_addresses_are_replaced(text: str, expected: str) -> None:
    assert one(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "192.168.1.1 10.1.2.3 127.0.0.1 172.16.0.9 169.254.1.1 100.64.0.1",
        "192.0.2.4 198.51.100.7 203.0.113.99 2001:db8::1 3fff::1",
        "fe80::1 fd12:3456::1 ::1",
        "version 3.5.1.2 and v2.4.6.8 and Section 4.3.2.9",
        "firmware: 93.184.216.34",
        "1.2.3.4.5 and 300.1.1.1 and 01.2.3.4 and 9.8.7.6-beta",
        "\n3.2.1.4 Results",
        "\n7.5.3.10. Known release\nB.7.3.1.1. Licensing",
        "Sección 6.3.4.6, Phần 6.3.9.2, Τμήμα 6.3.1.1 and 第 12.1.1.12 節",
        "rhythmbox 1.2.6.2-1 (1.2.6.2)",
        "\n1.1.1.1. Introduction",
        "std::vector at 12:30:45 on 2023:01:02",
        "2001:02:03:04",
    ],
)
def test_private_and_documentation_addresses_and_version_numbers_stay(text: str) -> None:
    assert one(text) == text


def test_ipv4_agrees_with_the_standard_library() -> None:
    rng = random.Random(7)
    specials = [0, 9, 10, 11, 15, 16, 18, 19, 31, 32, 51, 63, 64, 88, 99, 100, 113, 127, 128, 168, 169, 170, 172, 192,
                198, 203, 223, 224, 254, 255]  # fmt: skip
    addresses = [".".join(str(rng.choice([rng.randrange(256), *rng.sample(specials, 3)])) for _ in range(4))
                 for _ in range(20_000)]  # fmt: skip
    got = redact(addresses, phone_numbers=None).column("pii_ip_addresses").to_pylist()
    for address, n in zip(addresses, got, strict=True):
        ip = ipaddress.ip_address(address)
        expected = ip.is_global and not ip.is_multicast
        # 192.88.99.0/24 (old relays) is not in every release's table
        if address == "1.2.3.4" or address.startswith(("192.88.99.", "192.0.0.")):
            continue
        if max(ip.packed) < 40 and len(set(ip.packed)) > 1:
            expected = False  # may as well be a section
        assert n == int(expected), address


def test_ipv6_agrees_with_the_standard_library() -> None:
    rng = random.Random(11)
    for _ in range(3_000):
        first = rng.choice([0x2001, 0x2A00, 0x2606, 0x3FFE, 0xFE80, 0xFD00, 0x1001, 0x2002, rng.randrange(65536)])
        value = (first << 112) | (rng.choice([rng.getrandbits(112), rng.getrandbits(16), rng.getrandbits(64) << 48]))
        ip = ipaddress.IPv6Address(value)
        second = (value >> 96) & 0xFFFF
        doubtful = first == 0x2002 or (first == 0x2001 and second < 0x200) or (first == 0x3FFF and second < 0x1000)
        expected = 0x2000 <= first <= 0x3FFF and ip.is_global and not doubtful
        for text in (str(ip), ip.exploded):
            assert redact([text], phone_numbers=None).column("pii_ip_addresses")[0].as_py() == int(expected), text


@pytest.mark.parametrize(
    "number",
    [
        "(212) 555-0123", "212-555-0187", "212.555.0187", "1-800-555-0100", "+1 212 555 0199", "+1 (212) 555-0199",
        "+49 30 901820", "+49 (0)30 901820", "+44 20 7946 0958", "+442079460958", "+33 1 23 45 67 89",
        "+7 495 123-45-67", "+86 138 0013 8000", "01 23 45 67 89", "01.23.45.67.89", "020 7946 0958", "07700 900123",
        "(030) 901820", "(0171) 123 4567", "03-1234-5678", "010-1234-5678",
        "+49\u00a030\u00a0901820", "+49 30\u2011901820",
    ],
)  # fmt: skip
def test_phone_numbers_are_replaced_by_their_shape(number: str) -> None:
    assert one(f"Reach us: {number}, daily") == "Reach us: <PHONE_NUMBER>, daily"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tel.: 901 820 12", "Tel.: <PHONE_NUMBER>"),
        ("call 555-0123 now", "call <PHONE_NUMBER> now"),
        ("Telefon 0171/1234567", "Telefon <PHONE_NUMBER>"),
        ("电话：13800138000", "电话：<PHONE_NUMBER>"),
        ("тел. 8 (495) 123-45-67", "тел. <PHONE_NUMBER>"),
        ("Tél. 0612345678 03-1234-5678", "Tél. <PHONE_NUMBER> <PHONE_NUMBER>"),
        ("📞 2125550123", "📞 <PHONE_NUMBER>"),
        ("Fax 0049 30 901820", "Fax <PHONE_NUMBER>"),
    ],
)
def test_an_announced_number_is_a_phone_number(text: str, expected: str) -> None:
    assert one(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "ISBN 978-3-16-148410-0 and 0-306-40615-2",
        "2023-01-15, 15.01.2023, 01/02/2003, 1990-2010",
        "call on 2023-01-15",
        "price $2125550123 or €2125550123 or 1,234,567.89",
        "order #2125550123, part 212555-0123-x, id=212-555-0123",
        "52.520008, 13.404954",
        "population 83 200 000 in 2021",
        "2 + 12 = 14; 10 000 000 000",
        "telephone was invented 1876\n1234567 people",
        "article/212-555-0123.html"[8:].replace("212", "x212"),
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert one(text) == text


@pytest.mark.parametrize(
    "number",
    [
        "4111 1111 1111 1111", "4111-1111-1111-1111", "4111111111111111", "5555555555554444", "2223003122003222",
        "378282246310005", "3782 822463 10005", "6011111111111117", "3530111333300000", "30569309025904",
        "6200000000000005", "6304000000000000",
    ],
)  # fmt: skip
def test_card_numbers_are_replaced(number: str) -> None:
    assert one(f"paid with {number} today") == "paid with <CARD_NUMBER> today"


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # Luhn fails
        "9780306406157",  # an ISBN has no issuer
        "1234567812345670",  # Luhn holds, no issuer
        "41 11 11 11 11 11 11 11",  # no printed layout
        "https://x.com/status/4111111111111111",
        "0.4111111111111111",
        "4111111111111111111111",
        "0000000000000000",
        "5100 5200 5300 5400 5500 5600",
    ],
)
def test_digits_that_are_no_card_stay(text: str) -> None:
    assert one(text) == text


@pytest.mark.parametrize(
    "number",
    ["DE89 3704 0044 0532 0130 00", "DE89370400440532013000", "GB82 WEST 1234 5698 7654 32", "NO93 8601 1117 947",
     "FR14 2004 1010 0505 0001 3M02 606", "MT84MALT011000012345MTLCAST001S"],
)  # fmt: skip
def test_ibans_are_replaced(number: str) -> None:
    assert one(f"to {number}.") == "to <IBAN>."


@pytest.mark.parametrize("text", ["DE89 3704 0044 0532 0130 01", "XX89370400440532013000", "DE8937040044053201300"])
def test_ibans_with_a_wrong_check_country_or_length_stay(text: str) -> None:
    assert one(text, phone_numbers=None) == text


def test_social_security_numbers_are_off_unless_asked_for() -> None:
    text = "ssn 123-45-6789, not 000-12-3456, 666-12-3456, 900-12-3456, 123-00-4567, 123-45-0000"
    assert one(text, phone_numbers=None) == text
    assert one(text, us_ssns="<US_SSN>") == text.replace("123-45-6789", "<US_SSN>")


def test_counts_are_per_kind_and_null_turns_a_kind_off() -> None:
    rows = redact(["a@b.com c@d.org 8.8.8.8", "nothing", ""], emails=None)
    assert rows.column("text").to_pylist() == ["a@b.com c@d.org <IP_ADDRESS>", "nothing", ""]
    assert rows.column("pii_ip_addresses").to_pylist() == [1, 0, 0]
    assert "pii_emails" not in rows.schema.names
    assert one("a@b.com", emails="[mail]") == "[mail]"


def test_spans_are_code_points_of_the_original_text() -> None:
    text = "日本 é a@b.com 😀 8.8.8.8"
    spans = redact([text, "x"], spans=True).column("pii_spans").to_pylist()
    assert [text[s["start"] : s["end"]] for s in spans[0]] == ["a@b.com", "8.8.8.8"]
    assert [s["kind"] for s in spans[0]] == ["emails", "ip_addresses"]
    assert spans[1] == []


def test_columns_are_those_that_were_declared() -> None:
    stage = Pii(PiiConfig(spans=True))
    rows = stage.process(Batch(pa.RecordBatch.from_pydict({"text": pa.array([], pa.string())}))).rows
    assert rows.schema.remove(0).equals(stage.adds(), check_metadata=True)


@pytest.mark.parametrize(
    "food",
    ["a@", "a.", "1-", "1 ", "1.", "://", "@", "1", "<", " ", "4111 ", "2000:", "(1", "tel 1234 ", "a@b.c.", "+",
     "DE89 3704 0044 0532 0130 01 ", "a" * 63 + "@", "2001::", "8.8.8.8 ", "\u0301", "+49 30 901820 "],
)  # fmt: skip
def test_a_megabyte_of_slow_regex_food_takes_well_under_two_seconds(food: str) -> None:
    redact(["warm a@b.com"], spans=True)
    text = food * (1_000_000 // len(food.encode()))
    started = time.process_time()
    redact([text], spans=True, us_ssns="<US_SSN>")
    assert time.process_time() - started < 2


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(alphabet=st.sampled_from("a@.1-9 +()4:é日DE/")), min_size=1, max_size=5))
def test_the_output_is_valid_text_and_does_not_depend_on_the_batch(texts: list[str]) -> None:
    together = redact(texts, spans=True)
    together.validate(full=True)
    apart = [redact([text], spans=True) for text in texts]
    assert together.equals(pa.Table.from_batches(apart).combine_chunks().to_batches()[0])
    sliced = Pii(PiiConfig(spans=True)).process(
        Batch(pa.RecordBatch.from_pydict({"text": pa.array(["x@y.com", *texts])}).slice(1))
    )
    assert sliced.rows.equals(together)


def test_matched_strings_do_not_reach_fates() -> None:
    stage = Pii()
    batch = stage.process(Batch(pa.RecordBatch.from_pydict({"text": ["secret.person@site.com"]})).at("pii"))
    assert not batch.fates.drops and not batch.fates.failures
    assert "secret" not in str(batch.rows.to_pylist())


def test_first_half_of_a_compound_does_not_announce_a_phone_number() -> None:
    assert one("HP-UX A.09.05 9000/712 and HP-UX 9000/712345") == "HP-UX A.09.05 9000/712 and HP-UX 9000/712345"
    assert one("HP: 9000/712345") == "HP: <PHONE_NUMBER>"
