"""A small crawl made on the spot: WARC files with pages in several languages, repeats, addresses and refused ones."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

ENGLISH = [
    "The old harbour keeps its ropes in a shed that smells of tar and apples.",
    "Every winter the council repairs the stone bridge before the river rises.",
    "My neighbour plants beans along the fence and counts the bees in June.",
    "A good clock needs oil, patience, and a person who listens to it.",
    "They wrote the timetable by hand and pinned it beside the ticket window.",
    "When the ferry is late, the baker sells bread to those who wait.",
    "The teacher asked us to draw the coast and to name each of the islands.",
    "Nobody remembers who built the tower, but many have climbed it with a lamp.",
]
GERMAN = [
    "Der Müller öffnet am Morgen das Wehr und prüft den Stand des Wassers.",
    "Auf dem Markt verkauft die Gärtnerin Äpfel, Kräuter und junge Bäume.",
    "Wir fuhren mit dem Zug durch das Tal und sahen Schnee auf den Dächern.",
    "Im Herbst sammelt die Schule Nüsse und bringt sie in das Heim am See.",
]
RUSSIAN = [
    "Старый мост стоит над рекой, и весной вода поднимается почти до досок.",
    "Утром пекарь открывает лавку, и вся улица пахнет свежим хлебом.",
    "Учитель просил нас нарисовать берег и подписать каждый остров.",
    "Зимой мы чинили часы и слушали, как за окном идёт снег.",
]


def prose(seed: int, sentences: list[str], paragraphs: int = 4) -> list[str]:
    """Paragraphs of shuffled sentences: different for every seed."""
    draw = random.Random(seed)
    found = []
    for part in range(paragraphs):
        chosen = draw.sample(sentences, k=min(3, len(sentences)))
        found.append(" ".join(chosen) + f" Note {seed}, part {part}, of {draw.randrange(10**6)} letters.")
    return found


def page(paragraphs: list[str], title: str) -> bytes:
    """A page with navigation around the text."""
    body = "".join(f"<p>{p}</p>" for p in paragraphs)
    return (
        f"<!DOCTYPE html><html><head><meta charset=utf-8><title>{title}</title></head><body><nav><a href=/>Home</a> "
        f"<a href=/a>About</a></nav><main><h1>{title}</h1>{body}</main><footer>All rights kept</footer></body></html>"
    ).encode()


def record(url: str, body: bytes, status: str = "200 OK", kind: str = "text/html; charset=utf-8") -> bytes:
    """One response record in a gzip member of its own."""
    answer = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:test:{url}>\r\n"
        f"WARC-Date: 2024-05-06T07:08:09Z\r\nWARC-Target-URI: {url}\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(answer)}\r\n\r\n"
    ).encode()
    return gzip.compress(head + answer + b"\r\n\r\n", mtime=0)


def write_crawl(folder: Path, files: int = 3, pages: int = 24) -> Path:
    """WARC files in ``folder``: most pages are whole, some are repeats, near repeats, short, refused, not found."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        data = b""
        for i in range(pages):
            seed = number * pages + i
            url, title = f"https://www.example.org/{number}/{i}", f"Page {seed}"
            text = prose(seed, (ENGLISH, ENGLISH, GERMAN, RUSSIAN)[i % 4])
            if i % 8 == 5:
                text, title = prose(1007, ENGLISH, 6), "The harbour"  # the same page in every file
            elif i % 8 == 6:
                text = [*prose(7, ENGLISH, 6)[:-1], f"Only the last paragraph is another: {seed}."]
            elif i % 8 == 7:
                text = ["Too short."]
            if i % 6 == 0:
                text[-1] += f" Write to reader{seed}@example.net or call 192.0.2.7."
            if i == 9:
                url = f"https://casino-example.org/viagra/{number}"
            status = "404 Not Found" if i == 11 else "200 OK"
            data += record(url, page(text, title), status)
        (folder / f"crawl-{number}.warc.gz").write_bytes(data)
    return folder
