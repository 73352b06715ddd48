"""Receipts that hold, and files that were changed: specs/11-receipt.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from contrib.vectors.form import Case, Operation
from contrib.vectors.keys import KEYS, SIGNERS, TASK
from contrib.vectors.stories import REQUESTER, Story
from protocol import canonical
from protocol.constants import RECEIPT_SIZE_MAX
from protocol.errors import RemoteProtocolError
from protocol.parameters import preset
from protocol.receipt import DOMAIN, receipt_hash
from protocol.verification import verify
from protocol.vote import tie_break

DOCUMENT: Final = "11-receipt.md"
# Bytes that stand in many cases are written once.
SHARED: Final = True
_Fields: TypeAlias = dict[str, Any]
Act: TypeAlias = Callable[[Story], object]


def check_receipt(signature: bytes, fields: _Fields) -> dict[str, object]:
    """A receipt as its signature and the fields of its payload."""
    data = signature + canonical.encode(fields, RECEIPT_SIZE_MAX)
    found = verify(data, [preset("dev")])
    if found.failure is not None:
        raise RemoteProtocolError("receipt", found.failure)
    return {"hash": receipt_hash(data), "result": fields["result"]}


def _file(data: bytes) -> dict[str, object]:
    """A receipt as the bytes of its file."""
    found = verify(data, [preset("dev")])
    if found.failure is not None or found.kind != "receipt":
        raise RemoteProtocolError("receipt", found.failure or "no receipt")
    return {"hash": receipt_hash(data), "question": found.question, "answer": found.answer}


OPERATIONS: Final[dict[str, Operation]] = {"receipt": check_receipt, "receipt_file": _file}


def signed(name: str, fields: _Fields, code: str | None = "receipt", by: int = REQUESTER) -> Case:
    """A case of these fields, signed by the node with key `by`."""
    signature = SIGNERS[by].sign(DOMAIN + canonical.encode(fields, RECEIPT_SIZE_MAX))
    return Case("receipt", name, {"signature": signature, "fields": fields}, code)


# --- An ordinary question: four bid, three are asked, two agree

KNOWN: Final = ((9, 1), (10, 0), (8, 2), (7, 3))
SCRIPT: Final[Mapping[str, Act]] = {
    "ask": lambda story: story.ask(),
    **{
        f"{act} {bidder}": (lambda story, bidder=bidder, act=act: getattr(story, act)(bidder))  # type: ignore[misc]
        for bidder in range(4)
        for act in ("bid", "acknowledge")
    },
    "look": lambda story: story.look(),
    "award 1": lambda story: story.award(1, 0),
    "award 0": lambda story: story.award(0, 1),
    "award 2": lambda story: story.award(2, 2),
    "accept 1": lambda story: story.accept(1),
    "accept 0": lambda story: story.accept(0),
    "commit 1": lambda story: story.commit(1, "7"),
    "commit 0": lambda story: story.commit(0, "7"),
    "commit 2": lambda story: story.commit(2, "8"),
    "close": lambda story: story.close(1, 0, 2),
    "reveal 1": lambda story: story.reveal(1, "7"),
    "reveal 0": lambda story: story.reveal(0, "7"),
    "reveal 2": lambda story: story.reveal(2, "8"),
    "end": lambda _: None,
}


def told(until: str = "end", /, **changes: Act | None) -> Story:
    """The ordinary story `until` an act, with other acts, or without those that are None; `reveal_1` stands for "reveal 1"."""
    named = {name.replace("_", " "): act for name, act in changes.items()}
    assert named.keys() <= SCRIPT.keys()
    story = Story(KNOWN)
    for name, act in SCRIPT.items():
        found = named.get(name, act)
        try:
            if found is not None:
                found(story)
        except KeyError:
            # What this act needs was never said: the story ends here.
            break
        if name == until:
            break
    return story


# --- Others that hold


def _nobody() -> Story:
    story = Story(())
    story.ask()
    return story


def _widened() -> Story:
    """A reserve takes the seat of one that abstains, one is lost, one declines; one is gone before its turn."""
    story = Story(((9, 1), (10, 0), (8, 2), (7, 3), (7, 4), (7, 5)))
    story.hear(0, 1, 2, 3, 4, 5)
    story.look()
    for seat, bidder in enumerate((1, 0, 2)):
        story.award(bidder, seat)
    story.note("lost", story.awards[1])
    story.award(3, 0)
    story.decline(0)
    story.note("gone", KEYS[5])
    story.award(5, 1)
    story.commit(2, "7")
    story.commit(3, None)
    story.commit(5, "+7")
    story.close(2, 3, 5)
    story.reveal(2, "7")
    story.reveal(3, None)
    story.reveal(5, "+7")
    return story


def _late() -> Story:
    """One round closes while one is still at work; another withholds its opening; a third opens something else."""
    story = Story(KNOWN)
    story.hear(0, 1, 2, 3)
    story.look()
    for seat, bidder in enumerate((1, 0, 2)):
        story.award(bidder, seat)
    story.commit(1, "7")
    story.commit(0, "7")
    story.close(1, 0, to=[1, 0, 2])
    story.reveal(1, "6")
    story.note("expired", story.awards[0])
    story.cancel(0)
    story.commit(2, "8", number=1)
    story.award(3, 0, number=1)
    story.note("expired", story.awards[3])
    story.close(2, number=1)
    story.reveal(2, "8", number=1)
    return story


def _alone(*, fails: bool = False) -> Story:
    """One is asked alone that outweighs the others; the first head number for which no check was drawn is taken."""
    for head_number in range(1, 50):
        story = Story(((40, 0), (3, 20), (3, 21)), head_number=head_number)
        story.hear(0, 1, 2)
        story.look()
        story.award(0, 0)
        if fails:
            story.note("expired", story.awards[0])
            story.award(1, 0)
            story.award(2, 1)
            story.commit(1, "7")
            story.commit(2, "7")
            story.close(1, 2)
            story.reveal(1, "7")
            story.reveal(2, "7")
        else:
            story.commit(0, "7")
            story.close(0)
            story.reveal(0, "7")
        if story.receipt()["result"] != Story(()).receipt()["result"]:
            return story
    raise AssertionError("no head number without a check")


def _unneeded() -> Story:
    """Two agree and outweigh the third, who is not waited for."""
    story = Story(KNOWN)
    story.hear(0, 1, 2)
    story.look()
    for seat, bidder in enumerate((1, 0, 2)):
        story.award(bidder, seat)
    story.commit(1, "7")
    story.commit(0, "7")
    story.close(1, 0, to=[1, 0, 2])
    story.reveal(1, "7")
    story.reveal(0, "7")
    story.note("unneeded", story.awards[2])
    story.cancel(2)
    return story


def _further() -> Story:
    """The margin is thin, and two more are asked."""
    story = Story(((9, 1), (9, 1), (9, 2), (9, 3), (9, 4)))
    story.hear(0, 1, 2, 3, 4)
    story.look()
    first, second, third, fourth, fifth = story.order
    for seat, bidder in enumerate((first, second, third)):
        story.award(bidder, seat)
    for bidder, answer in ((first, "7"), (second, "8"), (third, None)):
        story.commit(bidder, answer)
    story.close(first, second, third)
    for bidder, answer in ((first, "7"), (second, "8"), (third, None)):
        story.reveal(bidder, answer)
    story.award(fourth, 3, number=1)
    story.award(fifth, 4, number=1)
    for bidder in (fourth, fifth):
        story.commit(bidder, "8", number=1)
    story.close(fourth, fifth, number=1)
    for bidder in (fourth, fifth):
        story.reveal(bidder, "8", number=1)
    return story


def _cluster() -> Story:
    """Two of three share one voice, which counts once beside that of the third."""
    story = Story(((9, 1, 4), (9, 1, 4), (8, 2)))
    story.hear(0, 1, 2)
    story.look()
    for seat, bidder in enumerate(story.order):
        story.award(bidder, seat)
    answers = {0: "8", 1: "8", 2: "7"}
    for bidder, answer in answers.items():
        story.commit(bidder, answer)
    story.close(0, 1, 2)
    for bidder, answer in answers.items():
        story.reveal(bidder, answer)
    return story


def _text() -> Story:
    """Where not all of a committee have a weight, the most trusted is asked for a text, and the next one if it declines."""
    story = Story(((9, 1), (10, 0), (0, 9)), kind="text")
    story.hear(0, 1, 2)
    story.look()
    story.award(1, 0)
    story.decline(1)
    story.award(0, 0)
    story.commit(0, "Seven.\nThree and four.")
    story.close(0)
    story.reveal(0, "Seven.\nThree and four.")
    return story


TEXTS: Final = {1: "Seven.", 0: "It is 7.", 2: "Perhaps 8."}


def written(refine: int = 0) -> Story:
    """Three write a text."""
    story = Story(KNOWN, kind="text", refine=refine)
    story.hear(0, 1, 2)
    story.look()
    for seat, bidder in enumerate(TEXTS):
        story.award(bidder, seat)
    for bidder, text in TEXTS.items():
        story.commit(bidder, text)
    story.close(*TEXTS)
    for bidder, text in TEXTS.items():
        story.reveal(bidder, text)
    return story


def _by_tie(texts: list[str]) -> list[str]:
    return sorted(texts, key=lambda text: tie_break(TASK, text))


def judging(story: Story, texts: Mapping[int, str] = TEXTS) -> None:
    """Ask each of three about the two texts that it did not write."""
    for bidder in TEXTS:
        story.judge(bidder, 0, *_by_tie([text for other, text in texts.items() if other != bidder]))


def _judged(*preferred: str | None) -> Story:
    """Each of the three prefers a text, or none; those beyond say nothing, and are not waited for."""
    story = written()
    judging(story)
    for bidder, text in zip(TEXTS, preferred, strict=False):
        shown = _by_tie([other for author, other in TEXTS.items() if author != bidder])
        story.judgement(bidder, 0, "none" if text is None else ("first", "second")[shown.index(text)])
    for bidder in list(TEXTS)[len(preferred) :]:
        story.cancel(bidder)
    return story


def revising(story: Story, texts: Mapping[int, str], number: int) -> None:
    """Ask each of three to answer again."""
    for bidder in TEXTS:
        story.revise(bidder, number, *sorted(text for other, text in texts.items() if other != bidder))


def _revised() -> Story:
    """One is convinced, one abstains and keeps its answer, one is lost and keeps it as well."""
    story = Story(KNOWN, refine=2)
    story.hear(0, 1, 2)
    story.look()
    answers = {1: "7", 0: "8", 2: "9"}
    for seat, bidder in enumerate(answers):
        story.award(bidder, seat)
    for bidder, answer in answers.items():
        story.commit(bidder, answer)
    story.close(*answers)
    for bidder, answer in answers.items():
        story.reveal(bidder, answer)
    revising(story, answers, 1)
    story.commit(0, "7", number=1)
    story.commit(2, None, number=1)
    story.note("lost", story.awards[1])
    story.close(0, 2, number=1)
    story.reveal(0, "7", number=1)
    story.reveal(2, None, number=1)
    return story


def _honest() -> list[Case]:
    return [
        signed("two agree, one does not", told().receipt(), None),
        signed("nobody bids", _nobody().receipt("no_bids"), None),
        signed("the time was up before anybody bid", _nobody().receipt("deadline"), None),
        signed("a bidder is gone, one is lost, one declines, one abstains", _widened().receipt(), None),
        signed("late, withheld, and opened beside the commitment", _late().receipt(), None),
        signed("one alone", _alone().receipt(), None),
        signed("one alone that fails", _alone(fails=True).receipt(), None),
        signed("who can change nothing is not waited for", _unneeded().receipt(), None),
        signed("a thin margin asks for more", _further().receipt(), None),
        signed("free text of one", _text().receipt(), None),
        signed("free text, judged", _judged("It is 7.", "Seven.", "Seven.").receipt(), None),
        signed("free text, each prefers another", _judged("It is 7.", "Perhaps 8.", "Seven.").receipt(), None),
        signed("free text, one preference alone", _judged("It is 7.", None).receipt(), None),
        signed("free text, nobody is asked to judge", written().receipt(), None),
        signed("answers are revised", _revised().receipt(), None),
        signed("two that share one voice", _cluster().receipt(), None),
    ]


def _files() -> list[Case]:
    fields = _nobody().receipt("no_bids")
    payload = canonical.encode(fields)
    data = SIGNERS[REQUESTER].sign(DOMAIN + payload) + payload
    middle = len(data) // 2
    rows: list[tuple[str, bytes, str | None]] = [
        ("nobody bids", data, None),
        ("nothing", b"", "receipt"),
        ("a signature alone", data[:64], "receipt"),
        ("one bit of the signature", bytes([data[0] ^ 1]) + data[1:], "receipt"),
        ("one bit in the middle", data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :], "receipt"),
        ("one bit of the last byte", data[:-1] + bytes([data[-1] ^ 1]), "receipt"),
        ("cut short", data[:-1], "receipt"),
        ("a byte left over", data + b"\x00", "receipt"),
        ("without the domain", SIGNERS[REQUESTER].sign(payload) + payload, "receipt"),
    ]
    return [Case("receipt_file", name, {"data": given}, code) for name, given, code in rows]


def cases() -> list[Case]:
    """All of this subject."""
    return [*_honest(), *_files()]
